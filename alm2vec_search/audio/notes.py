"""What a file says of itself beside its sound: tags of ID3, Vorbis comments, MP4, RIFF INFO, the
description of a Broadcast Wave, and iXML, in which recorders and sound libraries keep theirs.

FFmpeg reads all but iXML. Nothing here is an error: what can't be read wasn't said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from alm2vec_search.audio.container import chunk_bytes
from alm2vec_search.audio.source import open_source
from alm2vec_search.domain import Notes
from alm2vec_search.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from alm2vec_search.audio.source import Source

LONGEST = 2000  # characters of one note; lyrics and logs are cut there
MOST = 100  # notes of one file
_LONGEST_IXML = 1 << 20  # bytes
# What programs write for each other.
_TECHNICAL = re.compile(
    r"encoder|encoder_settings|encoding_params|tool|software|vendor_id|handler_name|language"
    r"|major_brand|minor_version|compatible_brands|time_reference|umid|coding_history|timecode"
    r"|cart_.*|id3v2_priv\..*|itun.*|replaygain_.*|r128_.*|acoustid_.*|musicbrainz_.*|itunes_.*"
    r"|tlen|tsse|tbpm_.*|loudness.*|max_.*|waveformatextensible_.*|duration|variant_bitrate"
    r"|creation_time|gapless.*|accurip.*|discid|cddb|peak.*|covr.*|metadata_block_picture"
)
_KINDS = {"genre", "keywords", "keyword", "tags", "tag", "category", "subcategory", "mood", "style"}
_ALIASES = {"encoded_by": "creator", "originator": "creator", "album_artist": "albumartist"}
_IXML = {
    "PROJECT": "project",
    "SCENE": "scene",
    "TAKE": "take",
    "TAPE": "tape",
    "NOTE": "comment",
    "BEXT_DESCRIPTION": "description",
    "BWF_DESCRIPTION": "description",
    "DESCRIPTION": "description",
    "CATEGORY": "category",
    "SUBCATEGORY": "subcategory",
    "FXNAME": "title",
    "KEYWORDS": "keywords",
    "LIBRARY": "album",
    "SOURCE": "source",
    "MICROPHONE": "microphone",
    "LOCATION_NAME": "location",
    "MANUFACTURER": "creator",
    "DESIGNER": "creator",
}


def read_notes(path: Path) -> Notes:
    """What the file says of itself; no notes if it says nothing, or can't be read."""
    try:
        source = open_source(path)
    except AudioError:
        return Notes()
    try:
        return to_notes([*_tags(source), *_ixml(source)])
    except AudioError:
        return Notes()
    finally:
        source.close()


def to_notes(said: Iterable[tuple[str, str]]) -> Notes:
    """Names and texts as notes: each once, and those that sort sounds as tags, too.

    >>> to_notes([("GENRE", "Rain; Weather"), ("Title", "Roof")]).tags
    ('Rain', 'Weather')
    """
    named: dict[tuple[str, str], None] = {}
    tags: dict[str, None] = {}
    for key, text in said:
        name = re.sub(r"\s+", "_", key.strip().lower())
        name = _ALIASES.get(name, name)
        value = _cleaned(text)
        if not name or not value or len(named) >= MOST:
            continue
        if name in _KINDS:
            tags |= dict.fromkeys(split_tags(value))
        if name not in ("tags", "tag"):
            named[name, value] = None
    return Notes(tuple(tags), tuple(named))


def split_tags(text: str) -> list[str]:
    """Tags in one text, whatever is put between them.

    >>> split_tags("rain, tin roof;  wet")
    ['rain', 'tin roof', 'wet']
    """
    return [tag.strip() for tag in re.split(r"[;,|/\n]", text) if tag.strip()]


def _cleaned(text: str) -> str:
    """As one text without what can't be shown, or stored: NUL, and halves of characters."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\0-\x08\x0b-\x1f\x7f]+", " ", valid).strip()[:LONGEST]


def _tags(source: Source) -> Iterator[tuple[str, str]]:
    from alm2vec_search.audio.av_decoder import read_tags

    for key, text in read_tags(source):
        if not _TECHNICAL.fullmatch(key.lower()):
            yield key, text


def _ixml(source: Source) -> Iterator[tuple[str, str]]:
    document = chunk_bytes(source, b"iXML", most=_LONGEST_IXML)
    if not document:
        return
    try:
        root = ElementTree.fromstring(document.rstrip(b"\0 \r\n"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return
    for element in root.iter():
        name = _IXML.get(str(element.tag).upper())
        if name and element.text:
            yield name, element.text
