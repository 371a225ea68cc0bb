"""Settings: the defaults here, then the user's file, then `ALM2VEC_*`, then flags."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from alm2vec_search.addresses import DEFAULT_ALIAS, ServerAddress, is_url
from alm2vec_search.errors import ConfigError


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
        "http(s)://HOST:6333, or grpc(s)://HOST:6334.",
    )
    api_key: SecretStr | None = Field(None, description="The key of the Qdrant server.")
    collection: str = Field(
        DEFAULT_ALIAS, description="What the index is called on the Qdrant server."
    )
    shard_number: PositiveInt | None = Field(
        None, description="Of a new index on a cluster: a multiple of the number of nodes."
    )
    replication_factor: PositiveInt | None = Field(
        None, description="Of a new index on a cluster: copies of each shard."
    )
    write_consistency_factor: PositiveInt | None = Field(
        None, description="Of a new index on a cluster: copies that have to have what is written."
    )
    model: str | None = Field(
        None,
        description="What embeds: `small`, a model's folder, or owner/name of a hub; `st:` before "
        "one for sentence-transformers; by default as the index does.",
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

    @property
    def address(self) -> ServerAddress | None:
        """The server of the index; None where it is a folder.

        Raises:
            ConfigError: the address can't be used.
        """
        if self.store is None or not is_url(self.store):
            return None
        key = None if self.api_key is None else self.api_key.get_secret_value()
        try:
            return ServerAddress.parse(self.store, alias=self.collection, api_key=key)
        except ValueError as error:
            raise ConfigError(
                f"{self.store if '@' not in self.store else 'the store'}: {error}",
                hint="as in --store http://localhost:6333",
            ) from error

    @property
    def folder(self) -> Path:
        """The folder of the index, absolute; of one on a server, that of what is known of it here:
        which files were indexed, and saved searches."""
        if (address := self.address) is not None:
            return self.home.expanduser().absolute() / "servers" / address.folder_name
        return Path(self.store or self.home / "index").expanduser().absolute()

    @property
    def store_name(self) -> str:
        """The index, for people."""
        return str(self.address or self.folder)

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
        raise ConfigError(
            f"{key}: {first['msg']} (given: {first['input']!r})", hint=hint
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"the settings can't be read: {error}", hint=hint) from error
