"""What was not written here is what it says it is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[3] / "alm2vec_search" / "web" / "vendor"
ROOT = VENDOR.parents[2]


def test_files_are_unchanged() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    others = {"SHA256SUMS", "README.md"}
    assert {path.name for path in VENDOR.iterdir()} - others == set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_the_version_is_told_once() -> None:
    wanted = re.search(r"^WAVESURFER := ([\d.]+)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert wanted is not None
    told = set(re.findall(r"`wavesurfer\.js` ([\d.]+)", (VENDOR / "README.md").read_text("utf-8")))
    assert told == {wanted[1]}


def test_nothing_comes_from_elsewhere() -> None:
    for path in VENDOR.parent.iterdir():
        if path.suffix in (".js", ".css", ".html"):
            text = path.read_text("utf-8")
            assert "://" not in text, path.name
            assert not re.search(r"\.(innerHTML|outerHTML)\b|insertAdjacentHTML|\beval\(", text), (
                path.name
            )
    page = (VENDOR.parent / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! [^>]*src=)", page)
