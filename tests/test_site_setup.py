"""The endpoints and pages of a node: the terms that clients are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.environment import load
from mcp_actors.site_setup import terms

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("ping_interval", "resume_window", "told"),
    [(20, 30, 10.0), (5, 30, 5.0), (20, 10, 3.333), (20, 0, 20.0), (0, 30, None)],
)
def test_two_silent_intervals_leave_time_to_resume(
    tmp_path: Path, ping_interval: float, resume_window: float, told: float | None
) -> None:
    settings = load(
        overrides={"ping_interval": ping_interval, "resume_window": resume_window}, environ={}, directory=tmp_path
    )
    assert terms(settings).get("ping_interval") == told
