"""The page, as a browser shows it: what it says, plays, and keeps from whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest
from audio_files import AIFF, WAV, make_sound
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from sample_runs import choices, labels, retrieval, run, written

from alm2vec_search.evaluation.report.page import (
    MOST_LABELS,
    MOST_PAIRS,
    as_page,
    mixture_of,
)
from alm2vec_search.evaluation.report.sections import read_runs, sections_of, systems_table
from alm2vec_search.evaluation.runs import Confusion, Content, SoundRef, TaskResult, Worst

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Page

    from alm2vec_search.evaluation.runs import Run

NASTY = 'a | b <script>alert(1)</script> <img src=x onerror="alert(2)">\n& {{ 7 * 7 }}'
NAME = "rain & <b>#1 50%.wav"  # of a sound
SOUND_S = 3.0
WIDE, NARROW = 1280, 360  # pixels
wide = pytest.mark.parametrize("width", [WIDE], indirect=True)


@dataclass
class Watched:
    """A page, and what it did that it should not have done."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("requestfailed", lambda asked: self.complaints.append(f"failed: {asked.url}"))
        self.page.on("request", lambda asked: self._asked(asked.url))

    def _said(self, message: ConsoleMessage) -> None:
        self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.complaints.append(f"request: {url}")


@pytest.fixture(params=[WIDE, NARROW])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def page(browser: Browser, width: int) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": 800})
    context.set_default_timeout(10_000)
    watched = Watched(context.new_page())
    watched.watch()
    yield watched.page
    context.close()
    assert watched.complaints == []


def mine(folder: Path) -> Run:
    """A labelled folder, with a sound that is there, one that is gone and one that isn't played."""
    WAV.write(folder / NAME, make_sound(SOUND_S, 16_000), 16_000)
    AIFF.write(folder / "owl.aiff", make_sound(0.5, 16_000), 16_000)
    task = labels(SoundRef(path=NAME, start_s=1, end_s=1.5))
    nasty = Worst(
        query=Content(text=NASTY, sound=SoundRef(path="owl.aiff"), instruction="Find it."),
        wanted=(Content(text="right"),),
        found=(Content(text="wrong"),),
    )
    task = task.model_copy(update={"worst": (*task.worst, nasty)})
    return run("labels", NASTY, task, model=NASTY, notes=(NASTY,), missing=("gone.wav",))


def opened(page: Page, folder: Path, *runs: Run) -> Page:
    """A report of runs in a folder, written beside that folder."""
    folder.mkdir(exist_ok=True)
    paths = [written(found, folder / f"{i}.json") for i, found in enumerate(runs)]
    report = folder.parent / "report.html"
    report.write_text(as_page(sections_of(read_runs(paths)), report), "utf-8")
    page.goto(report.as_uri())
    return page


@pytest.fixture
def full(page: Page, tmp_path: Path) -> Page:
    """A page with all there is: two published sets, and sounds of one's own."""
    folder = tmp_path / "runs"
    folder.mkdir()
    smaller = run("audiocaps", "AudioCaps", retrieval("text to audio", pool=6), model="other")
    mmau = run("mmau-mini", "MMAU test-mini", choices())
    return opened(page, folder, run(), smaller, mmau, mine(folder))


def barriers(page: Page) -> list[str]:
    """What axe finds that keeps somebody out."""
    violations: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{found['id']}: {node['html']}: {node['failureSummary']}"
        for found in violations
        for node in found["nodes"]
    ]


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barriers(full: Page, scheme: Literal["light", "dark"]) -> None:
    full.emulate_media(color_scheme=scheme)
    unfold(full)
    assert barriers(full) == []


def test_nothing_is_wider_than_the_window(full: Page) -> None:
    unfold(full)
    excess = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert full.evaluate(excess) == 0


