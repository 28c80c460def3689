"""The settings: their defaults, their bounds, and the settings files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from mcp_actors.environment import load
from mcp_actors.settings import DEFAULTS, FIELDS, GROUPS, PREFIX, Settings, SettingsError

ROOT = Path(__file__).parent.parent


def read(directory: Path, **environ: str) -> Settings:
    return load(environ=environ, directory=directory)


def test_without_any_setting_the_server_is_for_this_machine_on_port_8000(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings == Settings()
    assert (settings.server.host, settings.server.port, settings.server.debug) == ("localhost", 8000, False)
    assert settings.http.allowed_hosts == settings.http.cors_allowed_origins == ()


def test_a_name_belongs_to_one_group() -> None:
    assert len(FIELDS) == sum(len(group.__struct_fields__) for group in GROUPS.values())


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
        ("MCP_ACTORS_ACCESS_LOG", "sometimes", "neither true nor false"),
        ("MCP_ACTORS_ACCESS_LOG_RATE", "0", ">= 0.1"),
        ("MCP_ACTORS_PING_INTERVAL", "-1", ">= 0"),
        ("MCP_ACTORS_PING_INTERVAL", "nan", ">= 0"),
        ("MCP_ACTORS_PING_INTERVAL", "0.01", "0.1 is the minimum"),
        ("MCP_ACTORS_ICE_SERVERS", "stun:stun.example.com", "not JSON"),
        ("MCP_ACTORS_ICE_SERVERS", '["stun:stun.example.com"]', "Expected `object`"),
        ("MCP_ACTORS_ICE_SERVERS", '[{"url": "stun:x"}]', "has `urls`"),
        ("MCP_ACTORS_TURN_URLS", "turn.example.com:3478", "turn:host[:port]"),
        ("MCP_ACTORS_TURN_URLS", "turn:", "turn:host[:port]"),
        ("MCP_ACTORS_TURN_URLS", "turn://turn.example.com", "turn:host[:port]"),
        ("MCP_ACTORS_TURN_URLS", "turn:a.example?transport=tls", "turn:host[:port]"),
        ("MCP_ACTORS_TURN_URLS", "turn:a.example", "MCP_ACTORS_TURN_SECRET too"),
        ("MCP_ACTORS_TURN_TTL", "0", ">= 1"),
        ("MCP_ACTORS_TURN_TTL", "1.5", "Expected `int`"),
        ("CORS_ALLOWED_ORIGINS", "app.example.com", "scheme://host[:port]"),
        ("MCP_ACTORS_TRUSTED_PROXIES", "proxy.example.com", "IPv4 or IPv6 network"),
        ("MCP_ACTORS_TRUSTED_PROXIES", "10.0.0.1/8", "host bits set"),
        ("MCP_ACTORS_TRUSTED_PROXIES", "unix", "IPv4 or IPv6 network"),
        ("MCP_ACTORS_ADMIN_HOST", "unix:/run/admin.sock", "a name or an address"),
        ("MCP_ACTORS_HOST", "unix:", "the path of a socket follows unix:"),
        ("MCP_ACTORS_SOCKET_MODE", "rw-rw----", "matching regex"),
        ("MCP_ACTORS_SOCKET_MODE", "1777", "matching regex"),
        ("MCP_ACTORS_CONNECTION_JOIN_RATE", "-1", ">= 0"),
        ("MCP_ACTORS_ADDRESS_MESSAGE_RATE", "nan", ">= 0"),
        ("MCP_ACTORS_ADDRESS_MESSAGE_BURST", "0", ">= 1"),
        ("MCP_ACTORS_WEBHOOK_URL", "app.example.com", "begin with http"),
        ("MCP_ACTORS_WEBHOOK_URL", "http://localhost/", "set MCP_ACTORS_WEBHOOK_SECRET too"),
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
        ("MCP_ACTORS_ADMIN_PORT", "70000", "<= 65535"),
        ("MCP_ACTORS_ADMIN_PORT", "8000", "the port of clients, too"),
        ("MCP_ACTORS_AUTH", "maybe", "Invalid enum value"),
        ("MCP_ACTORS_AUTH_KEY_FILE", "/no/such.pem", "no such file"),
        ("MCP_ACTORS_AUTH_JWKS_URL", "http://login.example.com/keys", "it must begin with https://"),
        ("MCP_ACTORS_AUTH_JWKS_URL", "login.example.com/keys", "it must begin with https://"),
        ("MCP_ACTORS_AUTH_JWKS_URL", "https:///keys", "it must begin with https://"),
        ("MCP_ACTORS_AUTH_LEEWAY", "301", "<= 300"),
        ("MCP_ACTORS_AUTH_TIMEOUT", "0", "> 0"),
        ("MCP_ACTORS_AUTH_NOTICE", "-1", ">= 0"),
        ("MCP_ACTORS_MAX_TOKEN_BYTES", "100", ">= 256"),
        ("MCP_ACTORS_AUTH_URL", "app.example/authorize", "http://"),
        ("MCP_ACTORS_AUTHORIZE_TIMEOUT", "0", "> 0"),
        ("MCP_ACTORS_MAX_AUTHORIZATIONS", "0", ">= 1"),
        ("MCP_ACTORS_TLS_CERT_FILE", "/no/such.pem", "no such file"),
        ("MCP_ACTORS_TLS_KEY_FILE", "/no/such.key", "no such file"),
        ("MCP_ACTORS_TLS_KEY_FILE", "/dev/../etc/hostname", "MCP_ACTORS_TLS_CERT_FILE too"),
        ("MCP_ACTORS_REDIS_CERT_FILE", "/no/such.pem", "no such file"),
        ("MCP_ACTORS_REDIS_KEY_FILE", "/dev/../etc/hostname", "MCP_ACTORS_REDIS_CERT_FILE too"),
        ("MCP_ACTORS_MAX_URL_BYTES", "63", ">= 64"),
        ("MCP_ACTORS_MAX_HEADERS", "15", ">= 16"),
        ("MCP_ACTORS_SERVER_BANNER", "Apache", "neither true nor false"),
        ("MCP_ACTORS_PROCESSES", "2", "set REDIS_URL"),
    ],
)
def test_an_error_names_the_setting_the_value_the_problem_and_an_example(
    tmp_path: Path, name: str, value: str, problem: str
) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, **{name: value})
    text = str(error.value)
    assert text.startswith(f"{name} is ")
    assert value[1:-1] in text.replace("'", '"')
    assert problem in text
    assert re.search(r"Example: \S", text)


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
def test_redis_is_given_as_a_url_or_in_parts(tmp_path: Path, environ: dict[str, str], url: str) -> None:
    assert read(tmp_path, **environ).redis.broker_url == url


def test_turn_servers_have_urls_and_one_or_two_secrets(tmp_path: Path) -> None:
    urls = "turn:turn.example.com:3478,turns:[2001:db8::1]:443?transport=tcp, turn:10.0.0.1"
    turn = load(overrides={"turn_urls": urls, "turn_secret": "new, old"}, environ={}, directory=tmp_path).turn
    assert turn.urls == ("turn:turn.example.com:3478", "turns:[2001:db8::1]:443?transport=tcp", "turn:10.0.0.1")
    assert turn.secret == ("new", "old")


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ("one,two,three", "length <= 2"),
        ("a b", "without spaces"),
        ("é", "ASCII"),
        ("alone", "MCP_ACTORS_TURN_URLS too"),
    ],
)
def test_a_wrong_secret_of_turn_servers_is_not_shown(tmp_path: Path, secrets: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=r"^MCP_ACTORS_TURN_SECRET is \*\*\*, which is not valid: ") as error:
        read(tmp_path, MCP_ACTORS_TURN_SECRET=secrets)
    assert problem in str(error.value)
    assert secrets not in str(error.value)


def test_several_processes_need_a_redis(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--processes is '4', .*set REDIS_URL too, such as redis://"):
        load(overrides={"processes": "4"}, environ={}, directory=tmp_path)
    environ = {"REDIS_HOST": "localhost"}
    assert load(overrides={"processes": "4"}, environ=environ, directory=tmp_path).server.processes == 4


@pytest.mark.parametrize("profile", sorted((ROOT / "settings").glob("*.env")), ids=lambda path: path.name)
def test_every_settings_file_loads_and_comments_each_of_its_lines(profile: Path, tmp_path: Path) -> None:
    assert load(profile, environ={}, directory=tmp_path).obsolete == ()
    commented = False
    for line in profile.read_text().splitlines():
        if line.startswith(PREFIX):
            assert commented, f"{line} has no comment above it"
        commented = bool(line) and (line.startswith("#") or commented)


def test_the_development_file_shows_every_setting_at_its_default(tmp_path: Path) -> None:
    profile = ROOT / "settings" / "development.env"
    assert set(dotenv_values(profile)) == {PREFIX + name.upper() for name in DEFAULTS}
    loaded = load(profile, environ={}, directory=tmp_path)
    different = {"MCP_ACTORS_SECRET_KEY": "development-only", "MCP_ACTORS_DEBUG": "True"}
    assert loaded == load(environ=different, directory=tmp_path)


def test_the_keys_of_tokens_are_in_a_file_or_at_a_url(tmp_path: Path) -> None:
    url = "http://localhost:8080/realms/calls/protocol/openid-connect/certs"
    assert load(overrides={"auth_jwks_url": url}, environ={}, directory=tmp_path).auth.jwks_url == url
    with pytest.raises(SettingsError, match="set only one of them"):
        load(overrides={"auth_jwks_url": url, "auth_key_file": __file__}, environ={}, directory=tmp_path)
