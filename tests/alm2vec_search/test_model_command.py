"""`alm2vec model`: what it prints, and what it says when there is nothing to print."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import constants
from ill_models import deaf
from safetensors.numpy import load_file, save_file

from alm2vec_search.model.hub import BUNDLED_FOLDER, find_model

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


@pytest.fixture(autouse=True)
def _nothing_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub may be asked, and nothing was fetched from one."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small model in a folder of its own."""
    return shutil.copytree(BUNDLED_FOLDER, tmp_path / "mine")


def change(folder: Path, **fields: Any) -> None:
    """Fields of its config.json; None takes one out."""
    config = json.loads((folder / "config.json").read_text()) | fields
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


class TestList:
    def test_the_bundled_model_is_always_there(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("model", "list")

        n_bytes = sum(path.stat().st_size for path in BUNDLED_FOLDER.glob("*.safetensors"))
        assert answer.out == f"small\t{n_bytes / 1e6:.1f} MB\tours\n"
        assert (answer.exit_code, answer.err) == (0, "")

    def test_as_json(self, alm2vec: CommandLine) -> None:
        (record,) = alm2vec("model", "list", "--json").records

        assert record == {
            "name": "small",
            "layout": "ours",
            "bytes": find_model("small").num_bytes,
            "folder": str(BUNDLED_FOLDER),
        }


class TestInfo:
    def test_of_the_bundled_model(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("model", "info", "small", "--json")

        assert answer.exit_code == 0
        record = json.loads(answer.out)
        tensors = [load_file(path) for path in BUNDLED_FOLDER.glob("*.safetensors")]
        stored = sum(
            tensor.size
            for file in tensors
            for name, tensor in file.items()
            if not name.endswith("num_batches_tracked")
        )
        assert sum(record["parameters"].values()) == stored
        assert record["fingerprint"] == find_model("small").fingerprint(record["dtype"])
        assert record["folder"] == str(BUNDLED_FOLDER)
        assert (record["name"], record["layout"], record["base"]) == ("small", "ours", None)
        assert (record["embedding_dim"], record["device"]) == (384, "cpu")
        assert (record["audio_encoder"], record["language_model"]) == ("yamnet", "bert")
        assert "NOTICE" in record["licence"]
        assert record["device_bytes"] > record["needed_bytes"] >= 2 * stored

    def test_for_people_each_fact_is_a_line(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("model", "info", "small")

        rows = [line.split("\t") for line in answer.out.splitlines()]
        assert {len(row) for row in rows} == {2}
        assert len({len(name) for name, _ in rows}) == 1
        facts = {name.strip(): fact for name, fact in rows}
        assert list(facts) == [
            "name",
            "folder",
            "layout",
            "licence",
            "on disk",
            "fingerprint",
            "vectors",
            "parameters",
            "audio encoder",
            "projector",
            "language model",
            "projection",
            "prompt",
            "pooling",
            "query instruction",
            "document instruction",
            "hears",
            "memory",
            "runs on",
        ]
        assert facts["hears"] == "all of a sound"
        assert facts["vectors"] == "384 numbers"
        assert facts["memory"].endswith(": fits")

    def test_of_a_folder(self, alm2vec: CommandLine, folder: Path) -> None:
        change(folder, max_audio_s=12.5, query_instruction="Find\nit.")
        (folder / "README.md").write_text("---\nlicense: mit\n---\n")

        answer = alm2vec("model", "info", folder)

        facts = dict(line.split("\t") for line in answer.out.splitlines())
        facts = {name.strip(): fact for name, fact in facts.items()}
        assert (facts["name"], facts["folder"]) == (str(folder), str(folder))
        assert (facts["licence"], facts["hears"]) == ("mit", "12.5 s")
        assert facts["query instruction"] == "Find\\nit."

    def test_what_does_not_fit_into_memory_is_said(
        self, alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "alm2vec_search.model.hardware.device_memory", lambda _: find_model("small").num_bytes
        )

        assert ": does not fit: see --device\n" in alm2vec("model", "info", "small").out

    @pytest.mark.parametrize("trusted", [False, True])
    def test_what_others_code_makes_is_not_known(
        self, alm2vec: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
    ) -> None:
        name = str(folder) if trusted else f"st:{folder}"
        if trusted:
            monkeypatch.setenv("ALM2VEC_TRUST_REMOTE_CODE", "1")

        human, machine = (
            alm2vec("model", "info", name),
            alm2vec("model", "info", name, "--json"),
        )

        assert (human.exit_code, machine.exit_code) == (0, 0), human.err
        layout = "remote code" if trusted else "sentence-transformers"
        assert json.loads(machine.out)["layout"] == layout
        assert f"\t{layout}\n" in human.out
        assert "parameters" not in human.out

    @pytest.mark.parametrize(
        ("name", "error", "hint"),
        [
            ("missing", "no model is called missing", "use small, "),
            ("owner/x", "owner/x isn't on this machine", "alm2vec model pull owner/x fetches it"),
            ("st:owner/x@v1", "owner/x@v1 isn't on this", "alm2vec model pull owner/x@v1 fetches"),
            ("{tmp}", "is not a model: it has no config.json, tokenizer.json, *.safetensors", ""),
        ],
    )
    def test_of_what_is_not_there(
        self, alm2vec: CommandLine, tmp_path: Path, name: str, error: str, hint: str
    ) -> None:
        answer = alm2vec("model", "info", name.format(tmp=tmp_path))

        assert (answer.exit_code, answer.out) == (3, "")
        said, way_out = answer.err.splitlines()
        assert said.startswith("error: ")
        assert error in said
        assert way_out.startswith("hint: ")
        assert hint in way_out

    @pytest.mark.parametrize(
        ("part", "field"),
        [
            ("audio_config", "yamnet"),
            ("text_config", {"hidden_size": 384}),
            ("text_config", None),
        ],
    )
    def test_of_a_damaged_config(
        self, alm2vec: CommandLine, folder: Path, part: str, field: object
    ) -> None:
        change(folder, **{part: field})

        answer = alm2vec("model", "info", folder)

        assert (answer.exit_code, answer.out) == (3, "")
        assert answer.err.startswith(f"error: {folder / 'config.json'} doesn't describe an ALM2Vec")
        assert "\nhint: " in answer.err

    def test_of_another_kind_of_model(self, alm2vec: CommandLine, folder: Path) -> None:
        change(folder, model_type="bert")

        answer = alm2vec("model", "info", folder)

        assert answer.exit_code == 3
        assert "doesn't describe an ALM2Vec model" in answer.err

    def test_of_a_damaged_shard(self, alm2vec: CommandLine, folder: Path) -> None:
        shard = folder / "adapter.safetensors"
        save_file(load_file(shard), shard)
        shard.write_bytes(shard.read_bytes()[:-1])

        answer = alm2vec("model", "info", folder)

        assert answer.exit_code == 3
        assert answer.err.startswith(f"error: {shard} can't be read: ")
        assert "hint: it may be cut off: copy or pull it again\n" in answer.err

    def test_on_a_device_that_is_not_there(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("model", "info", "small", "--device", "cuda:99")

        assert (answer.exit_code, answer.out) == (3, "")
        assert answer.err.startswith("error: the device cuda:99 can't be used: ")


class TestCheck:
    def test_of_the_bundled_model(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("model", "check", "small")

        assert (answer.exit_code, answer.err) == (0, "")
        rows = [line.split("\t") for line in answer.out.splitlines()]
        assert len({len(name) for name, _ in rows}) == 1
        facts = {name.strip(): fact for name, fact in rows}
        assert list(facts) == [
            "name",
            "runs on",
            "unlike texts",
            "texts alone, or with others",
            "texts without direction",
            "unlike sounds",
            "sounds alone, or with others",
            "sounds without direction",
            "mean text and mean sound",
            "well",
        ]
        assert facts["texts without direction"] == "0 of 9"

    def test_as_json(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("model", "check", "small", "--json")

        assert (answer.exit_code, answer.err) == (0, "")
        record = json.loads(answer.out)
        assert record["fingerprint"] == find_model("small").fingerprint(record["dtype"])
        assert (record["name"], record["device"]) == ("small", "cpu")
        for side in ("texts", "sounds"):
            assert record[side]["alike"] < record[side]["most_alike"] < record["limits"]["alike"]
            assert record[side]["batch_drift"] < record["limits"]["batch_drift"]
            assert record[side]["length_error"] < record["limits"]["length_error"]
        assert -1 < record["modality_gap"] < 1
        assert (record["complaints"], record["refusals"]) == ([], [])

    def test_of_one_that_is_ill(self, alm2vec: CommandLine, tmp_path: Path) -> None:
        name = deaf(tmp_path / "deaf")

        human, machine = alm2vec("model", "check", name), alm2vec("model", "check", name, "--json")

        assert (human.exit_code, machine.exit_code) == (1, 1)
        assert (human.err, machine.err) == ("", "")
        (complaint,) = json.loads(machine.out)["complaints"]
        assert complaint.startswith("unlike sounds are all but the same to it, with a cosine of 1.")
        label, said = human.out.splitlines()[-1].split("\t")
        assert (label.strip(), said) == ("ill", complaint)

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            (["missing"], "error: no model is called missing\nhint: use small, "),
            (
                ["owner/x"],
                "error: owner/x isn't on this machine\nhint: alm2vec model pull owner/x ",
            ),
            (["small", "--device", "cuda:99"], "error: the device cuda:99 can't be used: "),
        ],
    )
    def test_of_what_is_not_there(self, alm2vec: CommandLine, words: list[str], error: str) -> None:
        answer = alm2vec("model", "check", *words)

        assert (answer.exit_code, answer.out) == (3, "")
        assert answer.err.startswith(error)


class TestPull:
    @pytest.mark.parametrize("name", ["small", "./owner/name", "st:small", "a/b/c", "owner/name@"])
    def test_only_names_of_a_hub(self, alm2vec: CommandLine, name: str) -> None:
        answer = alm2vec("model", "pull", name)

        assert (answer.exit_code, answer.out) == (3, "")
        assert answer.err == (
            f"error: {name} is no name of a hub\nhint: a name looks like owner/model\n"
        )

    def test_offline(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("model", "pull", "owner/name@v1")

        assert (answer.exit_code, answer.out) == (3, "")
        assert answer.err == (
            "error: owner/name@v1 isn't on this machine\n"
            "hint: HF_HUB_OFFLINE is set: unset it to fetch it\n"
        )


@pytest.mark.parametrize(
    "words", [["pull"], ["info"], ["info", "a", "b"], ["check"], ["list", "a"], ["drop"]]
)
def test_usage(alm2vec: CommandLine, words: list[str]) -> None:
    assert alm2vec("model", *words).exit_code == 2
