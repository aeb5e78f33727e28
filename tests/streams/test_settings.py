import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.settings import Settings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_WEB_PORT", "7001")
    monkeypatch.setenv("MESH_LLM_API_KEY", "very-secret")
    settings = Settings()
    assert settings.web_port == 7001
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"), [("WEB_PORT", "0"), ("PARTITIONS", "none"), ("LLM_TIMEOUT", "-1")]
)
def test_a_wrong_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"MESH_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_WEB_PORT", "")
    assert Settings().web_port == 6066


def test_the_broker_url_carries_the_prefix() -> None:
    settings = Settings(broker_url="nats://a:1,nats://b:2?tls=true", prefix="x")
    assert settings.faust_broker() == "nats://a:1?prefix=x;nats://b:2?tls=true&prefix=x"


def test_the_signing_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: Settings(data_dir=tmp_path / "new").signing_key(), range(8)))
    assert keys == {settings.signing_key()}
    path = tmp_path / "new" / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_given_signing_key_is_used(tmp_path: Path) -> None:
    from pydantic import SecretStr

    settings = Settings(data_dir=tmp_path, secret_key=SecretStr("abc"))
    assert settings.signing_key() == b"abc"
    assert list(tmp_path.iterdir()) == []
