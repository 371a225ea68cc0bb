"""`python -m trainer` is `alm2vec train`, for those who start processes by modules:
`accelerate launch -m trainer --config FILE`."""

from __future__ import annotations

import sys

from alm2vec_search.errors import Alm2VecError, ModelError
from alm2vec_search.terminal import say_error
from trainer.cli import app

if __name__ == "__main__":
    try:
        app(prog_name="python -m trainer")
    except Alm2VecError as error:
        say_error(error)
        sys.exit(3 if isinstance(error, ModelError) else 2)  # as alm2vec has it
