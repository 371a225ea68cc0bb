"""Models by their names, from a hub that runs in the test; huggingface_hub itself fetches them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile
from fake_hub import FakeHub
from huggingface_hub import close_session, constants
from published_checkpoint import Original, put_into_cache
from test_adapter import tune

from alm2vec_search.errors import ModelError, ModelNotHere
from alm2vec_search.model.hub import Layout, find_model
from alm2vec_search.model.repositories import Repository, fetched
from alm2vec_search.terminal import size
from alm2vec_search.testing import tone
from alm2vec_search.wiring import fetch_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import CommandLine

ALM2VEC_FT = "cara-ai/ALM2Vec-FT"
NAME = "owner/toy"
CARD = "---\nlicense: apache-2.0\n---\n# ALM2Vec\n"
PICKLES = ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "onnx/model.onnx")
SHARDS = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
BESIDE = ["README.md", "config.json", "model.safetensors.index.json", "tokenizer.json"]
NOWHERE = "http://127.0.0.1:9"
ALM2VEC = [str(Path(sys.executable).with_name("alm2vec"))]
# One process for many commands, since each has to import torch.
COMMANDS = """
import contextlib, io, json, sys
from alm2vec_search.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["alm2vec", *words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as done:
            code = done.code
    print(json.dumps({"exit_code": code, "out": out.getvalue(), "err": err.getvalue()}))
"""


@dataclass(frozen=True)
class Done:
    """What came out of a command in a process of its own."""

    exit_code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def original() -> Original:
    return Original.make()


@pytest.fixture(scope="module")
def toy(original: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with all that lies beside one in a repository. Not to be changed."""
    folder = original.save(tmp_path_factory.mktemp("hub") / "toy", n_shards=3)
    (folder / "README.md").write_text(CARD)
    (folder / "onnx").mkdir()
    for name in PICKLES:
        (folder / name).write_bytes(b"\x80\x04.")
    return folder


@pytest.fixture
def changed(toy: Path, tmp_path: Path) -> Path:
    """The same with another prompt."""
    folder = tmp_path / "changed"
    shutil.copytree(toy, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"prompt": "{instruction}{audio}"}))
    return folder


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def cache(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the client of this process keeps what it fetches from the hub."""
    folder = tmp_path / "hf" / "hub"
    resolve = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + resolve)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for token in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(token, raising=False)
    for direct in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(direct, "127.0.0.1,localhost")
    close_session()
    yield folder
    close_session()


@pytest.fixture
def sounds(library: Path) -> Path:
    for name, hz in (("low", 200), ("high", 4_000)):
        soundfile.write(library / f"{name}.wav", tone(hz, 2.0, 16_000), 16_000)
    return library


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Of a user whose machine has nothing to do with hubs yet."""
    ours = {"HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    others = ("HF_", "HUGGING", "TRANSFORMERS_")
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(others) and not key.lower().endswith("_proxy")
    }
    return inherited | ours | variables


def run(words: list[str], env: dict[str, str]) -> Done:
    """The installed command."""
    done = subprocess.run([*ALM2VEC, *words], env=env, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def run_all(commands: list[list[str]], env: dict[str, str]) -> list[Done]:
    """One after the other, in one process."""
    words = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Done(**json.loads(line)) for line in done.stdout.splitlines()]


def bytes_wanted(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in [*SHARDS, *BESIDE])


def pull(name: str) -> tuple[Path, list[str]]:
    """Fetch, in this process; where it lies, and what was said."""
    said: list[str] = []
    repository = Repository.parse(name)
    assert repository is not None
    return repository.fetch(said.append), said


def test_a_model_by_its_name_from_an_empty_machine_to_offline_answers(
    hub: FakeHub, toy: Path, sounds: Path, tmp_path: Path
) -> None:
    commit = hub.publish(ALM2VEC_FT, toy)
    hub.publish(NAME, toy)
    store, home = tmp_path / "store", tmp_path / "hf"
    online = environment(home, HF_ENDPOINT=hub.url, HF_TOKEN="hf_mine")
    offline = environment(home, HF_ENDPOINT=NOWHERE, HF_HUB_OFFLINE="1")
    files = [str(sounds / "low.wav"), str(sounds / "high.wav")]
    pinned = f"{ALM2VEC_FT}@{commit}"
    at_store = ["--store", str(store)]

    indexed = run(["index", *files, "--model", ALM2VEC_FT, "--workers", "1", *at_store], online)
    assert indexed.exit_code == 0, indexed.err
    assert f"fetching {ALM2VEC_FT}: 7 files, " in indexed.err
    assert f"the licence of {ALM2VEC_FT} is contradictory" in indexed.err
    assert "hf_mine" in {asked.token for asked in hub.asked}

    hub.close()
    question = ["search", "--like", files[0], "--json", *at_store]
    instruction = ["--instruction", "Represent the user's input."]
    found, status, table, listed, human, machine, absent, again = run_all(
        [
            [*question, *instruction],
            ["status", "--json", *at_store],
            ["model", "list"],
            ["model", "list", "--json"],
            ["model", "info", ALM2VEC_FT],
            ["model", "info", ALM2VEC_FT, "--json"],
            ["model", "info", NAME],
            ["model", "pull", ALM2VEC_FT],
        ],
        offline,
    )

    hits = [json.loads(line) for line in found.out.splitlines()]
    assert [Path(hit["path"]).name for hit in hits] == ["low.wav", "high.wav"]
    assert hits[0]["score"] == pytest.approx(1, abs=1e-4)
    fingerprint = find_model(str(toy)).weights_hash
    assert json.loads(status.out)["model"] == pinned
    assert json.loads(status.out)["fingerprint"].startswith(f"{fingerprint}-")

    assert [line.split("\t")[0] for line in table.out.splitlines()] == ["small", pinned]
    weights = sum(path.stat().st_size for path in toy.glob("*.safetensors"))
    record = json.loads(listed.out.splitlines()[1])
    assert (record["name"], record["bytes"], record["layout"]) == (pinned, weights, "published")
    assert Path(record["folder"]).is_relative_to(home)

    said = json.loads(machine.out)
    assert said["name"] == pinned
    assert "CC BY-NC 4.0: not for commercial use" in said["licence"]
    assert (said["bytes"], said["embedding_dim"]) == (weights, 48)
    assert said["fingerprint"].startswith(f"{fingerprint}-")
    assert said["needed_bytes"] >= 2 * sum(said["parameters"].values()) > 100_000
    assert said["prompt"].startswith("<|im_start|>system\n{instruction}<|im_end|>")
    facts = dict(line.split("\t", 1) for line in human.out.splitlines())
    facts = {name.strip(): fact for name, fact in facts.items()}
    assert facts["name"] == pinned
    assert facts["licence"] == said["licence"]
    assert facts["vectors"] == "48 numbers"
    assert facts["fingerprint"] == said["fingerprint"]
    assert facts["prompt"] == repr(said["prompt"])
    assert facts["parameters"] == f"{sum(said['parameters'].values()):,}"
    assert facts["memory"].endswith(": fits")

    assert absent.exit_code == 3
    assert absent.err == (
        f"error: {NAME} isn't on this machine\nhint: alm2vec model pull {NAME} fetches it\n"
    )
    assert (again.exit_code, again.out) == (0, f"{pinned}\n")

    shutil.rmtree(home)
    gone, counted = run_all([question, ["status", "--json", *at_store]], offline)
    assert gone.exit_code == 3
    assert gone.err == (
        f"error: {pinned} isn't on this machine\nhint: alm2vec model pull {pinned} fetches it\n"
    )
    assert json.loads(counted.out)["files"] == 2


def test_pull_says_what_it_fetches_and_prints_the_name_with_its_commit(
    hub: FakeHub, toy: Path, tmp_path: Path
) -> None:
    commit = hub.publish(ALM2VEC_FT, toy)

    done = run(["model", "pull", ALM2VEC_FT], environment(tmp_path / "hf", HF_ENDPOINT=hub.url))

    assert done.exit_code == 0
    assert done.out == f"{ALM2VEC_FT}@{commit}\n"
    said, *bars = done.err.splitlines()[:-1]
    assert said == f"fetching {ALM2VEC_FT}: 7 files, {bytes_wanted(toy) / 1e3:.1f} kB"
    assert "Fetching 7 files: 100%" in bars[-1]
    assert "dry-run" not in done.err
    note = done.err.splitlines()[-1]
    assert note.startswith(f"the licence of {ALM2VEC_FT} is contradictory: ")


@pytest.mark.usefixtures("cache")
def test_no_pickle_is_asked_for(hub: FakeHub, toy: Path, alm2vec: CommandLine) -> None:
    hub.publish(NAME, toy)

    answer = alm2vec("model", "pull", NAME)

    assert answer.exit_code == 0
    assert sorted(hub.fetched) == sorted([*BESIDE, *SHARDS])
    assert not [asked for asked in hub.asked if asked.path.endswith(PICKLES)]
    assert "licence" not in answer.err


@pytest.mark.usefixtures("cache")
def test_a_model_of_pickles_alone_is_refused(
    hub: FakeHub, toy: Path, tmp_path: Path, alm2vec: CommandLine
) -> None:
    shutil.copytree(toy, tmp_path / "pickles", ignore=shutil.ignore_patterns("*.safetensors*"))
    hub.publish(NAME, tmp_path / "pickles")

    answer = alm2vec("model", "pull", NAME)

    assert (answer.exit_code, answer.out) == (3, "")
    assert "is not a model: it has no *.safetensors" in answer.err
    assert sorted(hub.fetched) == ["README.md", "config.json", "tokenizer.json"]


@pytest.mark.usefixtures("cache")
def test_what_is_here_is_not_fetched_again(hub: FakeHub, toy: Path, alm2vec: CommandLine) -> None:
    commit = hub.publish(NAME, toy)
    first = alm2vec("model", "pull", NAME)
    n_fetched = len(hub.fetched)

    second = alm2vec("model", "pull", NAME)

    assert first.out == second.out == f"{NAME}@{commit}\n"
    assert second.err == ""
    assert len(hub.fetched) == n_fetched


@pytest.mark.usefixtures("cache")
def test_an_old_commit_shares_its_files_with_the_new_one(
    hub: FakeHub, toy: Path, changed: Path
) -> None:
    old = hub.publish(NAME, toy)
    _, said = pull(NAME)
    assert said == [f"fetching {NAME}: 7 files, {size(bytes_wanted(toy))}"]
    new = hub.publish(NAME, changed)
    assert find_model(NAME).name == f"{NAME}@{old}"  # until it is pulled
    hub.asked.clear()

    folder, said = pull(NAME)

    assert (folder.name, hub.fetched) == (new, ["config.json"])
    assert said == [f"fetching {NAME}: 1 file, {size((changed / 'config.json').stat().st_size)}"]
    assert find_model(NAME).name == f"{NAME}@{new}"
    assert find_model(f"{NAME}@{old}").weights_hash == find_model(str(toy)).weights_hash
    assert find_model(NAME).weights_hash == find_model(str(changed)).weights_hash
    assert [found.revision for found, _ in fetched()] == [new, old]


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("revision", ["v1", "refs/pr/7", "{commit}"])
def test_a_pinned_revision_stays_where_it_is(
    hub: FakeHub, toy: Path, changed: Path, alm2vec: CommandLine, revision: str
) -> None:
    commit = hub.publish(NAME, toy, "v1", "refs/pr/7")
    hub.publish(NAME, changed, "main")
    name = f"{NAME}@{revision.format(commit=commit)}"

    answer = alm2vec("model", "pull", name)

    assert answer.out == f"{NAME}@{commit}\n"
    assert find_model(name).name == f"{NAME}@{commit}"
    with pytest.raises(ModelNotHere, match=f"^{NAME} isn't on this machine"):
        find_model(NAME)  # main is another


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_an_unknown_revision_is_named(
    hub: FakeHub, toy: Path, alm2vec: CommandLine, revision: str
) -> None:
    hub.publish(NAME, toy)

    answer = alm2vec("model", "pull", f"{NAME}@{revision}")

    assert (answer.exit_code, answer.out) == (3, "")
    assert answer.err == (
        f"error: {NAME} has no revision {revision}\nhint: leave out @ for its newest\n"
    )


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("token", [None, "hf_other"])
@pytest.mark.parametrize("lists_files", [True, False])
def test_a_gated_model_asks_for_its_terms_to_be_accepted(
    hub: FakeHub,
    toy: Path,
    alm2vec: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    lists_files: bool,
) -> None:
    commit = hub.publish(NAME, toy)
    hub.gate(NAME, "hf_accepted", lists_files=lists_files)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)

    refused = alm2vec("model", "pull", NAME)
    assert (refused.exit_code, refused.out, hub.fetched) == (3, "", [])
    assert refused.err == (
        f"error: {NAME} asks for its terms to be accepted\n"
        "hint: accept them there, and set HF_TOKEN\n"
    )

    monkeypatch.setenv("HF_TOKEN", "hf_accepted")
    assert alm2vec("model", "pull", NAME).out == f"{NAME}@{commit}\n"


