"""Renewals before the end, measured in small parts of a second."""

from __future__ import annotations

import asyncio

import pytest

from mcp_actors.client import SignalingError, renewal
from mcp_actors.client.renewal import Renewal


async def test_it_renews_once_and_waits_for_the_next_start() -> None:
    renewed = asyncio.Event()

    async def renew() -> None:
        assert not renewed.is_set()
        renewed.set()

    renewing = Renewal(renew)
    renewing.start(0.01)
    assert renewing.running
    await renewed.wait()
    await asyncio.sleep(0)
    assert not renewing.running


async def test_it_tries_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "RETRY_DELAY", 0.01)
    attempts = asyncio.Queue[int]()

    async def renew() -> None:
        attempts.put_nowait(1)
        if attempts.qsize() < 3:
            raise SignalingError("rate-limited", "Too fast.", retryable=True)

    renewing = Renewal(renew)
    renewing.start(0)
    while attempts.qsize() < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert attempts.qsize() == 3
    assert not renewing.running


async def test_what_does_not_end_is_not_renewed_nor_what_is_stopped() -> None:
    async def renew() -> None:
        pytest.fail("it was renewed")

    renewing = Renewal(renew)
    renewing.start(None)
    assert not renewing.running
    renewing.start(3600)
    renewing.stop()
    await asyncio.sleep(0)
    assert not renewing.running
