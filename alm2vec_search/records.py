"""A hit as plain values, in one form for all that speak JSON: commands, HTTP, tools."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alm2vec_search.domain import Hit


def record(hit: Hit, rank: int) -> dict[str, Any]:
    """A hit; what doesn't apply to it is left out. Times are in seconds from the file's start."""
    told: dict[str, Any] = {
        "rank": rank,
        "path": str(hit.path),
        "start_s": round(hit.span.start_s, 3),
        "end_s": round(hit.span.end_s, 3),
        "score": round(hit.score, 6),
        "library": str(hit.library),
    }
    if hit.verdict is not None:
        told |= {"verdict": hit.verdict.value, "probability": hit.probability}
    if hit.clauses:
        told["clauses"] = [
            {"clause": c.label, "weight": c.weight, "score": round(c.score, 6)} for c in hit.clauses
        ]
    if hit.reembedded:
        told["reembedded"] = True
    if hit.words_score is not None:
        told["words_score"] = round(hit.words_score, 4)
    if hit.content is not None:
        told["duration_s"] = round(hit.content.duration_s, 3)
        told["channels"] = hit.content.channels
        told["sampling_rate"] = hit.content.sampling_rate
    if tags := _tags(hit):
        told["tags"] = tags
    if hit.copies:
        told["copies"] = [str(copy) for copy in hit.copies]
    if hit.silent:
        told["silent"] = True
    if hit.explanation is not None:
        told["explanation"] = {
            "window": [round(t, 3) for t in dataclasses.astuple(hit.explanation.window)],
            "compared": hit.explanation.compared,
            "heard": {label.name: round(label.presence, 3) for label in hit.explanation.heard},
        }
    return told


def _tags(hit: Hit) -> list[str]:
    notes = [part.notes for part in (hit.content, hit.place) if part is not None]
    return list(dict.fromkeys(tag for note in notes for tag in note.tags))
