"""With which secrets a server starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcp_actors import secret
from mcp_actors.config import SettingsError, load
from tests.support.server import Process
from tests.test_config import ORIGINAL

if TYPE_CHECKING:
    from mcp_actors.config import Settings

GOOD = secret.make()
REDIS = {"REDIS_URL": "redis://localhost"}
OPEN = {"MCP_ACTORS_HOST": "0.0.0.0"}  # noqa: S104 - read, not bound
REQUIRED = {"MCP_ACTORS_AUTH": "required"}


def read(directory: Path, environ: dict[str, str]) -> Settings:
    return load(environ=environ, directory=directory)


def test_a_secret_that_is_made_will_do_and_is_another_each_time(tmp_path: Path) -> None:
    assert secret.make() != secret.make()
    for environ in ({}, REDIS, OPEN, REQUIRED, REDIS | OPEN | REQUIRED):
        secret.check(read(tmp_path, environ | {"MCP_ACTORS_SECRET_KEY": GOOD}))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.8.8.8"])
def test_on_this_machine_alone_without_redis_and_tokens_none_is_needed(tmp_path: Path, host: str) -> None:
    secret.check(read(tmp_path, {"MCP_ACTORS_HOST": host}))


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        (REDIS, "share rooms"),
        ({"REDIS_HOST": "localhost"}, "share rooms"),
        (OPEN, "other machines can connect to 0.0.0.0"),
        ({"MCP_ACTORS_HOST": "signaling.example.com"}, "other machines"),
        ({"MCP_ACTORS_HOST": "::"}, "other machines"),
        (REQUIRED, "it signs tokens"),
        ({"MCP_ACTORS_AUTH": "optional"}, "it signs tokens"),
        (REQUIRED | {"DJANGO_DEBUG": "True"}, "it signs tokens"),
        (REQUIRED | {"MCP_ACTORS_AUTH_KEY_FILE": __file__}, "MCP_ACTORS_AUTH is required"),
    ],
)
def test_else_a_server_does_not_start_without_one(tmp_path: Path, environ: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY") as error:
        secret.check(read(tmp_path, environ))
    assert why in str(error.value)
    assert "mcp-actors secret" in str(error.value)


@pytest.mark.parametrize("more", [{}, REDIS, OPEN, REQUIRED])
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("tiny", "shorter than 32"),
        pytest.param(GOOD[:31], "shorter than 32", id="a good one, cut"),
        ("django-insecure-development-key-change-in-production", "others know"),
        pytest.param("django-insecure-" + GOOD, "others know", id="a good one that calls itself insecure"),
        ("a-string-secret-at-least-256-bits-long", "others know"),
        ("development-only-development-only", "others know"),
        ("CHANGE-ME-" * 4, "others know"),
        ("0123456789abcdef" * 2, "others know"),
        ("a" * 64, "others know"),
        ("abcabc" * 10, "others know"),
    ],
)
def test_a_short_or_well_known_one_is_refused_unless_debug_is_on(
    tmp_path: Path, bad: str, why: str, more: dict[str, str]
) -> None:
    environ = {"MCP_ACTORS_SECRET_KEY": bad} | more
    with pytest.raises(SettingsError) as error:
        secret.check(read(tmp_path, environ))
    assert why in str(error.value)
    assert bad not in str(error.value)
    secret.check(read(tmp_path, environ | {"MCP_ACTORS_DEBUG": "True"}))


def test_the_original_environment_file_starts_a_server(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ORIGINAL)
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        assert server.stop() == 0


def test_a_server_that_is_refused_says_why_and_exits_2(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ORIGINAL.replace("DEBUG=True", "DEBUG=False"))
    status, out, err = Process(tmp_path, "serve", "--port", "0").finish()
    assert (status, out) == (2, "")
    assert err.startswith("mcp-actors: MCP_ACTORS_SECRET_KEY (or DJANGO_SECRET_KEY) is one that others know")
    assert "django-insecure" not in err


def test_nothing_set_starts_a_server_that_knows_nothing_of_tokens(tmp_path: Path) -> None:
    script = "import sys, mcp_actors.__main__, mcp_actors.app; from mcp_actors.config import Settings\n"
    script += "mcp_actors.app.App(Settings()); sys.exit(any(n in sys.modules for n in ('jwt', 'cryptography')))"

    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parent.parent).returncode == 0
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        assert server.stop() == 0