def test_light_and_dark(full: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    full.emulate_media(color_scheme="light")
    light = full.evaluate(ground)
    full.emulate_media(color_scheme="dark")
    assert full.evaluate(ground) != light


@wide
def test_all_tables_are_there(full: Page, tmp_path: Path) -> None:
    paths = [tmp_path / "runs" / f"{i}.json" for i in range(4)]
    sections = sections_of(read_runs(paths))
    tables = [table for section in sections for table in section.tables]
    systems = systems_table(sections)
    assert systems is not None
    for table in [*tables, systems]:
        cells = list(table.columns)
        for row in table.rows:
            cells.append(row.head)
            cells += [c.text + (f" ({c.interval})" if c.interval else "") for c in row.cells]
        shown = full.get_by_role("table", name=table.title, exact=True).all()
        texts = [it.locator("th, td").all_text_contents() for it in shown]
        assert cells in texts, table.title


@wide
def test_texts_are_texts(full: Page) -> None:
    assert full.locator("script, img, b").count() == 0
    plain = " ".join(NASTY.split())
    expect(full.get_by_role("heading", name=plain, exact=True)).to_be_visible()
    expect(full.locator(".trouble .text", has_text="{{ 7 * 7 }}")).to_have_count(1)
    assert full.locator("dd", has_text="onerror").count() >= 1


@wide
def test_runs_of_one_set_are_told_apart(full: Page) -> None:
    ours = full.get_by_role("table", name="Beside published figures").first.locator("tr.ours")
    expect(ours.locator("th")).to_have_text(["small", "other"])
    weight = "e => getComputedStyle(e).fontWeight"
    assert ours.first.locator(".figure").first.evaluate(weight) == "700"


@wide
def test_curves_say_in_numbers_what_they_draw(full: Page) -> None:
    figure = full.locator("figure").first
    name = "Text to audio: recall at k, in percent, over k"
    expect(figure.get_by_role("img", name=name)).to_be_visible()
    expect(figure.locator(".legend li")).to_have_text(["small", "other"])
    figure.get_by_text("In numbers").click()
    rows = figure.locator("tbody tr")
    # 50 queries whose places go round from 0 to 11: five each of the first two, four of the others
    expect(rows.nth(0).locator("td")).to_have_text(["10.0", "20.0", "44.0", "84.0"])
    # a pool of six, where the same ends earlier
    expect(rows.nth(1).locator("td")).to_have_text(["10.0", "20.0", "44.0", "52.0"])
    assert full.locator("figure").count() == 3  # none of what has choices of its own


@wide
def test_what_is_taken_for_what(full: Page) -> None:
    heat = full.locator("table.heat")
    expect(heat.locator("thead th")).to_have_text(["right", "sea waves", "rain", "fire"])
    cells = heat.locator("tbody tr").nth(0).locator("td")
    expect(cells).to_have_text(["", "50", ""])
    expect(cells.nth(1)).to_have_attribute("title", "5 of 10")
    ground = "e => getComputedStyle(e).backgroundColor"
    assert cells.nth(1).evaluate(ground) != cells.nth(2).evaluate(ground)
    full.get_by_text("Pairs, most frequent first").click()
    pairs = full.get_by_role("group", name="Pairs of labels").locator("tbody tr")
    expect(pairs.first).to_have_text("sea wavesrain5 of 1050")
    expect(pairs).to_have_count(3)


@wide
def test_what_was_missing_and_noted(full: Page) -> None:
    facts = full.locator("dl").last
    expect(facts).to_contain_text("1 listed clip without a file: gone.wav")
    expect(facts.locator("dd", has_text="{{ 7 * 7 }}").first).to_be_visible()


@wide
def test_a_stretch_is_played_and_no_more(full: Page) -> None:
    player = full.locator("audio").first
    expect(player).to_have_attribute("preload", "none")
    assert player.evaluate("a => a.readyState") == 0  # nothing is read before it is asked for
    player.evaluate("a => a.play()")
    full.wait_for_function("a => a.currentTime > 1.05", arg=player.element_handle())
    assert player.evaluate("a => a.duration") == pytest.approx(SOUND_S, abs=0.01)
    full.wait_for_function("a => a.paused", arg=player.element_handle())
    assert player.evaluate("a => a.currentTime") == pytest.approx(1.5, abs=0.3)
    assert player.evaluate("a => a.error") is None


@wide
def test_a_player_has_a_name(full: Page) -> None:
    label = full.locator("audio").first.get_attribute("aria-label")
    assert label == f"{NAME} 0:01.0–0:01.5"


@wide
def test_what_is_gone_says_so(full: Page) -> None:
    gone = full.locator(".sound", has_text="gone.wav")
    expect(gone).to_contain_text("This sound isn't there any more.")
    expect(gone.locator("audio")).to_have_count(0)


@wide
def test_what_browsers_do_not_play_can_be_opened(full: Page) -> None:
    owl = full.locator(".sound", has_text="owl.aiff")
    expect(owl.locator("audio")).to_have_count(0)
    link = owl.get_by_role("link", name="open it")
    assert link.evaluate("a => a.href").endswith("/runs/owl.aiff")


@wide
def test_places_are_counted_as_people_do(full: Page) -> None:
    places = full.locator(".trouble > p.soft").all_text_contents()
    assert "The first right answer is at place 37 of 40." in places
    assert "No right answer was found." in places


@wide
def test_all_is_reached_by_tab(full: Page) -> None:
    full.keyboard.press("Tab")
    expect(full.get_by_text("Skip to the figures")).to_be_focused()
    full.keyboard.press("Enter")
    expect(full.locator("main")).to_be_focused()
    reached = set()
    for _ in range(80):
        full.keyboard.press("Tab")
        reached.add(full.evaluate("document.activeElement.tagName"))
    assert {"DIV", "SUMMARY", "AUDIO", "A"} <= reached


@wide
def test_a_run_without_anything_to_draw(page: Page, tmp_path: Path) -> None:
    bare = TaskResult(name="triplets", queries=3, figures=())
    opened(page, tmp_path / "runs", run("triplets", "three", bare))
    expect(page.get_by_role("heading", name="three", exact=True)).to_be_visible()
    assert page.locator("figure, audio, .heat").count() == 0
    assert page.get_by_text("Published systems").count() == 0


def test_it_asks_for_nothing(tmp_path: Path) -> None:
    html = as_page(sections_of([(tmp_path / "a.json", run())]), tmp_path / "report.html")
    assert not any(part in html for part in ("<script", "@import", '<link rel="stylesheet', "url("))


def test_confusions_in_order() -> None:
    n_labels = 40
    confusions = tuple(
        Confusion(wanted=str(i), found=str(i + 1), count=1 + i % 10, of=10) for i in range(n_labels)
    )
    task = TaskResult(name="audio to text", queries=400, figures=(), confusions=confusions)
    mixture = mixture_of("small", task)
    assert len(mixture.labels) == len(mixture.cells) == len(mixture.cells[0]) == MOST_LABELS
    counts = [int(pair.text.split(" ")[0]) for pair in mixture.pairs]
    assert counts == sorted(counts, reverse=True)
    assert (len(counts), mixture.n_more) == (MOST_PAIRS, n_labels - MOST_PAIRS)
    assert mixture.cells[0][0].level == 0


@pytest.mark.parametrize(
    ("count", "level"), [(1, 1), (5, 1), (6, 2), (10, 2), (20, 3), (40, 4), (41, 5), (100, 5)]
)
def test_warmth(count: int, level: int) -> None:
    confusion = Confusion(wanted="rain", found="fire", count=count, of=100)
    task = TaskResult(name="audio to text", queries=100, figures=(), confusions=(confusion,))
    (pair,) = mixture_of("small", task).pairs
    assert (pair.text, pair.percent, pair.level) == (f"{count} of 100", str(count), level)
