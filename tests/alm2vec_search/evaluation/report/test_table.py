"""Markdown that says, once it is rendered, what the runs say."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from sample_runs import labels, recalls, run

from alm2vec_search.evaluation.report.sections import sections_of
from alm2vec_search.evaluation.report.table import as_markdown, escaped
from alm2vec_search.evaluation.runs import TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable

NASTY = [
    "a | b",
    "<script>alert(1)</script>",
    "one\ntwo",
    "**bold** _it_ `code` ~~gone~~",
    "[a](http://b.example) ![c](d.png)",
    "&amp; &lt;",
    "back\\slash\\|",
    "snake_case_name.wav",
    "# not a title #",
    "$x$ and <!-- a comment -->",
]


class Rendered(HTMLParser):
    """Tags and texts of what Markdown became; cells by row."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.items: list[str] = []
        self.titles: list[str] = []
        self._open: list[str] | None = None
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in TEXTS:
            self._open = TEXTS[tag](self)
            self._open.append("")

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in TEXTS:
            self._open = None


TEXTS: dict[str, Callable[[Rendered], list[str]]] = {
    **dict.fromkeys(("h1", "h2", "h3"), lambda page: page.titles),
    **dict.fromkeys(("td", "th"), lambda page: page.rows[-1]),
    "li": lambda page: page.items,
}


@pytest.mark.parametrize("text", NASTY)
def test_texts_are_rendered_as_they_are(text: str) -> None:
    plain = " ".join(text.split())
    page = Rendered(
        as_markdown(sections_of([(Path("a.json"), run(set_name=text, model=text, notes=(text,)))]))
    )
    assert plain in page.titles
    assert f"Note: {plain}" in page.items
    assert plain in [row[0] for row in page.rows]
    assert page.tags <= {
        *("h1", "h2", "h3", "p", "ul", "li", "strong", "code"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }


def test_every_row_has_as_many_cells_as_its_table() -> None:
    tasks = (labels(), TaskResult(name="x | y", queries=3, figures=recalls(0.2, 3, domain="d|e")))
    runs = [(Path("a.json"), run()), (Path("b|.json"), run("labels", "s", *tasks))]
    markdown = as_markdown(sections_of(runs))
    widths: set[int] = set()
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            widths.add(line.replace("\\|", "").count("|"))
        else:
            assert len(widths) <= 1, line
            widths = set()
    assert ["x | y: d|e", "20.0 (18.0–22.0, n = 3)"] in Rendered(markdown).rows


def test_ours_are_bold_with_their_interval_and_printed_ones_are_not() -> None:
    lines = as_markdown(sections_of([(Path("a.json"), run())])).splitlines()
    (ours,) = [line for line in lines if line.startswith("| **small** |")]
    assert "| **40.0** (38.0–42.0) |" in ours
    assert ours.endswith("| 10 / 50 | measured here |")
    (printed,) = [line for line in lines if line.startswith("| ALM2Vec-FT | vectors | 43.2 |")]
    assert "**" not in printed
    assert any("`--model cara-ai/ALM2Vec-FT`" in line for line in lines)


def test_a_set_of_ones_own_has_no_published_part() -> None:
    markdown = as_markdown(sections_of([(Path("a.json"), run("labels", "mine", labels()))]))
    assert "ALM2Vec" not in markdown
    assert "| text to audio | small | 40 | 40 | 60.0 (58.0–62.0) |" in markdown
    assert markdown.endswith("\n")


def test_names_stay_readable() -> None:
    assert escaped("clap-htsat_unfused v1.0 (2 cores)") == "clap-htsat_unfused v1.0 (2 cores)"
