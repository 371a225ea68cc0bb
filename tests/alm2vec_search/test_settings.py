"""Defaults, then the file, then variables, then flags."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from alm2vec_search.errors import ConfigError
from alm2vec_search.settings import Settings, load_settings

DEFAULT_FILE = Path(__file__).parents[2] / "configs" / "default.toml"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.touch()
    monkeypatch.setenv("ALM2VEC_CONFIG", str(path))
    return path


def test_flags_over_variables_over_the_file_over_defaults(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().batch_size is None
    config.write_text("batch_size = 3\n")
    assert load_settings().batch_size == 3
    monkeypatch.setenv("ALM2VEC_BATCH_SIZE", "4")
    assert load_settings().batch_size == 4
    assert load_settings(batch_size=5).batch_size == 5
    assert load_settings(batch_size=None).batch_size == 4


def test_the_file_of_defaults_says_what_they_are() -> None:
    written = tomllib.loads(DEFAULT_FILE.read_text(encoding="utf-8"))
    defaults = Settings()
    assert written
    assert {key: getattr(defaults, key) for key in written} == written


def test_the_file_of_defaults_names_every_setting() -> None:
    lines = DEFAULT_FILE.read_text(encoding="utf-8").splitlines()
    named = {line.lstrip("# ").split(" = ")[0] for line in lines if " = " in line}
    assert set(Settings.model_fields) <= named


def test_where_the_index_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(home=tmp_path).store_path == tmp_path / "index"
    assert load_settings(home=tmp_path, store=tmp_path / "x").store_path == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    assert load_settings(store=Path("y")).store_path == tmp_path / "y"
    monkeypatch.delenv("ALM2VEC_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert load_settings().store_path == tmp_path / "xdg" / "alm2vec" / "index"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("hop_s = 'long'", "hop_s: Input should be a valid number"),
        ("workers = 0", "workers: Input should be greater than 0"),
        ("windows = 1", "windows: Extra inputs are not permitted"),
        ("window_s =", "the settings can't be read: Invalid value"),
    ],
)
def test_a_file_that_makes_no_sense(config: Path, content: str, complaint: str) -> None:
    config.write_text(content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_settings()
    assert caught.value.hint == f"see {config}"


def test_a_file_that_is_named_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALM2VEC_CONFIG", "/nowhere/config.toml")
    with pytest.raises(ConfigError, match=r"no settings file at /nowhere/config\.toml"):
        load_settings()


URL = "http://localhost:6333"


def test_an_index_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(home=tmp_path).server is None
    monkeypatch.setenv("ALM2VEC_API_KEY", "open-sesame")
    settings = load_settings(home=tmp_path, store=f"{URL}/", server_timeout_s=7)
    server = settings.server
    assert server is not None
    assert (server.url, server.alias, server.timeout_s) == (URL, "alm2vec", 7)
    assert server.api_key == "open-sesame"
    assert settings.store_name == f"alm2vec at {URL}"
    assert settings.store_path.parent == tmp_path / "servers"
    other = load_settings(home=tmp_path, store=URL, collection="field")
    assert other.server is not None
    assert other.server.alias == "field"
    assert other.store_path != settings.store_path


def test_a_store_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALM2VEC_STORE", "grpc://box:6334")
    server = load_settings().server
    assert server is not None
    assert server.prefer_grpc
    monkeypatch.setenv("ALM2VEC_STORE", "C:/index")
    assert load_settings().server is None


def test_a_key_is_never_shown(config: Path) -> None:
    settings = load_settings(store=URL, api_key="open-sesame")
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.server)]
    assert not any("sesame" in text for text in shown)
    config.write_text("api_key = ['open-sesame']\n")
    with pytest.raises(ConfigError, match="api_key: ") as caught:
        load_settings()
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"store": "ftp://box/index"}, "store: Value error, not the address of a server"),
        ({"store": "https://me:open-sesame@box"}, "a key goes into ALM2VEC_API_KEY"),
        ({"collection": "a/b"}, "collection: Value error, not a name for an index"),
        ({"shard_number": 0}, "shard_number: Input should be greater than 0"),
    ],
)
def test_servers_that_can_not_be(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_settings(**given)
    assert "sesame" not in str(caught.value)
