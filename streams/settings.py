"""The settings: one class, read from `MESH_…` environment variables and an optional `.env`.

Each can lie in a file instead, which `MESH_…_FILE` names.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streams.bridge.connection import parse_url
from streams.bridge.errors import ConfigurationError
from streams.bridge.layout import check_prefix
from streams.setting_files import FileSource

SHORTEST_TOKEN: Final = 12  # characters

Port = Annotated[int, Field(ge=1, le=65535)]


def _not_guessable(token: SecretStr) -> SecretStr:
    if 0 < len(token) < SHORTEST_TOKEN:
        raise ValueError(f"must have at least {SHORTEST_TOKEN} characters")
    return token


def _broker(url: str) -> str:
    try:
        if url:
            parse_url(url)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return url


def _prefix(name: str) -> str:
    try:
        check_prefix(name)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return name


HttpUrl = Annotated[str, Field(pattern=r"^(https?://[^/]+.*)?$")]


class Settings(BaseSettings):
    """Every setting of the mesh. Where a server's URL is left empty, an embedded one is started."""

    model_config = SettingsConfigDict(
        env_prefix="MESH_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    # Where things are
    data_dir: Path = Field(Path(".mesh"), description="Folder for everything kept on disk.")
    broker_url: Annotated[str, AfterValidator(_broker)] = Field(
        "", repr=False, description="NATS URL(s) with JetStream; empty: embedded."
    )
    redis_url: str = Field(
        "",
        pattern=r"^((rediss?|unix)://.+)?$",
        repr=False,
        description="Redis URL of the cache; empty: embedded.",
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "mesh", description="Subject prefix: two meshes can share a NATS server."
    )
    web_host: str = Field("127.0.0.1", description="Address that pages and workers listen on.")
    web_port: Port = Field(6066, description="Port of the pages.")
    workers: int = Field(1, ge=1, le=64, description="Workers that `run` starts.")
    worker_port: Port = Field(
        6071, description="Port of Faust's own pages on the worker; further workers count up."
    )
    customers_port: Port = Field(6067, description="Port of the mock customers API.")
    orders_port: Port = Field(6068, description="Port of the mock orders API.")
    tracking_port: Port = Field(6069, description="Port of the mock tracking API.")
    llm_port: Port = Field(6070, description="Port of the model mock.")

    # The mesh
    partitions: int = Field(4, ge=1, le=256, description="Partitions of every topic.")
    replicas: int = Field(1, ge=1, le=5, description="Copies that JetStream keeps of a stream.")
    concurrency: int = Field(
        32, ge=1, le=1024, description="Turns that one actor of one worker has in hand at once."
    )
    store: str = Field(
        "memory://",
        pattern=r"^(memory|rocksdb)://",
        description="Faust's table store: memory:// or rocksdb://.",
    )
    retries: int = Field(3, ge=0, le=10, description="Further tries of an actor that fails.")
    retry_delay: float = Field(
        0.2, ge=0, le=60, description="Seconds before the first further try; doubles each time."
    )
    history_turns: int = Field(
        10, ge=1, le=100, description="Past turns that a session remembers and that actors see."
    )
    pending_turns: int = Field(
        20, ge=1, le=1000, description="Turns that may wait in one session for those before them."
    )
    reply_days: float = Field(7, gt=0, description="Days that replies can be read back.")
    journal_days: float = Field(90, gt=0, description="Days that the journal is kept.")
    journal_gb: float = Field(
        0, ge=0, description="Gigabytes past which the journal's oldest turns go; 0: no limit."
    )

    replaying: bool = Field(
        False,
        description="For the workers that a replay starts: no history, no model loaded early.",
    )

    # The model
    llm_model: str = Field(
        "hosted_vllm/mesh-mock", description="The model's name, as litellm takes it."
    )
    llm_api_base: HttpUrl = Field(
        "", description="Base URL of the model's API; empty: the mock, with a key the provider."
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="Key of the model's API.")
    llm_timeout: float = Field(
        15, gt=0, description="Seconds before rules and templates answer in the model's place."
    )

    # The shop
    customers_url: HttpUrl = Field("", description="URL of the customers API; empty: the mock.")
    orders_url: HttpUrl = Field("", description="URL of the orders API; empty: the mock.")
    tracking_url: HttpUrl = Field("", description="URL of the tracking API; empty: the mock.")
    shop_timeout: float = Field(3, gt=0, description="Seconds that one call to the shop may take.")
    shop_retries: int = Field(2, ge=0, le=10, description="Further tries of a failed call.")
    cache_seconds: float = Field(
        30, ge=0, description="Seconds that what the shop told is reused; 0: never."
    )

    # The mocks
    mock_host: str = Field("127.0.0.1", description="Address that the mocks listen on.")
    mock_seed: int = Field(7, description="Seed of the generated shop.")
    mock_world: Path | None = Field(
        None, description="Folder with users.json, orders.json, products.json; else generated."
    )
    mock_latency_ms: float = Field(0, ge=0, description="Median delay of the mock shop.")
    mock_failure_rate: float = Field(0, ge=0, le=1, description="Share of shop calls that fail.")
    mock_llm_latency_ms: float = Field(0, ge=0, description="Median delay of the model mock.")
    mock_llm_failure_rate: float = Field(
        0, ge=0, le=1, description="Share of model calls that fail."
    )

    # Watching it
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people, or a JSON object each."
    )
    otel_endpoint: HttpUrl = Field(
        "",
        description="URL of an OpenTelemetry collector (OTLP over HTTP); empty: no spans.",
    )

    # The pages
    secret_key: SecretStr = Field(
        SecretStr(""), description="Signs session tokens; empty: made once and kept in data_dir."
    )
    operator_token: Annotated[SecretStr, AfterValidator(_not_guessable)] = Field(
        SecretStr(""),
        description="Opens the operators' pages; empty: made once and kept in data_dir.",
    )
    metrics_token: SecretStr = Field(
        SecretStr(""), description="Opens /metrics; empty: made once and kept in data_dir."
    )
    proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Proxies in front of the pages whose X-Forwarded-For counts; 0: none.",
    )
    page_replays: bool = Field(
        True, description="Operators may begin replays from the pages, which then run beside them."
    )
    max_text: int = Field(4000, ge=1, description="Characters that one message may have.")
    turn_timeout: float = Field(
        30, gt=0, description="Seconds that POST /api/chat waits for the reply."
    )
    turns_per_minute: int = Field(
        60, ge=1, description="Messages that one session may send in a minute."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add the settings that lie in files of their own."""
        files = FileSource(settings_cls, env_settings, dotenv_settings)
        return init_settings, files, env_settings, dotenv_settings

    def faust_broker(self) -> str:
        """Return the broker URL as the bridge takes it: with the subject prefix."""
        return ";".join(
            f"{url}{'&' if '?' in url else '?'}prefix={self.prefix}"
            for url in self.broker_url.replace(",", ";").split(";")
            if url
        )

    def signing_key(self) -> bytes:
        """Return the key that signs what pages are given, made and kept on first use."""
        return self._secret(self.secret_key, "secret_key")

    @property
    def operator_token_file(self) -> Path:
        """Where the operators' token is kept when the settings name none."""
        return self.data_dir / "operator_token"

    def operators_token(self) -> bytes:
        """Return the token that opens the operators' pages, made and kept on first use."""
        return self._secret(self.operator_token, self.operator_token_file.name)

    def metrics_bearer(self) -> bytes:
        """Return the token that Prometheus sends to see metrics, made and kept on first use."""
        return self._secret(self.metrics_token, "metrics_token")

    def _secret(self, configured: SecretStr, name: str) -> bytes:
        """Return what is configured, else what is kept in `name` (mode 0600), made if missing."""
        if secret := configured.get_secret_value():
            return secret.encode()
        path = self.data_dir / name
        if not path.exists():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self.data_dir / f"{name}.{secrets.token_hex(4)}"
            with open(draft, "x", opener=_private) as new:
                new.write(secrets.token_urlsafe(48))
            # A link appears whole and only once, also when two processes get here together.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft)
            draft.unlink()
        return path.read_bytes().strip()


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)
