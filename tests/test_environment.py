"""Where settings come from, and how errors name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mcp_actors.environment import ALIASES, load
from mcp_actors.settings import PREFIX, Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

ORIGINAL = """\
DJANGO_SECRET_KEY=django-insecure-development-key-change-in-production
DJANGO_DEBUG=True
DJANGO_ALLOWED_HOSTS=localhost,127.0.0.1
CORS_ALLOWED_ORIGINS=http://localhost:3000
"""


def read(directory: Path, **environ: str) -> Settings:
    return load(environ=environ, directory=directory)


def test_the_original_environment_file_works_unchanged(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ORIGINAL + "REDIS_HOST=localhost\n")
    settings = read(tmp_path)
    assert settings.server.secret_key == "django-insecure-development-key-change-in-production"  # noqa: S105
    assert settings.server.debug is True
    assert settings.http.allowed_hosts == ("localhost", "127.0.0.1")
    assert settings.http.cors_allowed_origins == ("http://localhost:3000",)
    assert settings.redis.broker_url == "redis://localhost:6379"


VALUES = {
    "port": "81",
    "debug": "yes",
    "cors_allowed_origins": "http://a.example",
    "redis_url": "redis://a.example",
    "redis_port": "81",
}


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_means_the_same_as_the_full_name(tmp_path: Path, name: str) -> None:
    value = VALUES.get(ALIASES[name], "a")
    settings = read(tmp_path, **{name: value})
    assert settings == read(tmp_path, **{PREFIX + ALIASES[name].upper(): value})
    assert settings != read(tmp_path)


def test_the_full_name_wins_over_an_alias_in_one_source(tmp_path: Path) -> None:
    assert read(tmp_path, PORT="1", MCP_ACTORS_PORT="2").server.port == 2


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nMCP_ACTORS_LOG_LEVEL=error\nMCP_ACTORS_MAX_ROOMS=7\n")
    profile = tmp_path / "profile.env"
    profile.write_text("MCP_ACTORS_PORT=2\nMCP_ACTORS_LOG_LEVEL=warning\n")
    assert read(tmp_path).server.port == 1
    assert load(profile, environ={}, directory=tmp_path).server.port == 2
    assert load(profile, environ={"PORT": "3"}, directory=tmp_path).server.port == 3
    settings = load(profile, {"port": "4", "host": None}, environ={"PORT": "3"}, directory=tmp_path)
    assert (settings.server.port, settings.server.host) == (4, "localhost")
    assert (settings.server.log_level, settings.rooms.max_rooms) == ("warning", 7)


def test_an_empty_host_port_or_redis_url_is_not_set(tmp_path: Path) -> None:
    assert read(tmp_path, MCP_ACTORS_HOST="", PORT=" ", REDIS_URL="") == read(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ("ON", True), ("1", True), ("no", False), ("Off", False), ("", False)]
)
def test_booleans_may_be_written_in_several_ways(tmp_path: Path, text: str, value: bool) -> None:
    assert read(tmp_path, MCP_ACTORS_ECHO=text).http.echo is value


def test_words_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert read(tmp_path, MCP_ACTORS_LOG_LEVEL="DEBUG").server.log_level == "debug"


def test_variables_that_kubernetes_injects_are_ignored(tmp_path: Path) -> None:
    injected = {
        "MCP_ACTORS_PORT": "tcp://10.0.0.1:8000",
        "MCP_ACTORS_PORT_8000_TCP_ADDR": "10.0.0.1",
        "MCP_ACTORS_SERVICE_HOST": "10.0.0.1",
        "MCP_ACTORS_SERVICE_PORT": "8000",
    }
    assert read(tmp_path, **injected) == read(tmp_path)


def test_variables_that_kubernetes_injects_for_a_redis_service_are_ignored(tmp_path: Path) -> None:
    injected = {
        "REDIS_PORT": "tcp://10.0.0.2:6379",
        "REDIS_SERVICE_HOST": "10.0.0.2",
        "MCP_ACTORS_REDIS_PORT": "tcp://10.0.0.2:6379",
        "MCP_ACTORS_REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
        "MCP_ACTORS_REDIS_SERVICE_HOST": "10.0.0.2",
    }
    assert read(tmp_path, REDIS_HOST="redis", **injected).redis.broker_url == "redis://redis:6379"


@pytest.mark.parametrize(
    ("name", "value"),
    [("FRAME_LOOP", "fast"), ("FRAME_LOOP", "Fast "), ("COMPRESSION", "False"), ("COMPRESSION", "0")],
)
def test_a_removed_setting_at_its_former_default_is_reported_as_obsolete(tmp_path: Path, name: str, value: str) -> None:
    assert read(tmp_path, **{PREFIX + name: value}).obsolete == (PREFIX + name,)


@pytest.mark.parametrize(("name", "value"), [("FRAME_LOOP", "stock"), ("COMPRESSION", "True")])
def test_a_removed_setting_at_another_value_is_an_error_that_says_what_to_do(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^{PREFIX}{name} is '{value}', but this setting was removed: .* out\.$"):
        read(tmp_path, **{PREFIX + name: value})


def test_an_unknown_setting_is_an_error_that_suggests_a_known_one(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"MCP_ACTORS_MAX_ROOM is not a setting\. Did you mean MCP_ACTORS_MAX_ROOMS\?"
    ):
        read(tmp_path, MCP_ACTORS_MAX_ROOM="1")


def test_a_line_without_a_value_is_an_error_with_its_number(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# fine\nPORT=1\nwhat is this\n")
    with pytest.raises(SettingsError, match=r"Line 3 .*what is this"):
        read(tmp_path)


@pytest.mark.parametrize("content", [None, b"PORT=\xff"])
def test_an_unreadable_settings_file_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "missing.env"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=re.escape(str(file))):
        load(file, environ={}, directory=tmp_path)


def test_an_error_shortens_a_long_value(tmp_path: Path) -> None:
    for value in ("9" * 5000, "[" * 20_000):
        with pytest.raises(SettingsError) as error:
            read(tmp_path, MCP_ACTORS_ICE_SERVERS=value)
        assert len(str(error.value)) < 500


def test_an_error_does_not_show_a_secret() -> None:
    with pytest.raises(SettingsError) as error:
        load(overrides={"secret_key": ["hidden"]}, environ={})
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    "environ",
    [
        {"REDIS_URL": "redis://:hidden@a,b"},
        {"REDIS_URL": "redis://user:hidden"},
        {"REDIS_URL": "redis://host/0?passwort=hidden"},
        {"REDIS_URL": "redis:/user:hidden@host"},
        {"REDIS_URL": "hidden"},
        {"REDIS_HOST": "redis://:hidden@host"},
        {"REDIS_HOST": "user:hidden@host"},
        {"REDIS_HOST": "a:b", "REDIS_PASSWORD": "hidden"},
    ],
)
def test_an_error_does_not_show_the_password_of_redis(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_\w+ is '.*Example: ") as error:
        read(tmp_path, **environ)
    assert "hidden" not in str(error.value)
