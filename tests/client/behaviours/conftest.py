"""Each behaviour is a test with each client."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.behaviours.driver import Client
from tests.client.behaviours.javascript_driver import JavaScriptDriver
from tests.client.behaviours.python_driver import PythonDriver
from tests.support import js_client
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

    from tests.support.server import Server

NUMBERS = count()


@pytest.fixture(params=["python", "javascript"])
def driver(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[PythonDriver | JavaScriptDriver]:
    """One of the clients."""
    if request.param == "javascript":
        js_client.require_tools()
    driver = PythonDriver() if request.param == "python" else JavaScriptDriver(str(js_client.node()))
    yield driver
    io_loop.run_sync(driver.close)


class Connects:
    """Makes connections, to a server or to the end of a path."""

    def __init__(self, driver: PythonDriver | JavaScriptDriver) -> None:
        self.driver = driver

    async def peer(self, to: Server | NetworkPath | str, **options: Any) -> Client:
        """Connect to /ws/signaling/. Raises `Refused`."""
        return await self._connect("connect", to, options)

    async def user(self, to: Server | NetworkPath | str, **options: Any) -> Client:
        """Connect to /ws/mcp/. Raises `Refused`."""
        return await self._connect("connect-user", to, options)

    async def _connect(self, command: str, to: Server | NetworkPath | str, options: dict[str, Any]) -> Client:
        client = Client(self.driver, f"client{next(NUMBERS)}")
        await self.driver.call(command, client=client.name, url=_url(to), **options)
        return client


def _url(to: Server | NetworkPath | str) -> str:
    if isinstance(to, NetworkPath):
        return f"ws://127.0.0.1:{to.port}"
    return to if isinstance(to, str) else to.url("")


@pytest.fixture
def connect(driver: PythonDriver | JavaScriptDriver) -> Connects:
    return Connects(driver)
