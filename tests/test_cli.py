"""The command line, as a person uses it: in an empty directory, and servers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import jwt
import pytest

from mcp_actors.auth import secret
from mcp_actors.cli import main
from tests.auth.test_tokens import PRIVATE, private_pem, public_pem, write
from tests.support.client import Client
from tests.support.server import FOREIGN, Process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[object, str, str]]

SECRET = secret.make()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit status, standard output, standard error."""

    def run_here(*arguments: str, **environ: str) -> tuple[object, str, str]:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        try:
            status: object = main(arguments)
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run_here


def test_help_explains_the_commands(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for word in ("serve", "--port 9000", "--settings", "MCP_ACTORS_", "PROTOCOL.md"):
        assert word in out
    status, out, _ = run("serve", "--help")
    assert status == 0
    assert "--host" in out


def test_serve_is_the_default_command_and_reads_the_environment(tmp_path: Path) -> None:
    with Process(tmp_path, PORT="0", MCP_ACTORS_HOST="127.0.0.1") as server:
        server.wait_until_serving()
        assert server.stop() == 0


def test_settings_come_from_the_working_directory_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=0\n")
    (tmp_path / "my.env").write_text("MCP_ACTORS_LOG_LEVEL=loud\n")
    with Process(tmp_path) as server:
        server.wait_until_serving()
        assert server.stop() == 0
    status, out, err = Process(tmp_path, "serve", "--settings", "my.env").finish()
    assert (status, out) == (2, "")
    assert err.startswith("mcp-actors: MCP_ACTORS_LOG_LEVEL is 'loud'")


def test_options_without_a_command_are_those_of_serve(tmp_path: Path) -> None:
    with Process(tmp_path, "--port", "0") as server:
        server.wait_until_serving()
        assert server.stop() == 0


def test_a_removed_setting_at_its_former_default_is_a_warning(tmp_path: Path) -> None:
    with Process(tmp_path, "--port", "0", MCP_ACTORS_FRAME_LOOP="fast") as server:
        server.wait_until_serving()
        server.process.send_signal(signal.SIGTERM)
        status, _, err = server.finish()
    assert status == 0
    [warning] = [line for line in map(json.loads, err.splitlines()) if line["level"] == "warning"]
    assert warning["event"] == "setting no longer exists and has no effect"
    assert warning["setting"] == "MCP_ACTORS_FRAME_LOOP"


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["serve", "--port", "eighty"], {}, "--port is 'eighty'"),
        (["serve", "--port", "99999"], {}, "--port is '99999'"),
        (["serve", "--settings", "nowhere.env"], {}, "nowhere.env"),
        (["dance"], {}, "dance"),
        ([], {"MCP_ACTORS_PROT": "1"}, "Did you mean MCP_ACTORS_PORT?"),
        (["--processes", "2"], {}, "set REDIS_URL"),
        ([], {"REDIS_URL": "localhost"}, "starts with redis://"),
        ([], {"MCP_ACTORS_COMPRESSION": "True"}, "this setting was removed"),
    ],
)
def test_a_wrong_setting_or_argument_exits_2_with_an_explanation(
    run: Run, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    status, out, err = run(*arguments, **environ)
    assert (status, out) == (2, "")
    assert words in err


async def test_the_option_echo_serves_echo(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0", "--echo") as server:
        server.wait_until_serving()
        client = await Client.open(f"ws://localhost:{server.port}/echo")
        await client.send("back")
        assert await client.hear_text() == "back"
        await client.end()
        assert server.stop() == 0


@pytest.fixture
def token(run: Run) -> Callable[..., str]:
    """Sign a token."""

    def sign(*arguments: str, **environ: str) -> str:
        status, out, err = run("token", *arguments, **({"MCP_ACTORS_SECRET_KEY": SECRET} | environ))
        assert (status, err) == (0, "")
        return out.strip()

    return sign


def test_a_token_has_the_requested_claims(token: Callable[..., str]) -> None:
    began = int(time.time())
    claims = jwt.decode(token("--sub", "alice", "--room", "team-*", "--ttl", "1h"), SECRET, ["HS256"])
    assert began <= claims.pop("iat") <= time.time()
    assert len(claims.pop("jti")) == 32
    assert began <= claims.pop("exp") - 3600 <= time.time()
    assert claims == {"sub": "alice", "rooms": ["team-*"], "can": ["message", "signal"]}


def test_a_token_may_have_several_rooms_and_other_permissions(token: Callable[..., str]) -> None:
    more = ("--room", "a", "--room", "b", "--ttl", "30s", "--can", "signal, moderate")
    claims = jwt.decode(token("--sub", "é b", *more), SECRET, ["HS256"])
    assert (claims["sub"], claims["rooms"], claims["can"]) == ("é b", ["a", "b"], ["signal", "moderate"])
    assert claims["exp"] - claims["iat"] == 30


def test_a_token_has_the_audience_and_issuer_of_the_server(token: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "my.env").write_text("MCP_ACTORS_AUTH_AUDIENCE=calls\nMCP_ACTORS_AUTH_ISSUER=us\n")
    found = token("--sub", "alice", "--settings", "my.env")
    claims = jwt.decode(found, SECRET, ["HS256"], audience="calls", issuer="us")
    assert "rooms" not in claims


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_a_token_signed_with_a_private_key_is_accepted_by_a_server_with_the_public_key(
    token: Callable[..., str], tmp_path: Path, algorithm: str
) -> None:
    write(tmp_path / "private.pem", private_pem(PRIVATE[algorithm]))
    write(tmp_path / "public.pem", public_pem(PRIVATE[algorithm]))
    environ = {"MCP_ACTORS_AUTH": "required", "MCP_ACTORS_AUTH_KEY_FILE": "public.pem", "MCP_ACTORS_SECRET_KEY": SECRET}
    found = token("--sub", "alice", "--key", "private.pem", **environ)
    with Process(tmp_path, "serve", "--port", "0", **environ) as server:
        server.wait_until_serving()
        client = await Client.open(f"ws://localhost:{server.port}/ws/signaling/", Authorization=f"Bearer {found}")
        await client.expect("authenticated", sub="alice")
        await client.end()
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["--sub", ""], {}, "--sub must not be empty"),
        (["--sub", "a", "--ttl", "soon"], {}, "--ttl is 'soon'"),
        (["--sub", "a", "--ttl", "0h"], {}, "--ttl is '0h'"),
        (["--sub", "a", "--ttl", "999d"], {}, "the maximum is 366d"),
        (["--sub", "a", "--can", "fly"], {}, "--can has 'fly'"),
        (["--sub", "a"], {"MCP_ACTORS_SECRET_KEY": ""}, "mcp-actors secret"),
        (["--sub", "a", "--key", "nowhere.pem"], {}, "nowhere.pem"),
        (["--sub", "a", "--key", "empty"], {}, "not a private key in PEM format"),
        (["--sub", "a"], {"MCP_ACTORS_AUTH_KEY_FILE": "empty"}, "name its private key with --key"),
        (
            ["--sub", "a"],
            {"MCP_ACTORS_AUTH_JWKS_URL": "https://login.example.com/keys"},
            "name a private key with --key",
        ),
        ([], {}, "--sub"),
    ],
)
def test_a_wrong_argument_of_token_exits_2_with_an_explanation(
    run: Run,
    tmp_path: Path,
    arguments: list[str],
    environ: dict[str, str],
    words: str,
) -> None:
    (tmp_path / "empty").touch()
    status, out, err = run("token", *arguments, **({"MCP_ACTORS_SECRET_KEY": SECRET} | environ))
    assert (status, out) == (2, "")
    assert words in err
    assert SECRET not in err


