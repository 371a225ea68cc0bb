"""Recall by its definition, and a picture that is where it should be."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from alm2vec_search.evaluation.report.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    STYLES,
    TOP,
    WIDTH,
    Curve,
    draw_curves,
    draw_sample,
    recall_curve,
)


def drawn(*curves: Curve, most: int, name: str = "recall") -> ElementTree.Element:
    """As browsers read it in a page: without a namespace of its own."""
    return ElementTree.fromstring(str(draw_curves(curves, most, name)))


def points(path: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = path.attrib["d"].removeprefix("M").split("L")
    return [(float(x), float(y)) for x, y in (pair.split() for pair in pairs)]


def curves_of(picture: ElementTree.Element) -> list[ElementTree.Element]:
    return [p for p in picture.iter("path") if p.attrib["class"].startswith("curve")]


def test_recall_counts_queries_with_an_answer_among_the_first_k() -> None:
    assert recall_curve([0, 1, 2, 3], 4) == (0.25, 0.5, 0.75, 1.0)
    assert recall_curve([None, None], 3) == (0, 0, 0)
    assert recall_curve([9], 3) == (0, 0, 0)


def test_a_curve_goes_from_corner_to_corner() -> None:
    (path,) = curves_of(drawn(Curve("one", (0.0, 0.5, 1.0)), most=3))
    first, middle, last = points(path)
    assert first == (LEFT, HEIGHT - BOTTOM)
    assert last == (WIDTH - RIGHT, TOP)
    assert middle[1] == pytest.approx((HEIGHT - BOTTOM + TOP) / 2)
    share = (middle[0] - LEFT) / (WIDTH - LEFT - RIGHT)
    assert share == pytest.approx(0.6309, abs=1e-3)  # log 2 / log 3


def test_a_curve_of_a_smaller_pool_ends_earlier() -> None:
    short, whole = curves_of(drawn(Curve("a", (0.5, 1.0)), Curve("b", (0.1,) * 4), most=4))
    assert points(short)[-1][0] == pytest.approx((points(whole)[0][0] + points(whole)[-1][0]) / 2)


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (2, ["1", "2"]),
        (10, ["1", "2", "5", "10"]),
        (40, ["1", "2", "5", "10", "20", "40"]),
        (52, ["1", "2", "5", "10", "20", "50"]),
        (100, ["1", "2", "5", "10", "20", "50", "100"]),
    ],
)
def test_ticks(most: int, ticks: list[str]) -> None:
    texts = [text.text for text in drawn(Curve("a", (1.0,) * most), most=most).iter("text")]
    assert texts == ["0", "25", "50", "75", "100", *ticks, "k"]


def test_names_are_texts() -> None:
    name = 'recall "of" <script>&'
    picture = drawn(Curve("<b>", (0.0, 1.0)), most=2, name=name)
    assert picture.attrib["aria-label"] == name
    assert [title.text for title in picture.iter("title")] == ["<b>"]


def test_a_legend_has_the_style_of_its_curve() -> None:
    curves = [Curve(str(i), (0.0, 1.0)) for i in range(STYLES + 1)]
    paths = curves_of(drawn(*curves, most=2))
    for place, path in enumerate(paths):
        sample = ElementTree.fromstring(str(draw_sample(place))).find("path")
        assert sample is not None
        assert sample.attrib["class"] == path.attrib["class"]
    assert len({path.attrib["class"] for path in paths}) == STYLES