@pytest.mark.usefixtures("cache")
def test_the_token_goes_to_the_hub_and_not_where_it_leads(
    hub: FakeHub, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    hub.publish(NAME, toy)

    pull(NAME)

    elsewhere = [asked.token for asked in hub.asked if asked.path.startswith("/elsewhere/")]
    at_hub = [asked.token for asked in hub.asked if not asked.path.startswith("/elsewhere/")]
    assert elsewhere == [None] * 3
    assert set(at_hub) == {"hf_mine"}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("token", [None, "hf_mine"])
def test_a_missing_model_is_named(
    alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)

    answer = alm2vec("model", "pull", "owner/missing")

    assert (answer.exit_code, answer.out) == (3, "")
    assert answer.err == (
        "error: there is no model owner/missing\n"
        "hint: check the name; a private one needs HF_TOKEN\n"
    )


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ["owner/a--b", "owner/.hidden", "-owner/name"])
def test_what_a_hub_would_not_allow_is_not_asked_for(hub: FakeHub, name: str) -> None:
    with pytest.raises(ModelNotHere):
        find_model(name)
    with pytest.raises(ModelError, match="is no name of a model"):
        pull(name)
    assert hub.asked == []


@pytest.mark.usefixtures("cache")
def test_without_a_network_nothing_is_lost(hub: FakeHub, toy: Path, alm2vec: CommandLine) -> None:
    hub.publish(NAME, toy)
    pull(NAME)
    hub.close()

    unreachable = alm2vec("model", "pull", NAME)

    assert unreachable.exit_code == 3
    error, hint = unreachable.err.splitlines()
    assert re.fullmatch(f"error: {NAME} can't be fetched: .*Connection refused.*", error)
    assert hint.startswith("hint: check the network")
    assert find_model(NAME).layout is Layout.PUBLISHED


