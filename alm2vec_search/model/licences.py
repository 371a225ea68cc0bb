"""What may be done with a model's weights, as far as its makers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OF_ALM2VEC = (
    "contradictory: its model card says Apache-2.0, its authors' own repository CC BY-NC 4.0. "
    "Until they say which, treat it as CC BY-NC 4.0: not for commercial use"
)
CONTRADICTORY = {"cara-ai/ALM2Vec-FT": OF_ALM2VEC, "cara-ai/ALM2Vec-PT": OF_ALM2VEC}


def licence_note(repo_id: str) -> str | None:
    """What one should know before using it."""
    found = CONTRADICTORY.get(repo_id)
    return None if found is None else f"the licence of {repo_id} is {found}"


def licence_of(name: str, folder: Path) -> str:
    """Of a model's weights: what is known of it, or what its card says."""
    repo_id = name.removeprefix("st:").partition("@")[0]
    if (known := CONTRADICTORY.get(repo_id)) is not None:
        return known
    if name == "small":
        return "Apache-2.0, its bases Apache-2.0 and MIT; see NOTICE in its folder"
    return card_licence(folder) or "not stated"


def card_licence(folder: Path) -> str | None:
    """What the front matter of a model card says."""
    from huggingface_hub import metadata_load

    try:
        said = metadata_load(folder / "README.md") or {}
    except Exception:  # there is none, or it isn't YAML: of two libraries
        return None
    licence = said.get("license_name") or said.get("license")
    if isinstance(licence, list):
        licence = ", ".join(map(str, licence))
    return str(licence) if licence else None
