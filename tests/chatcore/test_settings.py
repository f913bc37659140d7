"""Settings: read once from the environment, and each fault named."""

import os

import pytest
from chatcore.errors import ConfigurationError
from chatcore.redis_client import make_redis
from chatcore.settings import Names, ServiceSettings, read_settings, split_names
from pydantic import ValidationError, field_validator


class WithNames(ServiceSettings):
    """A service with a list."""

    origins: Names = ()
    _split = field_validator("origins", mode="before")(split_names)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CHAT_")]:
        monkeypatch.delenv(name)


def test_an_empty_environment_is_enough_for_one_machine() -> None:
    settings = read_settings(ServiceSettings)
    assert (settings.redis_url, settings.key_prefix) == ("redis://127.0.0.1:6379/0", "chat")
    assert settings.metrics_host == "127.0.0.1"


def test_each_setting_is_a_variable_with_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_NAME", "gateway-1")
    monkeypatch.setenv("CHAT_METRICS_PORT", "9001")
    monkeypatch.setenv("CHAT_SHUTDOWN_S", "2.5")
    settings = read_settings(ServiceSettings)
    assert (settings.name, settings.metrics_port, settings.shutdown_s) == ("gateway-1", 9001, 2.5)


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_METRICS_PORT", "")
    assert read_settings(ServiceSettings).metrics_port == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHAT_NAME", "a b"),
        ("CHAT_NAME", "a|b"),
        ("CHAT_NAME", "x" * 41),
        ("CHAT_KEY_PREFIX", "a{b}"),
        ("CHAT_METRICS_PORT", "65536"),
        ("CHAT_METRICS_PORT", "http"),
        ("CHAT_LOG_LEVEL", "loud"),
        ("CHAT_LOG_FORMAT", "xml"),
        ("CHAT_SHUTDOWN_S", "0"),
        ("CHAT_REDIS_USER", "a b"),
    ],
)
def test_a_fault_names_its_variable_and_not_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        read_settings(ServiceSettings)
    assert "\n" not in str(caught.value)
    assert value not in str(caught.value).split(": ", 1)[1] or value == "0"


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_LOG_LEVEL", "loud")
    monkeypatch.setenv("CHAT_SHUTDOWN_S", "-1")
    with pytest.raises(ConfigurationError, match=r"CHAT_LOG_LEVEL.*CHAT_SHUTDOWN_S"):
        read_settings(ServiceSettings)


@pytest.mark.parametrize(
    ("value", "names"), [("", ()), ("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b")), (",,", ())]
)
def test_a_list_is_split_at_its_commas(monkeypatch: pytest.MonkeyPatch, value: str, names: tuple[str, ...]) -> None:
    monkeypatch.setenv("CHAT_ORIGINS", value)
    assert read_settings(WithNames).origins == names


def test_settings_do_not_change_after_they_were_read() -> None:
    settings = read_settings(ServiceSettings)
    with pytest.raises(ValidationError):
        settings.name = "other"  # type: ignore[misc]  # that it is refused is what is tested


def test_user_password_and_authorities_are_parts_of_the_redis_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CHAT_REDIS_URL": "rediss://redis.example:6380/2",
        "CHAT_REDIS_USER": "gateway",
        "CHAT_REDIS_PASSWORD": "p/@:?#%",
        "CHAT_REDIS_TLS_CA": "/etc/chat/ca.crt",
    }.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(ServiceSettings)
    client = make_redis(settings.redis_dsn, name="test")
    told = client.connection_pool.connection_kwargs
    assert (told["host"], told["port"], told["db"]) == ("redis.example", 6380, 2)
    assert (told["username"], told["password"]) == ("gateway", "p/@:?#%")
    assert told["ssl_ca_certs"] == "/etc/chat/ca.crt"
    assert "p/@" not in repr(settings), "a password is not written where settings are"


def test_a_redis_address_alone_is_used_as_it_is() -> None:
    assert ServiceSettings(redis_url="redis://user:pw@host/1").redis_dsn == "redis://user:pw@host/1"


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [("CHAT_REDIS_USER", "gateway", "CHAT_REDIS_PASSWORD"), ("CHAT_REDIS_TLS_CA", "/etc/ca.crt", "rediss://")],
)
def test_half_a_redis_address_is_a_fault(monkeypatch: pytest.MonkeyPatch, name: str, value: str, needs: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name} needs .*{needs}"):
        read_settings(ServiceSettings)
