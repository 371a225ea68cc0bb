from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.model.hub import BUNDLED_FOLDER
from alm2vec_search.model.licences import card_licence, licence_note, licence_of

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# Model\n", "apache-2.0"),
        ("---\nlanguage: en\nlicense: 'mit'\ntags:\n- audio\n---", "mit"),
        ("---\r\nlicense: mit  # of the weights\r\n---\r\n", "mit"),
        ("\ufeff---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense:\n- mit\n- cc-by-4.0\n---\n", "mit, cc-by-4.0"),
        ("---\nlicense: other\nlicense_name: research (v2)\n---\n", "research (v2)"),
        ("---\nlicense: other\nlicense_link: LICENSE\n---\n", "other"),
        ("---\nlicense:\nlibrary_name: x\n---\n", None),
        ("---\ndatasets:\n- license: mit\n---\n", None),
        ("---\nlicense: mit\n", None),  # without an end
        ("---\nlicense: [mit\n---\n", None),  # not YAML
        ("---\n- license\n---\n", None),
        ("# Model\n\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_the_card_says_it(tmp_path: Path, card: str, licence: str | None) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())

    assert card_licence(tmp_path) == licence
    assert licence_of(f"owner/model@{COMMIT}", tmp_path) == (licence or "not stated")


@pytest.mark.parametrize("card", [None, b"\xff\xfe---\nlicense: mit\n---\n"])
def test_without_a_card_that_can_be_read_it_is_not_stated(
    tmp_path: Path, card: bytes | None
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_bytes(card)

    assert licence_of(str(tmp_path), tmp_path) == "not stated"


@pytest.mark.parametrize("repo_id", ["cara-ai/ALM2Vec-FT", "cara-ai/ALM2Vec-PT"])
@pytest.mark.parametrize("form", ["{}", "{}@v1", f"{{}}@{COMMIT}", "st:{}"])
def test_two_statements_are_both_told_whatever_the_card_says(
    tmp_path: Path, repo_id: str, form: str
) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")

    said = licence_of(form.format(repo_id), tmp_path)

    assert "Apache-2.0" in said
    assert "CC BY-NC 4.0: not for commercial use" in said
    assert licence_note(repo_id) == f"the licence of {repo_id} is {said}"


def test_what_is_clear_needs_no_note() -> None:
    assert licence_note("mispeech/midashenglm-0.6b") is None


def test_the_bundled_model_leads_to_its_notice() -> None:
    assert "NOTICE in its folder" in licence_of("small", BUNDLED_FOLDER)
    assert (BUNDLED_FOLDER / "NOTICE").is_file()
