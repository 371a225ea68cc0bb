"""A trained small model → the folder that comes with the package.

    alm2vec train export runs/mini -o models/mini --merged
    python -m trainer.small.ship models/mini OUT

OUT then holds what `alm2vec_search/model/small` does, but for the model card: the bases byte for
byte as they were, and what training changed in `adapter.safetensors`, all in half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alm2vec_search.errors import Alm2VecError
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.hub import find_model
from alm2vec_search.model.loading import opened
from alm2vec_search.model.processing_alm2vec import load_tokenizer
from alm2vec_search.model.start import save_shards
from alm2vec_search.terminal import say_error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trained", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        ship(args.trained, args.out)
    except Alm2VecError as error:
        say_error(error)
        raise SystemExit(2) from error


def ship(trained: Path, out: Path) -> None:
    """Write the model of one folder to another.

    Raises:
        ModelError: it can't be read.
    """
    files = find_model(str(trained))
    tensors = files.description.tensors
    out.mkdir(parents=True, exist_ok=True)
    ALM2VecConfig.from_pretrained(trained).save_pretrained(out)
    load_tokenizer(files.tokenizer_folder).save(str(out / "tokenizer.json"), pretty=False)
    with opened(tensors) as weights:
        save_shards({name: weights[name][...] for name in tensors}, out)


if __name__ == "__main__":
    main()
