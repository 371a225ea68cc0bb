"""An index run in a process of its own, to be killed: `python killed_run.py STORE LIBRARY`.

Prints a line for every file that it is done with.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from alm2vec_search.testing import FakeEncoder
from indexer import pipeline, workers
from indexer.progress import NoProgress


class Loud(NoProgress):
    def finished(self, path: Path, note: str | None) -> None:
        print("done with a file", flush=True)


if __name__ == "__main__":
    store, library = map(Path, sys.argv[1:])
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from index_driver import CHUNKING, Index

    workers.PRELOADED = ()
    pipeline.COMMIT_EVERY_S = 0.05  # so that kills fall between commits, too
    index = Index(store)
    index.embed = partial(  # type: ignore[method-assign]
        workers.embed_in_processes, factory=FakeEncoder(), chunking=CHUNKING, n_workers=2
    )
    index.progress = Loud()
    index.run(library)
    print("finished", flush=True)
