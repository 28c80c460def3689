"""The server inside applications: FastAPI, Starlette, an ASGI application that cannot mount, and Tornado."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from mcp_actors.settings import SettingsError
from tests.support.asgi import Uvicorn, signaling_server
from tests.support.mounted import assert_serves, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from mcp_actors.signaling_server import SignalingServer
    from tests.conftest import ExpectedLogs


async def hello(_request: Request | None = None) -> PlainTextResponse:
    """A page of the application."""
    return PlainTextResponse("hello")


def in_fastapi(signaling: SignalingServer, **options: Any) -> Uvicorn:
    """FastAPI with the server below /signal and a page of its own."""
    application = FastAPI(lifespan=signaling.lifespan)
    application.add_api_route("/hello", hello)
    application.mount("/signal", signaling.asgi())
    serving = Uvicorn(application, **options)
    serving.prefix = "/signal"
    return serving


def in_starlette(signaling: SignalingServer, **options: Any) -> Uvicorn:
    """Starlette with the server below a path of two parts."""
    routes = [Route("/hello", hello), Mount("/team/signal", signaling.asgi())]
    serving = Uvicorn(Starlette(routes=routes, lifespan=signaling.lifespan), **options)
    serving.prefix = "/team/signal"
    return serving


def beside(signaling: SignalingServer, **options: Any) -> Uvicorn:
    """An application that knows neither lifespans nor mounting."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await (await hello())(scope, receive, send)

    serving = Uvicorn(signaling.beside(application, "/signal"), **options)
    serving.prefix = "/signal"
    return serving


HOSTS = [in_fastapi, in_starlette, beside]


@pytest.mark.parametrize("host", HOSTS)
async def test_everything_is_served_below_the_prefix_and_other_paths_are_the_applications(
    host: Any, tmp_path: Path
) -> None:
    serving: Uvicorn = host(signaling_server(tmp_path))
    await serving.start()
    await assert_serves(serving)
    serving.prefix, prefix = "", serving.prefix
    assert await fetch(serving.url("/hello", "http")) == (200, b"hello")
    assert (await fetch(serving.url(prefix, "http")))[0] in (307, 308)
    await serving.stop()


@pytest.mark.parametrize("host", HOSTS)
async def test_a_proxy_may_strip_a_prefix_that_the_application_is_told_of(host: Any, tmp_path: Path) -> None:
    serving: Uvicorn = host(signaling_server(tmp_path), root_path="/portal")
    await serving.start()
    await assert_serves(serving)
    await serving.stop()


async def test_it_can_be_started_again(tmp_path: Path) -> None:
    signaling = signaling_server(tmp_path)
    for _ in range(2):
        serving = in_fastapi(signaling)
        await serving.start()
        await assert_serves(serving)
        await serving.stop()


async def test_it_is_started_once_at_a_time(tmp_path: Path) -> None:
    async with signaling_server(tmp_path) as signaling:
        with pytest.raises(RuntimeError, match="is started already"):
            await signaling.start()


async def test_stopping_twice_does_no_harm(tmp_path: Path) -> None:
    signaling = signaling_server(tmp_path)
    await signaling.stop()
    async with signaling:
        pass
    await signaling.stop()


async def test_an_application_that_forgets_to_start_it_is_told_how(tmp_path: Path, expected_logs: ExpectedLogs) -> None:
    expected_logs("uvicorn.error", "Exception in ASGI application")
    signaling = signaling_server(tmp_path)
    application = FastAPI()
    application.mount("/signal", signaling.asgi())
    serving = Uvicorn(application)
    await serving.start()
    assert (await fetch(serving.url("/signal/", "http")))[0] == 500
    await serving.stop()
    with pytest.raises(RuntimeError, match=r"lifespan=signaling\.lifespan"):
        assert signaling.app


async def test_it_changes_nothing_of_the_process(tmp_path: Path) -> None:
    def state() -> tuple[Any, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return (*handlers, gc.get_threshold(), gc.get_freeze_count() == frozen)

    frozen = gc.get_freeze_count()
    before = state()
    async with signaling_server(tmp_path):
        assert state() == before
    assert state() == before


def test_a_server_for_other_machines_needs_a_secret(tmp_path: Path) -> None:
    async def start() -> None:
        async with signaling_server(tmp_path, host="0.0.0.0"):  # noqa: S104
            pass

    with pytest.raises(SettingsError, match="MCP_ACTORS_SECRET_KEY"):
        asyncio.run(start())
