from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bench.engine import AOF_ALWAYS, Engine, EngineError, Flavor, engines, missing
from tests.support.loop import DEADLINE
from tests.support.server import END_DEADLINE

if TYPE_CHECKING:
    from pathlib import Path


def client(engine: Engine) -> Any:
    return redis.Redis(port=engine.port, socket_timeout=DEADLINE, decode_responses=True)


@pytest.fixture(params=["valkey", "redis"])
def flavor(request: pytest.FixtureRequest) -> Flavor:
    wanted: Flavor = request.param
    if (reason := missing(wanted)) is not None:
        pytest.skip(reason)
    return wanted


def test_valkey_is_available() -> None:
    assert "valkey" in engines()


def test_an_engine_answers_at_its_url(flavor: Flavor) -> None:
    with Engine(flavor) as engine:
        assert engine.url == f"redis://127.0.0.1:{engine.port}"
        with redis.Redis.from_url(engine.url) as connected:
            assert connected.ping()
        os.kill(engine.pid, 0)


def test_without_persistence_a_killed_engine_restarts_empty(flavor: Flavor) -> None:
    with Engine(flavor) as engine:
        client(engine).set("key", "value")
        before, port = engine.pid, engine.port
        engine.kill()
        engine.start()
        assert (engine.port, client(engine).get("key")) == (port, None)
        assert engine.pid != before


def test_with_an_append_only_file_it_restarts_with_its_data(flavor: Flavor) -> None:
    with Engine(flavor, options=AOF_ALWAYS) as engine:
        client(engine).set("key", "value")
        engine.kill()
        engine.start()
        assert client(engine).get("key") == "value"


def test_a_paused_engine_answers_when_it_is_resumed() -> None:
    with Engine() as engine:
        engine.pause()
        with pytest.raises(redis.TimeoutError):
            redis.Redis(port=engine.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)).ping()
        engine.resume()
        assert client(engine).ping()


def test_a_paused_engine_can_be_stopped() -> None:
    with Engine() as engine:
        engine.pause()
        engine.stop()
        assert not engine.running


def test_its_directory_is_removed_on_close() -> None:
    with Engine() as engine:
        assert (engine.directory / "log").exists()
    assert not engine.directory.exists()


def test_a_given_directory_is_kept(tmp_path: Path) -> None:
    with Engine(directory=tmp_path):
        pass
    assert (tmp_path / "log").exists()


def test_the_error_of_an_engine_that_does_not_start_holds_its_log() -> None:
    with pytest.raises(EngineError, match="ended instead of starting"), Engine(options=["--no-such-option", "1"]):
        pass


def test_an_engine_ends_with_a_program_that_does_not_close_it() -> None:
    code = "from bench.engine import Engine\nengine = Engine()\nengine.start()\nprint(engine.pid)"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=END_DEADLINE)
    deadline = time.monotonic() + END_DEADLINE
    while _lives(int(said.stdout)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(int(said.stdout))


def test_an_engine_ends_with_a_program_that_is_killed() -> None:
    code = "from bench.engine import Engine\nengine = Engine()\nengine.start()\nprint(engine.pid, flush=True)\ninput()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert _lives(pid)
        program.kill()
    deadline = time.monotonic() + END_DEADLINE
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
