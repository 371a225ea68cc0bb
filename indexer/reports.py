"""What the commands say of a run, of a plan and of an index: to people, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from alm2vec_search.terminal import counted, length, printable, say, shown, size
from indexer.progress import describe_pace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import CollectionInfo
    from indexer.aspects import AspectReport
    from indexer.estimate import Estimate
    from indexer.manifest import Manifest
    from indexer.pipeline import IndexReport, Plan

SHOWN = 20  # troubles in a report; --json has all


# A run


def print_report_json(report: IndexReport, filled: Sequence[AspectReport]) -> None:
    aspects = [asdict(one) for one in filled]
    print(json.dumps(asdict(report) | {"aspects": aspects}, default=str))


def say_aspects(filled: Sequence[AspectReport]) -> None:
    for one in filled:
        if one.filled:
            say(f"aspect {one.aspect}: {counted(one.filled, 'file')} embedded under it")
        what = f"not embedded under {one.aspect}, and tried again next time"
        _say_troubles(what, one.skipped)


def say_report(report: IndexReport) -> None:
    counts = {
        "indexed": report.indexed,
        "changed": report.changed,
        "moved or copied": report.recognised,
        "with other notes": report.retold,
        "unchanged": report.unchanged,
        "forgotten": report.removed,
        "skipped": len(report.skipped),
        "skipped as before": report.still_skipped,
    }
    said = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
    say(f"files: {said}" if said else "no audio files found")
    if report.chunks:
        say(describe_pace(report.chunks, report.audio_s, report.wall_s))
    if report.silent_chunks:
        say(f"{counted(report.silent_chunks, 'chunk')} silent: found with --include-silent only")
    _say_troubles("couldn't be read", report.skipped)
    _say_troubles("read in part", report.damaged)
    _say_troubles("couldn't be looked into", report.not_walked)
    _say_troubles("lists of notes that can't be used; what they said before is kept", report.lists)
    for root in report.kept:
        say(f"{shown(root)}: no audio is there now; its index is kept, as a disk may be missing")
        say(f"hint: if it is gone for good: alm2vec remove {shown(root)}")


def _say_troubles(what: str, troubles: Sequence[tuple[Path, str]]) -> None:
    if not troubles:
        return
    say(f"{what}: {counted(len(troubles), 'path')}")
    for path, reason in troubles[:SHOWN]:
        say(f"  {shown(path)}: {reason}")
    if len(troubles) > SHOWN:
        say(f"  and {len(troubles) - SHOWN:,} more; alm2vec status --json lists all")


# A plan


def print_plan_json(plan: Plan, report: IndexReport, outlook: Estimate, n_bytes: int) -> None:
    record = {
        "to_read": outlook.n_files,
        "to_remove": len(plan.missing),
        "to_retell": len(plan.to_retell),
        "unchanged": report.unchanged,
        "still_skipped": report.still_skipped,
        "unreadable": [[str(path), reason] for path, reason in outlook.unreadable],
        "chunks": outlook.n_chunks,
        "audio_s": round(outlook.audio_s, 3),
        "index_bytes": n_bytes,
    }
    print(json.dumps(record))


def say_plan(plan: Plan, report: IndexReport, outlook: Estimate, n_bytes: int) -> None:
    about = f"{length(outlook.audio_s)}, about {counted(outlook.n_chunks, 'chunk')}"
    say(
        f"to read: {counted(outlook.n_files, 'file')}, {about}; "
        "those that only moved are recognised by their bytes"
    )
    say(f"unchanged: {counted(report.unchanged + report.still_skipped, 'file')}")
    if plan.to_retell:
        say(f"with other notes: {counted(len(plan.to_retell), 'file')}; not read again")
    say(f"to forget: {counted(len(plan.missing), 'file')}")
    if outlook.unknown:
        say(f"don't say how long they are: {counted(outlook.unknown, 'file')}")
    _say_troubles("can't be read", outlook.unreadable)
    say(f"the index would be about {size(n_bytes)}; nothing was done")


# An index


def status_record(
    store: str, folder: Path | None, info: CollectionInfo, manifest: Manifest
) -> dict[str, Any]:
    """What `alm2vec status --json` prints.

    Args:
        store: where the index is.
        folder: all of it; None if it is on a server.
    """
    totals = manifest.totals()
    return {
        "store": store,
        "model": info.model,
        "fingerprint": info.fingerprint,
        "chunking": info.chunking,
        "embedding_dim": info.embedding_dim,
        "aspects": {aspect.name: aspect.instruction for aspect in info.aspects},
        "files": totals.files,
        "contents": totals.contents,
        "chunks": totals.chunks,
        "silent_chunks": totals.silent_chunks,
        "audio_s": round(totals.duration_s, 3),
        "size_bytes": None if folder is None else _size_bytes(folder),
        "libraries": [
            {"path": str(library.library), "files": library.files, "skipped": library.failures}
            for library in manifest.libraries()
        ],
        "skipped": [
            {"path": str(entry.path), "reason": entry.failure, "kept": bool(entry.content_hash)}
            for entry in manifest.failures()
        ],
        "damaged": [{"path": str(path), "note": note} for path, note in manifest.damaged()],
        "interrupted": manifest.was_interrupted,
    }


def _size_bytes(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_blocks * 512 for path in files)


def print_status(record: dict[str, Any]) -> None:
    on_disk = "" if record["size_bytes"] is None else f", {size(record['size_bytes'])}"
    chunks = f"{counted(record['chunks'], 'chunk')} ({record['chunking']})"
    print(f"index      {printable(record['store'])}{on_disk}")
    print(f"model      {printable(record['model'])} ({record['fingerprint']})")
    print(f"holds      {counted(record['files'], 'file')}, {length(record['audio_s'])}, {chunks}")
    for library in record["libraries"]:
        print(f"library    {printable(library['path'])}, {counted(library['files'], 'file')}")
    for name, instruction in record["aspects"].items():
        print(f"aspect     {name}: {printable(instruction)}")
    for item in record["skipped"]:
        kept = "; what was indexed before is kept" if item["kept"] else ""
        print(f"skipped    {printable(item['path'])}: {item['reason']}{kept}")
    for item in record["damaged"]:
        print(f"damaged    {printable(item['path'])}: {item['note']}")
    if record["interrupted"]:
        print("note       the last run was interrupted, or one is running; alm2vec index goes on")
