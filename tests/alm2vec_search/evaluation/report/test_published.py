"""What comes with the program is complete, in range, and says where it is from."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from alm2vec_search.evaluation.report.published import parse_published, published

NAMES = [
    "LAION-CLAP",
    "MS-CLAP",
    "WavCaps-CLAP PT",
    "WavCaps-CLAP FT",
    "jina-embeddings-v5-omni",
    "Whisper + BGE",
    "CLSR",
    "GPT-4o Audio",
    "Gemini 2.5 Pro",
    "Qwen2.5-Omni",
    "Audio Flamingo 3",
    "ALM2Vec-PT",
    "ALM2Vec-FT",
]
SMALL = """
[sources.paper]
name = "a paper"
cite = "page 3"

[[sets]]
key = "clotho"
columns = [{ head = "R@1", task = "text to audio", metric = "r@1" }]
note = ""

[[systems]]
key = "one"
name = "One"
kind = "vectors"
sets = ["clotho"]
runs = "--model one"
results = [{ set = "clotho", task = "text to audio", source = "paper", percent = { "r@1" = 12.5 } }]
"""


def test_every_system_of_the_paper_has_its_row() -> None:
    assert [system.name for system in published().systems] == NAMES
    assert len({system.key for system in published().systems}) == len(NAMES)


def test_each_says_how_to_run_it_or_why_not() -> None:
    for system in published().systems:
        assert bool(system.runs) != bool(system.runs_not), system.name
        if system.runs:
            assert re.search(r"--model \S+$", system.runs), system.name
            assert ("--answers" in system.runs) == (system.kind == "answers"), system.name


def test_figures_have_sources_and_rise_with_k() -> None:
    by_place: dict[tuple[str, ...], dict[int, float]] = {}
    for system in published().systems:
        for result in system.results:
            assert published().sources[result.source].cite
            for metric, percent in result.percent.items():
                assert 1 < percent < 100
                if metric.startswith("r@"):
                    place = system.key, result.set, result.task, result.source
                    by_place.setdefault(place, {})[int(metric[2:])] = percent
    for place, recalls in by_place.items():
        in_order = [recalls[k] for k in sorted(recalls)]
        assert in_order == sorted(in_order), place


def test_mmau_totals_are_the_means_of_their_domains() -> None:
    """Of 334, 333 and 333 questions, as the paper's rows are."""
    mmau = published().find_set("mmau-mini")
    assert mmau is not None
    for name, source in {
        "ALM2Vec-PT": "alm2vec-mmau",
        "ALM2Vec-FT": "alm2vec-mmau",
        "GPT-4o Audio": "mmau-quoted",
        "Qwen2.5-Omni": "mmau-quoted",
    }.items():
        system = next(s for s in published().systems if s.name == name)
        total, *parts = [system.figure("mmau-mini", c, source) for c in mmau.columns]
        right = sum(
            round(n * (part or 0) / 100) for n, part in zip((334, 333, 333), parts, strict=True)
        )
        assert total == pytest.approx(right / 10)


def test_what_is_not_known_is_absent() -> None:
    flamingo = next(s for s in published().systems if s.name == "Audio Flamingo 3")
    assert {result.source for result in flamingo.results} == {"af3"}
    assert "not quoted" in flamingo.note
    (clotho,) = [s for s in published().sets if s.key == "clotho"]
    clap = next(s for s in published().systems if s.key == "ms-clap")
    figures = {c.head: clap.figure("clotho", c, "alm2vec-captions") for c in clotho.columns}
    assert figures["T2A R@1"] == 15.6
    assert figures["T2A R@5"] is None


def test_who_ran_it_again_has_a_row_of_their_own() -> None:
    clap = next(s for s in published().systems if s.key == "laion-clap")
    assert clap.sources("audiocaps") == ("alm2vec-captions", "rerun-fused", "rerun-unfused")
    assert clap.sources("librisqa") == ()


def test_it_is_a_file_of_the_package() -> None:
    assert files("alm2vec_search.evaluation.report").joinpath("published.toml").is_file()


def test_a_small_one() -> None:
    found = parse_published(SMALL)
    (system,) = found.systems_on("clotho")
    assert system.figure("clotho", found.sets[0].columns[0], "paper") == 12.5
    assert found.find_set("audiocaps") is None


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ('runs = "--model one"', "", "either how to run it"),
        ('runs = "--model one"', 'runs = "x"\nruns_not = "y"', "either how to run it"),
        ('source = "paper"', 'source = "rumour"', "no source is called rumour"),
        ("12.5", "125.0", "less than or equal to 100"),
        ('sets = ["clotho"]', 'sets = ["esc50"]', "no set is called esc50"),
        ('"r@1" = 12.5', '"r@7" = 12.5', "no column for r@7"),
        ('kind = "vectors"', 'kind = "vectors"\nsize = 3', "size"),
    ],
)
def test_mistakes(was: str, becomes: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_published(SMALL.replace(was, becomes))