def test_a_refused_command_ends_its_process_with_an_explanation_and_no_traceback(tmp_path: Path) -> None:
    for arguments in (("serve", "--port", "eighty"), ("dance",), ("token", "--sub", "a", "--ttl", "soon")):
        status, out, err = Process(tmp_path, *arguments, MCP_ACTORS_SECRET_KEY=SECRET).finish()
        assert (status, out) == (2, "")
        assert arguments[-1] in err
        assert "Traceback" not in err


def test_a_server_with_an_unusable_key_file_does_not_start_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("{}")
    environ = {"MCP_ACTORS_AUTH": "required", "MCP_ACTORS_AUTH_KEY_FILE": "keys", "MCP_ACTORS_SECRET_KEY": SECRET}
    status, _, err = Process(tmp_path, "serve", "--port", "0", **environ).finish()
    assert status == 1
    assert "MCP_ACTORS_AUTH_KEY_FILE is 'keys', and it is not a JWKS" in err
    environ["MCP_ACTORS_AUTH_KEY_FILE"] = "nowhere"
    status, _, err = Process(tmp_path, "serve", "--port", "0", **environ).finish()
    assert status == 2
    assert "there is no such file" in err


def test_secret_prints_nothing_but_a_secret(tmp_path: Path) -> None:
    status, out, err = Process(tmp_path, "secret").finish()
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert len(out.strip()) >= secret.MIN_BYTES
