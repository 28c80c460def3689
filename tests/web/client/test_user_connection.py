"""A user in Node, whose connection is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.client.behaviours.driver import Client
from tests.client.behaviours.javascript_driver import JavaScriptDriver
from tests.support import js_client
from tests.support.tokens import REQUIRED, token
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

    from tests.support.server import Server


@pytest.fixture
def driver(io_loop: IOLoop) -> Iterator[JavaScriptDriver]:
    js_client.require_tools()
    driver = JavaScriptDriver(str(js_client.node()))
    yield driver
    io_loop.run_sync(driver.close)


@pytest.fixture
def path(server: Server) -> Iterator[NetworkPath]:
    path = NetworkPath(server.port)
    yield path
    path.cut()


async def user(driver: JavaScriptDriver, port: int, name: str, **options: object) -> Client:
    client = Client(driver, name)
    await driver.call("connect-user", client=name, url=f"http://127.0.0.1:{port}", **options)
    return client


async def test_all_rooms_go_on_and_messages_that_were_missed_come_once(
    server: Server, path: NetworkPath, driver: JavaScriptDriver
) -> None:
    ada = await user(driver, path.port, "ada", userId="ada")
    grace = await user(driver, server.port, "grace", userId="grace")
    rooms = [(await ada.join(name), await grace.join(name)) for name in ("r", "s")]
    for adas, _ in rooms:
        await adas.hear("user-joined")
    path.cut()
    await ada.until("reconnecting")
    for _, graces in rooms:
        await graces.call("send", value=graces.name)
    path.mend()
    await ada.reconnect()
    for adas, graces in rooms:
        assert [message["content"] for message in await adas.hear("message")] == [graces.name]
        await adas.call("update", value={"here": True})
        assert [one["metadata"] for one in await graces.hear("user-updated")] == [{"here": True}]
        assert (await graces.view())["users"] == ["ada", "grace"]


@pytest.mark.settings(resume_window=0)
async def test_a_user_whose_session_is_over_enters_all_rooms_again(path: NetworkPath, driver: JavaScriptDriver) -> None:
    ada = await user(driver, path.port, "ada", userId="ada")
    rooms = [await ada.join(name) for name in ("r", "s")]
    path.cut()
    await ada.until("reconnecting")
    path.mend()
    await ada.reconnect()
    for room in rooms:
        assert [rejoined["resumed"] for rejoined in await room.hear("rejoined")] == [False]
        assert (await room.view())["users"] == ["ada"]
    await rooms[0].call("send", value="still here")


@pytest.mark.settings(**REQUIRED)
async def test_the_token_says_who_a_user_is(server: Server, driver: JavaScriptDriver) -> None:
    ada = await user(driver, server.port, "ada", tokens=[token("Ada")])
    assert (await (await ada.join("r")).view())["users"] == ["Ada"]
