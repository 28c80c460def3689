"""Settings: where they come from, and what a wrong one is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from mcp_actors.config import ALIASES, PREFIX, Settings, SettingsError, load

ROOT = Path(__file__).parent.parent
ORIGINAL = """\
DJANGO_SECRET_KEY=django-insecure-development-key-change-in-production
DJANGO_DEBUG=True
DJANGO_ALLOWED_HOSTS=localhost,127.0.0.1
CORS_ALLOWED_ORIGINS=http://localhost:3000
"""


def read(directory: Path, **environ: str) -> Settings:
    return load(environ=environ, directory=directory)


def test_nothing_set_serves_this_machine_on_port_8000(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert (settings.host, settings.port, settings.debug) == ("localhost", 8000, False)
    assert settings.allowed_hosts == settings.cors_allowed_origins == ()
    assert settings.max_message_bytes == 64 * 1024


def test_the_original_environment_file_works_unchanged(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ORIGINAL)
    settings = read(tmp_path)
    assert settings.secret_key == "django-insecure-development-key-change-in-production"  # noqa: S105
    assert settings.debug is True
    assert settings.allowed_hosts == ("localhost", "127.0.0.1")
    assert settings.cors_allowed_origins == ("http://localhost:3000",)


VALUES = {
    "port": "81",
    "debug": "yes",
    "cors_allowed_origins": "http://a.example",
    "redis_url": "redis://a.example",
    "redis_port": "81",
}


@pytest.mark.parametrize("name", ALIASES)
def test_second_names_mean_the_same_as_the_first(tmp_path: Path, name: str) -> None:
    value = VALUES.get(ALIASES[name], "a")
    settings = read(tmp_path, **{name: value})
    assert settings == read(tmp_path, **{PREFIX + ALIASES[name].upper(): value})
    assert settings != read(tmp_path)


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nMCP_ACTORS_LOG_LEVEL=error\nMCP_ACTORS_MAX_ROOMS=7\n")
    profile = tmp_path / "profile.env"
    profile.write_text("MCP_ACTORS_PORT=2\nMCP_ACTORS_LOG_LEVEL=warning\n")
    assert read(tmp_path).port == 1
    assert load(profile, environ={}, directory=tmp_path).port == 2
    assert load(profile, environ={"PORT": "3"}, directory=tmp_path).port == 3
    settings = load(profile, {"port": "4", "host": None}, environ={"PORT": "3"}, directory=tmp_path)
    assert (settings.port, settings.host, settings.log_level, settings.max_rooms) == (4, "localhost", "warning", 7)


def test_the_full_name_wins_over_the_second_in_one_source(tmp_path: Path) -> None:
    assert read(tmp_path, PORT="1", MCP_ACTORS_PORT="2").port == 2


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PORT", "eighty", "Expected `int`"),
        ("MCP_ACTORS_PORT", "70000", "<= 65535"),
        ("MCP_ACTORS_MAX_ROOMS", "", "Expected `int`"),
        ("ALLOWED_HOSTS", "https://a.example", "without scheme and port"),
        ("ALLOWED_HOSTS", "a.example:8000", "without scheme and port"),
        ("DJANGO_DEBUG", "maybe", "neither true nor false"),
        ("MCP_ACTORS_LOG_LEVEL", "loud", "Invalid enum value"),
        ("MCP_ACTORS_MAX_ROOMS", "0", ">= 1"),
        ("MCP_ACTORS_MAX_ROOMS", "-1", ">= 1"),
        ("MCP_ACTORS_PING_INTERVAL", "-1", ">= 0"),
        ("MCP_ACTORS_PING_INTERVAL", "nan", ">= 0"),
        ("MCP_ACTORS_PING_INTERVAL", "0.01", "at least 0.1"),
        ("MCP_ACTORS_ICE_SERVERS", "stun:stun.example.com", "not JSON"),
        ("MCP_ACTORS_ICE_SERVERS", '["stun:stun.example.com"]', "Expected `object`"),
        ("MCP_ACTORS_ICE_SERVERS", '[{"url": "stun:x"}]', "has `urls`"),
        ("CORS_ALLOWED_ORIGINS", "app.example.com", "scheme://host"),
        ("MCP_ACTORS_TRUSTED_PROXIES", "proxy.example.com", "named by its address"),
        ("MCP_ACTORS_TRUSTED_PROXIES", "10.0.0.1/8", "host bits set"),
        ("MCP_ACTORS_CONNECTION_JOIN_RATE", "-1", ">= 0"),
        ("MCP_ACTORS_ADDRESS_MESSAGE_RATE", "nan", ">= 0"),
        ("MCP_ACTORS_ADDRESS_MESSAGE_BURST", "0", ">= 1"),
        ("REDIS_URL", "http://localhost", "starts with redis://"),
        ("MCP_ACTORS_REDIS_URL", "redis://a,b", "names one host"),
        ("REDIS_HOST", "localhost:6379", "a port goes into REDIS_PORT"),
        ("REDIS_HOST", "my redis", "name or an address"),
        ("REDIS_PORT", "0", ">= 1"),
        ("MCP_ACTORS_REDIS_CA_FILE", "/no/such.pem", "no such file"),
        ("MCP_ACTORS_REDIS_PREFIX", "{a}", "matching regex"),
        ("MCP_ACTORS_REDIS_PREFIX", "a" * 65, "matching regex"),
        ("MCP_ACTORS_REDIS_BUCKETS", "65", "<= 64"),
        ("MCP_ACTORS_REDIS_TIMEOUT", "0", "> 0"),
        ("MCP_ACTORS_NODE_LEASE", "0.4", ">= 0.5"),
        ("MCP_ACTORS_OUTAGE_JOINS", "allow", "Invalid enum value"),
        ("MCP_ACTORS_OUTAGE_PATIENCE", "61", "<= 60"),
        ("MCP_ACTORS_REPLAY_SECONDS", "inf", "<= 60"),
        ("MCP_ACTORS_PROCESSES", "257", "<= 256"),
        ("MCP_ACTORS_AUTH", "maybe", "Invalid enum value"),
        ("MCP_ACTORS_AUTH_KEY_FILE", "/no/such.pem", "no such file"),
        ("MCP_ACTORS_AUTH_LEEWAY", "301", "<= 300"),
        ("MCP_ACTORS_AUTH_TIMEOUT", "0", "> 0"),
        ("MCP_ACTORS_AUTH_NOTICE", "-1", ">= 0"),
        ("MCP_ACTORS_MAX_TOKEN_BYTES", "100", ">= 256"),
        ("MCP_ACTORS_PROCESSES", "2", "set REDIS_URL"),
    ],
)
def test_a_wrong_value_names_the_setting_the_problem_and_an_example(
    tmp_path: Path, name: str, value: str, problem: str
) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, **{name: value})
    text = str(error.value)
    assert text.startswith(f"{name} is ")
    assert value[1:-1] in text.replace("'", '"')
    assert problem in text
    assert re.search(r"An example: \S", text)


def test_a_long_value_is_shown_short(tmp_path: Path) -> None:
    for value in ("9" * 5000, "[" * 20_000):
        with pytest.raises(SettingsError) as error:
            read(tmp_path, MCP_ACTORS_ICE_SERVERS=value)
        assert len(str(error.value)) < 500


def test_an_empty_host_or_port_is_not_set(tmp_path: Path) -> None:
    assert read(tmp_path, MCP_ACTORS_HOST="", PORT=" ") == read(tmp_path)


def test_what_kubernetes_injects_is_no_setting(tmp_path: Path) -> None:
    injected = {
        "MCP_ACTORS_PORT": "tcp://10.0.0.1:8000",
        "MCP_ACTORS_PORT_8000_TCP_ADDR": "10.0.0.1",
        "MCP_ACTORS_SERVICE_HOST": "10.0.0.1",
        "MCP_ACTORS_SERVICE_PORT": "8000",
    }
    assert read(tmp_path, **injected) == read(tmp_path)


def test_what_kubernetes_injects_for_a_service_of_redis_is_no_setting(tmp_path: Path) -> None:
    injected = {
        "REDIS_PORT": "tcp://10.0.0.2:6379",
        "REDIS_SERVICE_HOST": "10.0.0.2",
        "MCP_ACTORS_REDIS_PORT": "tcp://10.0.0.2:6379",
        "MCP_ACTORS_REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
        "MCP_ACTORS_REDIS_SERVICE_HOST": "10.0.0.2",
    }
    assert read(tmp_path, REDIS_HOST="redis", **injected).broker_url == "redis://redis:6379"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, ""),
        ({"REDIS_URL": "", "REDIS_HOST": " "}, ""),
        ({"REDIS_PORT": "7000", "REDIS_PASSWORD": "p"}, ""),
        ({"REDIS_HOST": "localhost", "REDIS_PORT": "", "REDIS_PASSWORD": ""}, "redis://localhost:6379"),
        ({"REDIS_HOST": "10.0.0.1", "REDIS_PORT": "7000"}, "redis://10.0.0.1:7000"),
        ({"REDIS_HOST": "::1"}, "redis://[::1]:6379"),
        ({"REDIS_HOST": "a", "REDIS_PASSWORD": "p@:/% s"}, "redis://:p%40%3A%2F%25%20s@a:6379"),
        ({"REDIS_HOST": "a", "REDIS_URL": "rediss://b/3"}, "rediss://b/3"),
        ({"MCP_ACTORS_REDIS_URL": "", "REDIS_URL": "redis://b"}, "redis://b"),
    ],
)
def test_redis_is_named_by_a_url_or_in_parts(tmp_path: Path, environ: dict[str, str], url: str) -> None:
    assert read(tmp_path, **environ).broker_url == url


def test_several_processes_need_a_redis(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--processes is 4, .*set REDIS_URL too, such as redis://"):
        load(overrides={"processes": "4"}, environ={}, directory=tmp_path)
    environ = {"REDIS_HOST": "localhost"}
    assert load(overrides={"processes": "4"}, environ=environ, directory=tmp_path).processes == 4


@pytest.mark.parametrize(
    "environ",
    [
        {"REDIS_URL": "redis://:hidden@a,b"},
        {"REDIS_URL": "redis://user:hidden"},
        {"REDIS_URL": "redis://host/0?password=hidden"},
        {"REDIS_URL": "redis:/user:hidden@host"},
        {"REDIS_URL": "hidden"},
        {"REDIS_HOST": "redis://:hidden@host"},
        {"REDIS_HOST": "user:hidden@host"},
        {"REDIS_HOST": "a:b", "REDIS_PASSWORD": "hidden"},
    ],
)
def test_the_password_of_redis_is_not_shown_in_an_error(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_\w+ is '.*An example: ") as error:
        read(tmp_path, **environ)
    assert "hidden" not in str(error.value)


def test_levels_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert read(tmp_path, MCP_ACTORS_LOG_LEVEL="DEBUG").log_level == "debug"


def test_a_line_that_is_no_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# fine\nPORT=1\nwhat is this\n")
    with pytest.raises(SettingsError, match=r"Line 3 .*what is this"):
        read(tmp_path)


def test_an_unknown_setting_is_named_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"MCP_ACTORS_MAX_ROOM is not a setting\. Did you mean MCP_ACTORS_MAX_ROOMS\?"
    ):
        read(tmp_path, MCP_ACTORS_MAX_ROOM="1")


@pytest.mark.parametrize("content", [None, b"PORT=\xff"])
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "missing.env"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=re.escape(str(file))):
        load(file, environ={}, directory=tmp_path)


def test_a_secret_is_not_shown_in_an_error() -> None:
    with pytest.raises(SettingsError) as error:
        load(overrides={"secret_key": ["hidden"]}, environ={})
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("profile", sorted((ROOT / "settings").glob("*.env")), ids=lambda path: path.name)
def test_every_profile_loads_and_explains_each_of_its_lines(profile: Path, tmp_path: Path) -> None:
    load(profile, environ={}, directory=tmp_path)
    explained = False
    for line in profile.read_text().splitlines():
        if line.startswith(PREFIX):
            assert explained, f"{line} has no comment above it"
        explained = bool(line) and (line.startswith("#") or explained)


def test_the_development_profile_shows_every_setting_at_its_default(tmp_path: Path) -> None:
    profile = ROOT / "settings" / "development.env"
    shown = dotenv_values(profile)
    fields: tuple[str, ...] = Settings.__struct_fields__
    assert set(shown) == {PREFIX + field.upper() for field in fields}
    loaded = load(profile, environ={}, directory=tmp_path)
    changed: dict[str, Any] = {
        name: getattr(loaded, name) for name in fields if getattr(loaded, name) != _default(name)
    }
    assert changed == {"secret_key": "development-only", "debug": True}


def _default(name: str) -> Any:
    return getattr(Settings(), name)