@pytest.mark.usefixtures("cache")
def test_offline_nothing_is_asked_and_what_is_here_is_used(
    hub: FakeHub, toy: Path, alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.publish(NAME, toy)
    pull(NAME)
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    here, absent = alm2vec("model", "pull", NAME), alm2vec("model", "pull", "owner/other")

    assert (here.exit_code, here.out) == (0, f"{NAME}@{commit}\n")
    assert (absent.exit_code, absent.err) == (
        3,
        "error: owner/other isn't on this machine\n"
        "hint: HF_HUB_OFFLINE is set: unset it to fetch it\n",
    )
    assert hub.asked == []


@pytest.mark.usefixtures("cache")
def test_a_download_that_breaks_off_goes_on_in_the_middle(
    hub: FakeHub, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000)
    hub.publish(NAME, toy)
    hub.cut = SHARDS[1]

    folder, _ = pull(NAME)

    came = (toy / SHARDS[1]).stat().st_size // 2
    assert [asked.range for asked in hub.asked if asked.range] == [f"bytes={came // 1_000}000-"]
    assert (folder / SHARDS[1]).read_bytes() == (toy / SHARDS[1]).read_bytes()


@pytest.mark.usefixtures("cache")
def test_a_pull_that_failed_goes_on_with_what_is_missing(
    hub: FakeHub, toy: Path, alm2vec: CommandLine
) -> None:
    commit = hub.publish(NAME, toy)
    hub.broken = SHARDS[1]

    failed = alm2vec("model", "pull", NAME)
    assert (failed.exit_code, failed.out) == (3, "")
    assert f"error: {NAME} can't be fetched: " in failed.err
    assert "hint: check the network and the room on the disk; what was fetched is kept" in (
        failed.err
    )
    with pytest.raises(ModelNotHere):
        find_model(NAME)
    assert alm2vec("model", "list").out.splitlines()[1:] == []

    hub.broken = None
    before = set(hub.fetched) - {SHARDS[1]}
    hub.asked.clear()
    again = alm2vec("model", "pull", NAME)
    assert again.out == f"{NAME}@{commit}\n"
    assert SHARDS[1] in hub.fetched
    assert not before & set(hub.fetched)
    assert f"fetching {NAME}: {len(hub.fetched)} file" in again.err
    assert alm2vec("model", "list").out.splitlines()[1:] != []


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("revision", [None, "v1"])
def test_an_adapter_brings_its_base_along(
    hub: FakeHub,
    toy: Path,
    changed: Path,
    original: Original,
    tmp_path: Path,
    alm2vec: CommandLine,
    revision: str | None,
) -> None:
    commit = hub.publish("owner/base", toy, *["v1"] if revision else [])
    if revision is not None:
        hub.publish("owner/base", changed)  # is not what it was trained on
    tune(original, "owner/base", tmp_path / "lora")
    said = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    (tmp_path / "lora" / "adapter_config.json").write_text(
        json.dumps(said | {"revision": revision})
    )
    adapter = hub.publish("owner/lora", tmp_path / "lora")

    answer = alm2vec("model", "pull", "owner/lora")

    assert answer.exit_code == 0, answer.err
    assert answer.out == f"owner/lora@{adapter}\n"
    fetching = re.findall("^fetching (.*): .* files?, .*B$", answer.err, re.M)
    assert fetching == ["owner/lora", f"owner/base@{revision}" if revision else "owner/base"]
    files = find_model("owner/lora")
    assert files.base is not None
    assert files.base.name == f"owner/base@{commit}"
    listed = alm2vec("model", "list").out.splitlines()
    assert [line.split("\t")[0::2] for line in listed[1:]] == [
        [f"owner/base@{commit}", "published"],
        [f"owner/lora@{adapter}", "adapter"],
    ]
    info = json.loads(alm2vec("model", "info", "owner/lora", "--json").out)
    assert info["base"] == f"owner/base@{commit}"


@pytest.mark.usefixtures("cache")
def test_an_adapter_whose_base_is_missing_says_which(
    hub: FakeHub, original: Original, tmp_path: Path, alm2vec: CommandLine
) -> None:
    tune(original, "owner/base", tmp_path / "lora")
    hub.publish("owner/lora", tmp_path / "lora")

    assert "error: there is no model owner/base\n" in alm2vec("model", "pull", "owner/lora").err
    assert len(alm2vec("model", "list").out.splitlines()) == 1


def test_a_model_of_sentence_transformers_keeps_its_prefix(
    hub: FakeHub, cache: Path, tmp_path: Path, alm2vec: CommandLine
) -> None:
    folder = tmp_path / "st"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"")
    commit = hub.publish(NAME, folder)

    pulled = alm2vec("model", "pull", f"st:{NAME}")
    without = alm2vec("model", "pull", NAME)

    assert (pulled.exit_code, pulled.out) == (0, f"st:{NAME}@{commit}\n")
    files = find_model(f"st:{NAME}")
    assert files.layout is Layout.SENTENCE_TRANSFORMERS
    assert files.folder.is_relative_to(cache)
    assert (files.folder / "1_Pooling" / "config.json").is_file()
    assert without.exit_code == 3
    assert f"hint: use --model st:{NAME}@{commit}\n" in without.err
    assert f"st:{NAME}@{commit}\t" in alm2vec("model", "list").out


