"""Curves as SVG: no script, no font of its own, colours by the style of the page around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 360, 230  # in units of the picture; a phone is about as wide in pixels
LEFT, RIGHT, TOP, BOTTOM = 38, 12, 10, 38  # around the axes
TICKS = (1, 2, 5, 10, 20, 50, 100)
SHARES = (0, 25, 50, 75, 100)  # %
STYLES = 6  # of curves, after which they come again


@dataclass(frozen=True, slots=True)
class Curve:
    """Recall at 1, 2, 3, ...

    Attributes:
        label: whose.
        recalls: shares in [0, 1], the first at k = 1.
    """

    label: str
    recalls: tuple[float, ...]


def recall_curve(places: Sequence[int | None], most: int) -> tuple[float, ...]:
    """The share of queries that have a right answer among the first k, for k from 1 to `most`.

    Args:
        places: of each query's best right answer, from 0; None where there is none.

    >>> recall_curve([0, 2, None, 2], 4)
    (0.25, 0.25, 0.75, 0.75)
    """
    found_at = [0] * most
    for place in places:
        if place is not None and place < most:
            found_at[place] += 1
    found, recalls = 0, []
    for n in found_at:
        found += n
        recalls.append(found / len(places))
    return tuple(recalls)


def draw_curves(curves: Sequence[Curve], most: int, name: str) -> Markup:
    """Recall over k, k from 1 to `most` on a logarithmic axis.

    Args:
        most: two at least.
        name: what it shows, for those who don't see it.
    """
    ticks = [k for k in TICKS if k <= most]
    if most not in ticks and most > 1.3 * ticks[-1]:
        ticks.append(most)
    parts = [
        Markup('<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}">').format(
            name, WIDTH, HEIGHT
        )
    ]
    for share in SHARES:
        parts.append(_line("grid", LEFT, _y(share / 100), WIDTH - RIGHT, _y(share / 100)))
        parts.append(_text(LEFT - 6, _y(share / 100) + 4, "end", f"{share}"))
    for k in ticks:
        x = _x(k, most)
        parts.append(_line("grid", x, _y(0), x, _y(0) + 4))
        parts.append(_text(x, _y(0) + 17, "middle", f"{k}"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, "middle", "k"))
    parts.extend(_curve(curve, i % STYLES, most) for i, curve in enumerate(curves))
    return Markup("").join([*parts, Markup("</svg>")])


def draw_sample(place: int) -> Markup:
    """A piece of the curve of this place, for a legend."""
    return Markup(
        '<svg class="sample" aria-hidden="true" viewBox="0 0 28 8">'
        '<path class="curve curve-{}" d="M1 4H27"/></svg>'
    ).format(place % STYLES)


def _curve(curve: Curve, style: int, most: int) -> Markup:
    points = [
        f"{_x(k, most):.1f} {_y(recall):.1f}" for k, recall in enumerate(curve.recalls, start=1)
    ]
    return Markup('<path class="curve curve-{}" d="M{}"><title>{}</title></path>').format(
        style, "L".join(points), curve.label
    )


def _x(k: int, most: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(k) / math.log(most)


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<path class="{}" d="M{} {}L{} {}"/>').format(
        kind, *(f"{n:.1f}" for n in (x1, y1, x2, y2))
    )


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        f"{x:.1f}", f"{y:.1f}", anchor, text
    )
