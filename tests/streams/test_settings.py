import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from streams.setting_files import UnreadableSetting
from streams.settings import Settings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_WEB_PORT", "7001")
    monkeypatch.setenv("MESH_LLM_API_KEY", "very-secret")
    settings = Settings()
    assert settings.web_port == 7001
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_PORT", "0"),
        ("PARTITIONS", "none"),
        ("LLM_TIMEOUT", "-1"),
        ("PREFIX", "two words"),
        ("STORE", "sqlite://"),
        ("BROKER_URL", "kafka://somewhere"),
        ("BROKER_URL", "nats://somewhere?replica=3"),
        ("REDIS_URL", "somewhere:6379"),
        ("ORDERS_URL", "orders.example.com"),
        ("LLM_API_BASE", "http://"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"MESH_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_a_refused_login_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_BROKER_URL", "kafka://worker:hunter2@somewhere")
    with pytest.raises(ValidationError) as refused:
        Settings()
    (error,) = refused.value.errors()
    assert "hunter2" not in error["msg"]


def test_addresses_with_logins_are_not_shown() -> None:
    settings = Settings(broker_url="nats://worker:hunter2@a", redis_url="redis://:hunter3@b")
    assert "hunter" not in repr(settings)


def test_a_setting_can_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("very secret\n")
    (tmp_path / "port").write_text("7002")
    monkeypatch.setenv("MESH_LLM_API_KEY_FILE", str(tmp_path / "key"))
    (tmp_path / ".env").write_text(f"MESH_WEB_PORT_FILE={tmp_path / 'port'}\n")
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.llm_api_key.get_secret_value() == "very secret"
    assert settings.web_port == 7002


def test_what_a_file_holds_is_checked_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "port").write_text("seven")
    monkeypatch.setenv("MESH_WEB_PORT_FILE", str(tmp_path / "port"))
    with pytest.raises(ValidationError, match="web_port"):
        Settings()


def test_a_file_that_is_missing_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MESH_SECRET_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(UnreadableSetting, match=r"MESH_SECRET_KEY_FILE: .*none cannot be read: No"):
        Settings()


def test_a_setting_given_in_both_ways_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("one")
    monkeypatch.setenv("MESH_SECRET_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("MESH_SECRET_KEY", "another")
    with pytest.raises(UnreadableSetting, match="MESH_SECRET_KEY is set too") as refused:
        Settings()
    assert "another" not in str(refused.value)


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