def test_both_halves_of_a_cascade_are_fetched(
    hub: FakeHub, cache: Path, tmp_path: Path, alm2vec: CommandLine
) -> None:
    commits = []
    for repo_id, kind in (("a/speech", "whisper"), ("b/text", "bert")):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        (folder / "model.safetensors").write_bytes(kind.encode())
        (folder / "README.md").write_text(f"---\nlicense: {kind}-licence\n---\n")
        commits.append(hub.publish(repo_id, folder))
    name = f"asr:a/speech@{commits[0]}+b/text@{commits[1]}"

    pulled = alm2vec("model", "pull", "asr:a/speech+b/text")
    info = json.loads(alm2vec("model", "info", "asr:a/speech+b/text", "--json").out)
    human = alm2vec("model", "info", name).out

    assert (pulled.exit_code, pulled.out) == (0, f"{name}\n"), pulled.err
    fetching = re.findall("^fetching (.*): .* files?, .*B$", pulled.err, re.M)
    assert fetching == ["a/speech", "b/text"]
    files = find_model("asr:a/speech+b/text")
    assert all(half.folder.is_relative_to(cache) for half in files.halves)
    assert (info["name"], info["layout"], info["bytes"]) == (name, "cascade", 11)
    assert info["halves"] == [f"a/speech@{commits[0]}", f"st:b/text@{commits[1]}"]
    assert info["licence"] == "whisper-licence and bert-licence"
    facts = dict(re.split(r" *\t", line) for line in human.splitlines())
    assert [facts["speech"], facts["text"]] == info["halves"]


