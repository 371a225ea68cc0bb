"""`alm2vec model`: which models there are on this machine, what they are, and fetching more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alm2vec_search.commands.options import DeviceOption, TrustOption

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alm2vec_search.model.health import Health, SideHealth
    from alm2vec_search.model.hub import ModelFiles
    from alm2vec_search.wiring import EncoderSpec

NAMES = (
    "A model is named by `small`, which comes with the package; by its folder; or by owner/name of "
    "a hub, with @ and a branch, tag or commit where it should stay as it is. `st:` before a "
    "folder or a name runs it by sentence-transformers. `asr:SPEECH+TEXT`, each a folder or a "
    "name, is a cascade: a Whisper turns speech into words, and a text model of "
    "sentence-transformers embeds these."
)
app = typer.Typer(
    help="Which models are on this machine, what they are, and fetching more.\n\n" + NAMES,
    no_args_is_help=True,
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As --model takes it.")]


@app.command()
def pull(name: NameArgument) -> None:
    """Fetch a model from its hub, or what of it isn't here yet.

    Needs the network once; afterwards nothing does. After an interruption, files that are whole are
    not fetched again. HF_HOME, HF_TOKEN and HF_HUB_OFFLINE mean what they mean for transformers.
    Only safetensors are fetched and loaded, never pickles.
    """
    from alm2vec_search.errors import ModelError
    from alm2vec_search.model.hub import repositories
    from alm2vec_search.model.licences import licence_note
    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import fetch_model

    named = repositories(name)
    if not named:
        raise ModelError(f"{name} is no name of a hub", hint="a name looks like owner/model")
    for repository in named:
        repository.fetch(say)
    files = fetch_model(name, say)  # an adapter's base, too; and whether it is a model of ours
    for repository in named:
        if note := licence_note(repository.repo_id):
            say(note)
    print(files.name)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The models on this machine that can embed."""
    from alm2vec_search.terminal import printable, size

    for files in usable():
        if as_json:
            record = {"name": files.name, "layout": files.layout.value, "bytes": files.num_bytes}
            print(json.dumps(record | {"folder": str(files.folder)}))
        else:
            print(f"{printable(files.name)}\t{size(files.num_bytes)}\t{files.layout.value}")


@app.command()
def info(
    name: NameArgument,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What a model is made of, what may be done with it, and what it needs on this machine."""
    from alm2vec_search.settings import load_settings

    record = describe(load_settings(model=name, device=device).model or name, device)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        print_info(record)


@app.command()
def check(
    name: NameArgument,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Load a model, and see whether its vectors can be searched by.

    A few unlike texts and sounds are embedded: they must not all become the same vector, nor one
    that is no number, and what becomes of one must not depend on what is embedded with it. The exit
    code is 1 where they do. Any command that loads a model for the first time does the same, and
    warns. How well a model ranks is another question, which this doesn't answer.
    """
    from alm2vec_search.settings import load_settings
    from alm2vec_search.wiring import encoder_spec

    settings = load_settings(model=name, device=device, trust_remote_code=trust_remote_code)
    spec = encoder_spec(settings)
    spec.require_device()
    health = spec.examine()
    if as_json:
        print(json.dumps(_health_record(spec, health), indent=2))
    else:
        _print_rows(_health_rows(spec, health))
    if health.complaints():
        raise typer.Exit(1)


def usable() -> Iterator[ModelFiles]:
    """The bundled model, and what was fetched from hubs and can be loaded here."""
    from alm2vec_search.errors import ModelError
    from alm2vec_search.model.hub import BUNDLED, SENTENCE_TRANSFORMERS, find_model
    from alm2vec_search.model.repositories import fetched

    yield find_model(BUNDLED)
    for repository, folder in fetched():
        is_of_others = (folder / "modules.json").is_file()
        try:
            files = find_model(f"{SENTENCE_TRANSFORMERS if is_of_others else ''}{repository}")
            if is_of_others or files.embedding_dim:
                yield files
        except ModelError:
            continue  # a hub's cache holds other people's models, too


def describe(name: str, device: str | None) -> dict[str, Any]:
    """What `info` says, as JSON has it."""
    from alm2vec_search.model.hardware import device_memory, device_name, require_device
    from alm2vec_search.settings import load_settings
    from alm2vec_search.wiring import encoder_spec

    spec = encoder_spec(load_settings(model=name, device=device))
    files = spec.files
    require_device(spec.device)
    record: dict[str, Any] = {
        "name": files.name,
        "folder": str(files.folder),
        "layout": files.layout.value,
        "base": None if files.base is None else files.base.name,
        "licence": _licence(files),
        "bytes": files.num_bytes,
        "fingerprint": spec.fingerprint,
        "device": spec.device,
        "device_name": device_name(spec.device),
        "dtype": spec.dtype,
        "device_bytes": device_memory(spec.device),
    }
    if files.halves:
        record["halves"] = [half.name for half in files.halves]
    if not files.is_described:
        return record  # nothing that could be read says more
    return record | _parts(files, spec.dtype)


def _licence(files: ModelFiles) -> str:
    """Of the weights; of a cascade, both."""
    from alm2vec_search.model.licences import licence_of

    parts = files.halves or (files,)
    return " and ".join(licence_of(part.name, part.folder) for part in parts)


def _parts(files: ModelFiles, dtype: str) -> dict[str, Any]:
    """What our classes would make of it."""
    from alm2vec_search.errors import ModelError
    from alm2vec_search.model.hub import HINT

    description = files.description
    fields = description.fields
    said = ("pooling", "prompt", "query_instruction", "document_instruction", "max_audio_s")
    try:
        return {
            "embedding_dim": files.embedding_dim,
            "parameters": description.sizes(),
            "audio_encoder": fields["audio_config"]["model_type"],
            "language_model": fields["text_config"]["model_type"],
            "needed_bytes": description.bytes_in_memory(dtype),
            **{name: fields.get(name) for name in said},
        }
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{files.folder / 'config.json'} doesn't describe an ALM2Vec model", hint=HINT
        ) from error


