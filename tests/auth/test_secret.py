"""Which secrets a server accepts."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import jwt
import pytest

from mcp_actors.app import App
from mcp_actors.auth import secret
from mcp_actors.auth.tokens import mint, secret_key
from mcp_actors.environment import load
from mcp_actors.protocol.errors import Unauthorized
from mcp_actors.protocol.events import Kind
from mcp_actors.sessions.resume_tokens import ResumeToken, ResumeTokens
from mcp_actors.settings import SettingsError
from tests.support.server import Process
from tests.test_environment import ORIGINAL

if TYPE_CHECKING:
    from mcp_actors.sessions.ports import ClientConnection

GOOD = secret.make()
REDIS = {"REDIS_URL": "redis://localhost"}
OPEN = {"MCP_ACTORS_HOST": "0.0.0.0"}  # noqa: S104 - read, not bound
REQUIRED = {"MCP_ACTORS_AUTH": "required"}


def check(directory: Path, environ: dict[str, str]) -> None:
    settings = load(environ=environ, directory=directory)
    secret.check(settings, local=secret.is_for_this_machine(settings.server))


def test_a_generated_secret_is_accepted_and_differs_each_time(tmp_path: Path) -> None:
    assert secret.make() != secret.make()
    for environ in ({}, REDIS, OPEN, REQUIRED, REDIS | OPEN | REQUIRED):
        check(tmp_path, environ | {"MCP_ACTORS_SECRET_KEY": GOOD})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.8.8.8"])
def test_a_server_for_this_machine_without_redis_and_tokens_needs_no_secret(tmp_path: Path, host: str) -> None:
    check(tmp_path, {"MCP_ACTORS_HOST": host})
    check(tmp_path, {"MCP_ACTORS_ADMIN_HOST": host, "MCP_ACTORS_ADMIN_PORT": "9000"})
    check(tmp_path, {"MCP_ACTORS_ADMIN_HOST": "::"})  # no port for operators


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        (REDIS, "share rooms"),
        ({"REDIS_HOST": "localhost"}, "share rooms"),
        (OPEN, "other machines can connect to 0.0.0.0"),
        ({"MCP_ACTORS_HOST": "signaling.example.com"}, "other machines"),
        ({"MCP_ACTORS_HOST": "::"}, "other machines"),
        ({"MCP_ACTORS_ADMIN_PORT": "9000", "MCP_ACTORS_ADMIN_HOST": "::"}, "other machines can connect to ::"),
        (REQUIRED, "signs tokens with it"),
        ({"MCP_ACTORS_AUTH": "optional"}, "signs tokens with it"),
        (REQUIRED | {"DJANGO_DEBUG": "True"}, "signs tokens with it"),
        (REQUIRED | {"MCP_ACTORS_AUTH_KEY_FILE": __file__}, "MCP_ACTORS_AUTH is required"),
        (REQUIRED | {"MCP_ACTORS_AUTH_JWKS_URL": "https://login.example.com/keys"}, "MCP_ACTORS_AUTH is required"),
    ],
)
def test_any_other_server_needs_a_secret(tmp_path: Path, environ: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY") as error:
        check(tmp_path, environ)
    assert why in str(error.value)
    assert "mcp-actors secret" in str(error.value)


@pytest.mark.parametrize("more", [{}, REDIS, OPEN, REQUIRED])
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("tiny", "shorter than 32"),
        pytest.param(GOOD[:31], "shorter than 32", id="a good one, cut"),
        ("django-insecure-development-key-change-in-production", "known to others"),
        pytest.param("django-insecure-" + GOOD, "known to others", id="a good one that calls itself insecure"),
        ("a-string-secret-at-least-256-bits-long", "known to others"),
        ("development-only-development-only", "known to others"),
        ("CHANGE-ME-" * 4, "known to others"),
        ("0123456789abcdef" * 2, "known to others"),
        ("a" * 64, "known to others"),
        ("abcabc" * 10, "known to others"),
    ],
)
def test_a_short_or_well_known_secret_is_refused_unless_debug_is_on(
    tmp_path: Path, bad: str, why: str, more: dict[str, str]
) -> None:
    environ = {"MCP_ACTORS_SECRET_KEY": bad} | more
    with pytest.raises(SettingsError) as error:
        check(tmp_path, environ)
    assert why in str(error.value)
    assert bad not in str(error.value)
    check(tmp_path, environ | {"MCP_ACTORS_DEBUG": "True"})


@pytest.mark.parametrize(
    ("secrets", "why"),
    [(GOOD[:19], "shorter than 20"), (f"{GOOD},{'ab' * 20}", "known to others"), ("change-me" * 3, "known to others")],
    ids=["short", "repeated", "example"],
)
def test_a_secret_of_turn_servers_that_can_be_guessed_is_refused_unless_debug_is_on(
    tmp_path: Path, secrets: str, why: str
) -> None:
    environ = {"MCP_ACTORS_TURN_URLS": "turn:turn.example.com", "MCP_ACTORS_TURN_SECRET": secrets}
    with pytest.raises(SettingsError, match="MCP_ACTORS_TURN_SECRET") as error:
        check(tmp_path, environ)
    assert why in str(error.value)
    assert "static-auth-secret" in str(error.value)
    assert secrets not in str(error.value)
    check(tmp_path, environ | {"MCP_ACTORS_DEBUG": "True"})
    check(tmp_path, environ | {"MCP_ACTORS_TURN_SECRET": f"{GOOD[:20]}, {GOOD}"})


def test_the_original_environment_file_starts_a_server(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ORIGINAL)
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        assert server.stop() == 0


def test_a_server_with_a_refused_secret_says_why_and_exits_2(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ORIGINAL.replace("DEBUG=True", "DEBUG=False"))
    status, out, err = Process(tmp_path, "serve", "--port", "0").finish()
    assert (status, out) == (2, "")
    assert err.startswith("mcp-actors: MCP_ACTORS_SECRET_KEY (or DJANGO_SECRET_KEY) is known to others")
    assert "django-insecure" not in err


def test_a_server_without_authentication_does_not_import_cryptography() -> None:
    script = "import sys, mcp_actors.cli; from mcp_actors.app import App; from mcp_actors.settings import Settings\n"
    script += "App(Settings()); sys.exit(any(n in sys.modules for n in ('jwt', 'cryptography')))"
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parent.parent).returncode == 0


def test_each_purpose_has_a_key_of_its_own() -> None:
    made = secret.make().encode()
    keys = [
        secret.derive(made, "resume tokens"),
        secret.derive(made, "something else"),
        secret.derive(secret.make().encode(), "resume tokens"),
    ]
    assert len({*keys, made}) == 4
    assert all(len(key) == secret.MIN_BYTES for key in keys)
    assert secret.derive(made, "resume tokens") == keys[0]


def test_a_resume_token_and_an_access_token_are_not_signed_with_the_same_key(tmp_path: Path) -> None:
    made = secret.make()
    settings = load(overrides={"secret_key": made, "auth": "required"}, environ={}, directory=tmp_path)
    first, second = App(settings), App(settings)
    assert first.authentication is not None
    session = first.sessions.open(Kind.PEER, "", cast("ClientConnection", None))
    token = first.sessions.token(session)
    assert isinstance(token, str)
    of_others = [
        ResumeTokens(key).open(token) for key in (made.encode(), secret.derive(made.encode(), "resume tokens"))
    ]
    assert of_others == [None, ResumeToken(session.id, 1)]
    claims = {"sub": "ada", "exp": time.time() + 60}
    assert second.authentication is not None
    assert second.authentication.check(mint(secret_key(made), claims), None).sub == "ada"
    with pytest.raises(Unauthorized):
        second.authentication.check(jwt.encode(claims, secret.derive(made.encode(), "resume tokens")), None)