def test_a_half_that_is_missing_is_fetched_when_it_is_needed(
    hub: FakeHub, cache: Path, tmp_path: Path
) -> None:
    speech, text = tmp_path / "speech", tmp_path / "text"
    for folder, kind in ((speech, "whisper"), (text, "bert")):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    hub.publish("b/text", text)
    said: list[str] = []

    files = fetch_model(f"asr:{speech}+b/text", said.append)

    assert [half.folder.is_relative_to(cache) for half in files.halves] == [False, True]
    assert len(said) == 1


def test_what_another_client_fetched_is_found_and_the_rest_left_alone(
    hub: FakeHub, cache: Path, toy: Path, tmp_path: Path, alm2vec: CommandLine
) -> None:
    shutil.copytree(toy, tmp_path / "ours")
    snapshot = put_into_cache(tmp_path / "ours", cache, NAME)
    for repo_id, config in (("a/bert", '{"model_type": "bert"}'), ("a/damaged", "{")):
        (other := tmp_path / "other").mkdir()
        (other / "config.json").write_text(config)
        (other / "tokenizer.json").write_text("{}")
        shutil.copy(toy / SHARDS[0], other)
        put_into_cache(other, cache, repo_id)
    (cache / "datasets--owner--data" / "snapshots" / ("1" * 40)).mkdir(parents=True)
    (cache / "models--owner--empty" / "snapshots").mkdir(parents=True)

    listed = alm2vec("model", "list")

    assert find_model(NAME).folder == snapshot
    assert (listed.exit_code, listed.err) == (0, "")
    assert [line.split("\t")[0] for line in listed.out.splitlines()] == [
        "small",
        f"{NAME}@{snapshot.name}",
    ]
    assert hub.asked == []


def test_before_the_first_fetch_there_is_nothing(cache: Path, alm2vec: CommandLine) -> None:
    assert not cache.exists()
    assert list(fetched()) == []
    assert [line.split("\t")[0] for line in alm2vec("model", "list").out.splitlines()] == ["small"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("owner/name", Repository("owner/name")),
        ("owner/name@v1.0", Repository("owner/name", "v1.0")),
        ("owner/name@refs/pr/1", Repository("owner/name", "refs/pr/1")),
        ("owner/na.me_2-b", Repository("owner/na.me_2-b")),
        ("name", None),
        ("/owner/name", None),
        ("./owner/name", None),
        ("../name", None),
        ("owner/name/more", None),
        ("owner/name@", None),
        ("owner/name@a@b", None),
        ("owner/name v1", None),
        ("https://hub/owner/name", None),
        ("", None),
    ],
)
def test_names(name: str, found: Repository | None) -> None:
    assert Repository.parse(name) == found
    if found is not None:
        assert str(found) == name


def test_a_folder_of_that_name_is_meant_first(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy, tmp_path / "owner" / "toy")

    assert find_model(NAME).name == str(tmp_path / "owner" / "toy")
