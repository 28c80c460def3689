"""Posting webhooks over real HTTP."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.tornado.webhook_client import MAX_ANSWER_BYTES, WebhookClient, reporting
from mcp_actors.settings import WebhookSettings
from mcp_actors.webhooks.signature import Signer
from tests.support.loop import until
from tests.support.receiver import SECRET, Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp_actors.webhooks.deliverer import Answer

BODY = b'{"type": "room-opened", "data": {"room": "r"}}'


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        await receiver.stop()


async def post(receiver: Receiver, patience: float = 5.0) -> Answer:
    client = WebhookClient(receiver.url, patience, 2)
    try:
        return await client(Signer((SECRET,)).headers("id", int(time.time()), BODY), BODY)
    finally:
        client.close()


@pytest.mark.parametrize("status", [200, 204, 302, 404, 410, 500])
async def test_the_status_is_the_answer_and_redirects_are_not_followed(status: int) -> None:
    async with receiving() as receiver:
        receiver.answer = lambda _one: status
        receiver.headers = {"Location": receiver.url}
        answer = await post(receiver)
        assert (answer.status, len(receiver.arrived)) == (status, 1)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), ("-1", 0.0)])
async def test_a_receiver_may_say_when_to_try_again(header: str, seconds: float) -> None:
    async with receiving() as receiver:
        receiver.answer, receiver.headers = lambda _one: 503, {"Retry-After": header}
        assert (await post(receiver)).retry_after == seconds


async def test_a_receiver_that_is_not_there_is_no_answer() -> None:
    async with receiving() as receiver:
        await receiver.stop()
        answer = await post(receiver)
        assert answer.status == 0
        assert "refused" in answer.problem
        receiver.restart()


async def test_a_receiver_that_takes_too_long_is_no_answer() -> None:
    async with receiving() as receiver:
        receiver.hold.clear()
        answer = await post(receiver, patience=0.1)
        assert answer.status == 0
        assert "imeout" in answer.problem
        await until(lambda: receiver.arrived, "the request")


async def test_an_answer_of_any_length_counts_up_to_a_bound_and_is_not_kept() -> None:
    async with receiving() as receiver:
        receiver.answer, receiver.body = lambda _one: 200, b"x" * MAX_ANSWER_BYTES
        assert (await post(receiver)).status == 200
        receiver.body += b"x"
        assert (await post(receiver)).status == 0


def test_without_a_url_nothing_is_posted() -> None:
    assert reporting(WebhookSettings(), 1.0) is None
