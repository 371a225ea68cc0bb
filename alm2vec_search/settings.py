"""Settings: the defaults here, then the user's file, then `ALM2VEC_*`, then flags."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from alm2vec_search.addresses import (
    DEFAULT_ALIAS,
    DEFAULT_TIMEOUT_S,
    ServerAddress,
    is_url,
)
from alm2vec_search.errors import ConfigError

_SECRET = {"api_key", "store"}  # never shown: a key may have got into the URL, too


def config_path() -> Path:
    """The user's file: `$ALM2VEC_CONFIG`, or `alm2vec/config.toml` where the system keeps such."""
    given = os.environ.get("ALM2VEC_CONFIG")
    return Path(given or Path(platformdirs.user_config_dir("alm2vec")) / "config.toml").expanduser()


def usable_cores() -> int:
    """Cores this process may use: fewer than the machine has, in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Settings(BaseSettings):
    """All that can be set; `configs/default.toml` shows it as a file."""

    model_config = SettingsConfigDict(env_prefix="ALM2VEC_", extra="forbid", frozen=True)

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("alm2vec")),
        description="Where our data is kept.",
    )
    store: str | None = Field(
        None,
        description="The index: a folder, by default `index` in `home`; or a Qdrant server, as "
        "http(s)://HOST:6333 or grpc(s)://HOST:6334.",
    )
    collection: str = Field(DEFAULT_ALIAS, description="What the index is called on a server.")
    api_key: SecretStr | None = Field(None, description="The server's key.")
    server_timeout_s: PositiveInt = Field(
        DEFAULT_TIMEOUT_S, description="How long one request to the server may take."
    )
    shard_number: PositiveInt | None = Field(
        None,
        description="Of a new index on a cluster, fixed for good; by default as the server does.",
    )
    replication_factor: PositiveInt | None = Field(
        None, description="Copies of each shard; by default as the server does."
    )
    write_consistency_factor: PositiveInt | None = Field(
        None, description="Copies that have to have what is written; by default one."
    )
    model: str | None = Field(
        None,
        description="What embeds: `small`, a model's folder, or owner/name of a hub; `st:` before "
        "one for sentence-transformers; `asr:SPEECH+TEXT` for a cascade; by default as the index "
        "does.",
    )
    device: str = Field(
        "auto",
        description="Where it runs, as torch names it; auto is the GPU for a large model, if there "
        "is one, and else the CPU.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="What the model computes in; auto is what is quickest here."
    )
    batch_size: PositiveInt | None = Field(
        None, description="Chunks at a time, at most; by default what suits the device."
    )
    workers: PositiveInt | None = Field(
        None,
        description="Processes that decode and embed; on a GPU they decode for one more, which "
        "embeds. By default one a core, or a single one for a large model without a GPU.",
    )
    trust_remote_code: bool = Field(
        False, description="Run the code that comes with a model, with all rights you have."
    )
    window_s: PositiveFloat | None = Field(
        None, description="Length of a chunk, in seconds; by default as in the index, or 10."
    )
    hop_s: PositiveFloat | None = Field(
        None, description="From one chunk's start to the next's; by default the length of a chunk."
    )
    token: SecretStr | None = Field(
        None, description="What `alm2vec serve` asks of everybody who wants data."
    )

    @field_validator("store", mode="before")
    @classmethod
    def _path_or_url(cls, value: Any) -> Any:
        text = str(value) if isinstance(value, Path) else value
        if isinstance(text, str) and is_url(text):
            ServerAddress.parse(text)
        return text

    @field_validator("collection")
    @classmethod
    def _alias(cls, value: str) -> str:
        return ServerAddress("http://localhost", alias=value).alias

    @property
    def server(self) -> ServerAddress | None:
        """Where the index is, if it isn't in a folder of this machine."""
        if self.store is None or not is_url(self.store):
            return None
        key = self.api_key.get_secret_value() if self.api_key else None
        return ServerAddress.parse(
            self.store, alias=self.collection, api_key=key, timeout_s=self.server_timeout_s
        )

    @property
    def store_path(self) -> Path:
        """The folder on this machine of what belongs to the index, absolute.

        All of an embedded index is in it. Of one on a server, it holds what the server doesn't: the
        manifest, saved searches, and the lock of who indexes from here.
        """
        if (server := self.server) is not None:
            return self.home.expanduser().absolute() / "servers" / server.folder_name
        store = self.home / "index" if self.store is None else Path(self.store)
        return store.expanduser().absolute()

    @property
    def store_name(self) -> str:
        """Where the index is, for people. No secret is in it."""
        server = self.server
        return str(self.store_path) if server is None else str(server)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = TomlConfigSettingsSource(settings_cls, config_path())
        return init_settings, env_settings, file


def load_settings(**flags: Any) -> Settings:
    """The settings in force; a flag that is None was not given.

    Raises:
        ConfigError: the file can't be read, or a value can't be used.
    """
    path = config_path()
    hint = f"see {path}" if path.exists() else "see alm2vec --help and the ALM2VEC_* variables"
    if os.environ.get("ALM2VEC_CONFIG") and not path.is_file():
        raise ConfigError(f"no settings file at {path}", hint="correct or unset ALM2VEC_CONFIG")
    given = {key: value for key, value in flags.items() if value is not None}
    # `$ALM2VEC_CONFIG` names the file; it is no setting of its own.
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        given_text = "" if key in _SECRET else f" (given: {first['input']!r})"
        # Pydantic's own error would show the value to whoever prints the cause.
        raise ConfigError(f"{key}: {first['msg']}{given_text}", hint=hint) from (
            None if key in _SECRET else error
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"the settings can't be read: {error}", hint=hint) from error