def print_info(record: dict[str, Any]) -> None:
    """A line for each fact, its name and a tab before it."""
    from alm2vec_search.terminal import size

    rows: list[tuple[str, object]] = [
        ("name", record["name"]),
        ("folder", record["folder"]),
        ("layout", record["layout"]),
        ("licence", record["licence"]),
        ("on disk", size(record["bytes"])),
        ("fingerprint", record["fingerprint"]),
    ]
    if record["base"]:
        rows.insert(3, ("trained on", record["base"]))
    for half, place in zip(record.get("halves", ()), ("speech", "text"), strict=False):
        rows.append((place, half))
    if "parameters" in record:
        sizes = record["parameters"]
        rows += [
            ("vectors", f"{record['embedding_dim']} numbers"),
            ("parameters", f"{sum(sizes.values()):,}"),
            ("  audio encoder", f"{sizes['audio_encoder']:,} ({record['audio_encoder']})"),
            ("  projector", f"{sizes['audio_projector']:,}"),
            ("  language model", f"{sizes['language_model']:,} ({record['language_model']})"),
            ("  projection", f"{sizes['projection']:,}" if sizes["projection"] else "none"),
            ("prompt", repr(record["prompt"])),
            ("pooling", record["pooling"]),
            ("query instruction", record["query_instruction"] or "none"),
            ("document instruction", record["document_instruction"] or "none"),
            (
                "hears",
                f"{record['max_audio_s']:g} s" if record["max_audio_s"] else "all of a sound",
            ),
            ("memory", _memory(record)),
        ]
    rows.append(("runs on", f"{record['device']} ({record['device_name']}), {record['dtype']}"))
    _print_rows(rows)


def _print_rows(rows: Sequence[tuple[str, object]]) -> None:
    from alm2vec_search.terminal import printable

    width = max(len(name) for name, _ in rows)
    for name, fact in rows:
        print(f"{name:{width}}\t{printable(str(fact))}")


def _health_record(spec: EncoderSpec, health: Health) -> dict[str, Any]:
    """What `check` found, as JSON has it."""
    from dataclasses import asdict

    from alm2vec_search.model.health import ALIKE_LIMIT, LENGTH_LIMIT

    limits = {
        "alike": ALIKE_LIMIT,
        "batch_drift": health.drift_limit,
        "length_error": LENGTH_LIMIT,
    }
    return {
        "name": spec.model,
        "fingerprint": spec.fingerprint,
        "device": spec.device,
        **asdict(health),
        "limits": limits,
        "complaints": health.complaints(),
    }


def _health_rows(spec: EncoderSpec, health: Health) -> list[tuple[str, object]]:
    """What `check` found, and what is to be thought of it."""
    gap = health.modality_gap
    return [
        ("name", spec.model),
        ("runs on", f"{spec.device}, {health.dtype}"),
        *_side_rows("texts", health.texts, health.drift_limit),
        *_side_rows("sounds", health.sounds, health.drift_limit),
        ("mean text and mean sound", "not known" if gap is None else f"cosine {gap:.3f}"),
        *(("not taken", refusal) for refusal in health.refusals),
        *([("ill", complaint) for complaint in health.complaints()] or [("well", "yes")]),
    ]


def _side_rows(name: str, side: SideHealth | None, drift_limit: float) -> list[tuple[str, object]]:
    from alm2vec_search.model.health import ALIKE_LIMIT

    if side is None:
        return []
    alike: object = "not known"
    if side.alike is not None:
        alike = f"cosine {side.alike:.3f} on average (limit {ALIKE_LIMIT:g}), "
        alike += f"{side.most_alike:.3f} at most"
    drift: object = "not known"
    if side.batch_drift is not None:
        drift = f"{side.batch_drift:.2g} of cosine at most (limit {drift_limit:g})"
    return [
        (f"unlike {name}", alike),
        (f"{name} alone, or with others", drift),
        (f"{name} without direction", f"{side.not_finite + side.zero} of {side.vectors}"),
    ]


def _memory(record: dict[str, Any]) -> str:
    """What the weights need, and whether the device has it."""
    from alm2vec_search.terminal import size

    needed, there_is = record["needed_bytes"], record["device_bytes"]
    verdict = "fits" if needed < 0.8 * there_is else "does not fit: see --device"
    return f"{size(needed)} for the weights, of {size(there_is)}: {verdict}"
