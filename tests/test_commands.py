"""`mcp-actors token` and `mcp-actors secret`, as a person uses them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jwt
import pytest

from mcp_actors import secret
from tests.support.client import Client
from tests.support.server import Process
from tests.test_tokens import PRIVATE, private_pem, public_pem, write

if TYPE_CHECKING:
    from pathlib import Path

SECRET = secret.make()


def token(directory: Path, *arguments: str, **environ: str) -> str:
    status, out, err = Process(directory, "token", *arguments, **({"MCP_ACTORS_SECRET_KEY": SECRET} | environ)).finish()
    assert (status, err) == (0, "")
    return out.strip()


def test_a_token_says_what_was_asked_for(tmp_path: Path) -> None:
    claims = jwt.decode(token(tmp_path, "--sub", "alice", "--room", "team-*", "--ttl", "1h"), SECRET, ["HS256"])
    assert abs(claims.pop("iat") - time.time()) < 10
    assert abs(claims.pop("exp") - time.time() - 3600) < 10
    assert claims == {"sub": "alice", "rooms": ["team-*"], "can": ["message", "signal"]}


def test_a_token_may_name_several_rooms_and_other_permissions(tmp_path: Path) -> None:
    more = ("--room", "a", "--room", "b", "--ttl", "30s", "--can", "signal, moderate")
    claims = jwt.decode(token(tmp_path, "--sub", "é b", *more), SECRET, ["HS256"])
    assert (claims["sub"], claims["rooms"], claims["can"]) == ("é b", ["a", "b"], ["signal", "moderate"])
    assert claims["exp"] - claims["iat"] == 30


def test_a_token_is_for_the_audience_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "my.env").write_text("MCP_ACTORS_AUTH_AUDIENCE=calls\nMCP_ACTORS_AUTH_ISSUER=us\n")
    found = token(tmp_path, "--sub", "alice", "--settings", "my.env")
    claims = jwt.decode(found, SECRET, ["HS256"], audience="calls", issuer="us")
    assert "rooms" not in claims


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_a_token_signed_with_a_private_key_opens_a_server_that_has_the_public_one(
    tmp_path: Path, algorithm: str
) -> None:
    write(tmp_path / "private.pem", private_pem(PRIVATE[algorithm]))
    write(tmp_path / "public.pem", public_pem(PRIVATE[algorithm]))
    environ = {"MCP_ACTORS_AUTH": "required", "MCP_ACTORS_AUTH_KEY_FILE": "public.pem", "MCP_ACTORS_SECRET_KEY": SECRET}
    found = token(tmp_path, "--sub", "alice", "--key", "private.pem", **environ)
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
        (["--sub", "a", "--ttl", "999d"], {}, "at most 366d"),
        (["--sub", "a", "--can", "fly"], {}, "--can has 'fly'"),
        (["--sub", "a"], {"MCP_ACTORS_SECRET_KEY": ""}, "mcp-actors secret"),
        (["--sub", "a", "--key", "nowhere.pem"], {}, "nowhere.pem"),
        (["--sub", "a", "--key", "empty"], {}, "no private key as PEM"),
        (["--sub", "a"], {"MCP_ACTORS_AUTH_KEY_FILE": "empty"}, "name its private key with --key"),
        ([], {}, "--sub"),
    ],
)
def test_what_is_wrong_with_a_request_for_a_token_is_named(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    (tmp_path / "empty").touch()
    environ = {"MCP_ACTORS_SECRET_KEY": SECRET} | environ
    status, out, err = Process(tmp_path, "token", *arguments, **environ).finish()
    assert (status, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
    assert SECRET not in err


def test_a_key_file_that_will_not_do_stops_the_server_with_why(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("{}")
    environ = {"MCP_ACTORS_AUTH": "required", "MCP_ACTORS_AUTH_KEY_FILE": "keys", "MCP_ACTORS_SECRET_KEY": SECRET}
    status, _, err = Process(tmp_path, "serve", "--port", "0", **environ).finish()
    assert status == 1
    assert "MCP_ACTORS_AUTH_KEY_FILE is 'keys', and it is not a JWKS" in err
    environ["MCP_ACTORS_AUTH_KEY_FILE"] = "nowhere"
    status, _, err = Process(tmp_path, "serve", "--port", "0", **environ).finish()
    assert status == 2
    assert "there is no such file" in err


def test_a_secret_is_printed_alone(tmp_path: Path) -> None:
    status, out, err = Process(tmp_path, "secret").finish()
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert len(out.strip()) >= secret.MIN_BYTES
