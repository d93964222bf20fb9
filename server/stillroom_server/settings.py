"""Every setting of the server, in one model.

A flag beats the environment (``STILLROOM_MAX_TEXTS``), which beats the TOML file (``--config``, or
``STILLROOM_CONFIG``), which beats the default. Unknown keys in the file are an error.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from stillroom_registry.errors import InvalidArgument

MEGABYTE = 1_000_000


def _split(value: object) -> object:
    """Lists in the environment: JSON, or separated by commas."""
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Paths = Annotated[list[Path], NoDecode, BeforeValidator(_split)]
Strings = Annotated[list[str], NoDecode, BeforeValidator(_split)]


def default_data_dir() -> Path:
    """``stillroom`` in the user's data folder (XDG_DATA_HOME, else ~/.local/share)."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "stillroom"


class Settings(BaseSettings):
    """Settings of ``stillroom serve``."""

    model_config = SettingsConfigDict(
        env_prefix="STILLROOM_", extra="forbid", frozen=True, validate_default=True
    )

    # Where
    address: str = Field("127.0.0.1:50051", description="host:port or unix:/path; port 0 picks one")
    metrics_address: str = Field(
        "127.0.0.1:9464", description="host:port of /metrics over HTTP; empty turns it off"
    )
    data_dir: Path = Field(default_factory=default_data_dir, description="all state is in here")
    config: Path | None = Field(None, description="a TOML file with these settings")

    # Trust
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; turns TLS on")
    tls_key: Path | None = Field(None, description="PEM key of the certificate")
    tls_client_ca: Path | None = Field(
        None, description="PEM CAs; clients must then show a certificate"
    )
    token_file: Path | None = Field(None, description="file of bearer tokens, 'name token' a line")
    allow_insecure: bool = Field(
        False, description="bind beyond loopback without TLS and tokens; metrics too"
    )
    allow_root: Paths = Field(
        default_factory=list,
        description="folder from which requests may have files read; repeatable",
    )
    hub_allow: Strings = Field(
        default_factory=list,
        description="pattern of Hub repositories that may get the server's token; repeatable",
    )
    hub_push: bool = Field(
        False, description="let requests push models to the repositories that --hub-allow matches"
    )
    hub_endpoint: str | None = Field(None, description="default: HF_ENDPOINT, then the public Hub")
    hub_timeout_seconds: float = Field(
        120, gt=0, description="how long an answer of the Hub is waited for"
    )

    # Limits
    max_request_bytes: int = Field(
        16 * MEGABYTE, ge=1024, description="bytes of one request message"
    )
    max_response_bytes: int = Field(4_000_000, ge=1024, description="bytes of one unary answer")
    max_texts: int = Field(4096, ge=1, description="texts a request or stream item")
    max_text_bytes: int = Field(1 * MEGABYTE, ge=1, description="UTF-8 bytes of one text")
    max_tokenize_bytes: int = Field(
        256_000, ge=1, description="bytes of one Tokenize request; a token takes 500 of memory"
    )
    max_correlation_id_bytes: int = Field(256, ge=0, description="bytes of a correlation_id")
    max_concurrent_requests: int = Field(512, ge=1, description="unary requests worked on at once")
    max_concurrent_streams: int = Field(128, ge=1, description="streams open at once")
    max_calls_per_connection: int = Field(
        128, ge=1, description="calls open on one connection; its client keeps further ones back"
    )
    max_stream_window: int = Field(4, ge=1, description="items of a stream held unanswered")
    max_stream_bytes: int = Field(
        8 * MEGABYTE, ge=1024, description="answers of a stream held unread"
    )
    max_upload_bytes: int = Field(20_000 * MEGABYTE, ge=1, description="bytes of one upload")
    max_uploads_bytes: int = Field(
        50_000 * MEGABYTE, ge=1, description="bytes of all uploads together"
    )
    max_import_files: int = Field(2_000, ge=1, description="files of an imported model")
    max_import_bytes: int = Field(50_000 * MEGABYTE, ge=1, description="bytes of an imported model")
    registry_quota_bytes: int = Field(
        0, ge=0, description="bytes of the files of all models; 0: what the disk holds"
    )
    operation_days: float = Field(
        30, gt=0, description="days until an ended operation is forgotten"
    )
    upload_hours: float = Field(24, gt=0, description="hours until an unused upload is discarded")
    scrub_days: float = Field(
        30,
        ge=0,
        le=36_500,
        description="days after which stored files are hashed again in the background; 0: never",
    )
    scrub_bytes_per_second: int = Field(
        10 * MEGABYTE, ge=MEGABYTE, description="bytes a second that this reads at most"
    )

    # Work
    student_engine: Literal["auto", "onnxruntime", "gather"] = Field(
        "auto", description="what turns ids into vectors"
    )
    tokenizer_engine: Literal["auto", "huggingface", "nanotoken", "nanotoken-pairs"] = Field(
        "auto", description="what turns texts into ids"
    )
    model_memory_bytes: int = Field(
        4_000 * MEGABYTE,
        ge=MEGABYTE,
        description="memory for loaded models; the least used go first",
    )
    preload: Strings = Field(default_factory=list, description="model to load at start; repeatable")
    keepalive_seconds: float = Field(
        60, ge=1, description="silence after which a client is asked whether it is still there"
    )
    grace_seconds: float = Field(
        10, ge=0, description="how long a stop waits for requests in flight"
    )
    runner_threads: int = Field(
        0,
        ge=0,
        description="threads of the operation runner; 0: all cores, one less while requests arrive",
    )
    operation_slice_seconds: float = Field(
        120, gt=0, description="seconds after which a long operation lets waiting ones have a turn"
    )
    feature_cache_bytes: int = Field(
        4_000 * MEGABYTE, ge=0, description="disk for teachers' vectors of corpora; 0 keeps none"
    )
    device: str = Field("auto", description="where teachers run: auto, cpu, cuda or cuda:N")

    # Teachers, served by a process of their own
    teacher_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the device computes it natively"
    )
    teacher_threads: int = Field(0, ge=0, description="threads of the teacher engine; 0: all cores")
    teacher_batch_tokens: int = Field(
        0, ge=0, description="padded tokens of a teacher's batch; 0: what suits the device"
    )
    teacher_memory_bytes: int = Field(
        0,
        ge=0,
        description="memory for loaded teachers, the least used go first; 0: half of the device's",
    )
    teacher_idle_seconds: float = Field(
        600, gt=0, description="seconds until an unused teacher is unloaded"
    )
    teacher_engine_idle_seconds: float = Field(
        60, ge=0, description="seconds until an engine without a teacher ends"
    )
    teacher_engine_hang_seconds: float = Field(
        60,
        gt=0,
        description="seconds without life after which an engine that has work is killed",
    )
    max_teacher_queue_bytes: int = Field(
        16 * MEGABYTE, ge=1, description="bytes of text in flight to teachers"
    )
    max_teacher_queue_seconds: float = Field(
        1.5, gt=0, description="seconds that the teachers' work ahead of a unary request may take"
    )

    # Costs, as estimates count them; what is not said is unknown to them
    cost_price_usd_per_hour: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="US dollars that an hour of this host costs"
    )
    cost_pue: float | None = Field(
        None, ge=1, le=10, description="energy of the site over energy of its machines"
    )
    cost_region: str = Field(
        "", description="whose electricity it is: WORLD, or a code such as FRA; default: WORLD"
    )
    cost_carbon_intensity: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="grams of CO2 equivalent of a kilowatt-hour, in place of a region's",
    )
    cost_electricity_usd_per_kwh: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="US dollars of a kilowatt-hour; default: it is in the price of the hours",
    )
    cost_idle_power_watts: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="watts that this host draws when idle"
    )
    cost_max_power_watts: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="watts that this host draws at most"
    )
    cost_calibrate: bool = Field(
        True, description="measure this host for up to 3 seconds when an operation is first queued"
    )

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: give both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self

    @model_validator(mode="after")
    def _costs(self) -> Settings:
        if self.cost_region and self.cost_carbon_intensity is not None:
            raise ValueError("cost_region has a carbon intensity of its own: give one of the two")
        idle, most = self.cost_idle_power_watts, self.cost_max_power_watts
        if idle is not None and most is None:
            raise ValueError("cost_idle_power_watts needs cost_max_power_watts")
        if idle is not None and most is not None and idle > most:
            raise ValueError("cost_idle_power_watts is more than cost_max_power_watts")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the TOML file."""
        chosen: Any = init_settings().get("config") or os.environ.get("STILLROOM_CONFIG")
        sources = [init_settings, env_settings]
        if chosen:
            path = Path(chosen)
            if not path.is_file():
                raise FileNotFoundError(f"the settings file {path} does not exist")
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)


def load(arguments: Sequence[str]) -> Settings:
    """Settings from flags, environment and file.

    Raises InvalidArgument that names the setting; SystemExit after ``--help`` and on unknown flags.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config")
    config = early.parse_known_args(arguments)[0].config
    known: dict[str, Any] = {"config": config} if config else {}
    flags: CliSettingsSource[Any] = CliSettingsSource(
        Settings,
        cli_prog_name="stillroom serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )
    try:
        return CliApp.run(Settings, cli_args=list(arguments), cli_settings_source=flags, **known)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise InvalidArgument(
            f"setting {name or 'combination'}: {problem['msg']}", field=name, reason="BAD_SETTING"
        ) from None
    except (SettingsError, OSError, ValueError) as error:
        raise InvalidArgument(f"settings: {error}", reason="BAD_SETTING") from None
