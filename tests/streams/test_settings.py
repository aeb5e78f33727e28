import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

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
    settings = Settings(data_dir=tmp_path, secret_key=SecretStr("abc"))
    assert settings.signing_key() == b"abc"
    assert list(tmp_path.iterdir()) == []


def test_the_operators_token_is_made_once_and_may_be_edited(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    token = settings.operators_token()
    assert token == settings.operators_token() != settings.signing_key()
    assert stat.S_IMODE(settings.operator_token_file.stat().st_mode) == 0o600
    settings.operator_token_file.write_text("one of our own\n")
    assert settings.operators_token() == b"one of our own"


def test_a_given_operators_token_is_used_and_not_shown(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, operator_token=SecretStr("long enough to be one"))
    assert settings.operators_token() == b"long enough to be one"
    assert "long enough" not in repr(settings)
    assert list(tmp_path.iterdir()) == []


def test_an_operators_token_that_can_be_guessed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MESH_OPERATOR_TOKEN", "secret")
    with pytest.raises(ValidationError, match="operator_token"):
        Settings()
