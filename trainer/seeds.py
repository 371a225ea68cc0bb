"""Numbers that are the same in every process and on every machine: seeds, and ids of what is equal.

Python's own `hash` differs from process to process, and the streams of random generators from
version to version; resuming a run must not depend on either.
"""

from __future__ import annotations

import json
from hashlib import blake2b

Part = str | int | float | None


def number_of(*parts: Part) -> int:
    """A number in [0, 2⁶³) that looks random, of whatever it is made of.

    >>> number_of("crop", 3, None) == number_of("crop", 3, None)
    True
    >>> number_of("ab", "c") == number_of("a", "bc")
    False
    """
    digest = blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def fraction_of(*parts: Part) -> float:
    """As `number_of`, in [0, 1)."""
    return (number_of(*parts) >> 10) / (1 << 53)
