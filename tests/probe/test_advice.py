"""What to change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcp_actors.client import SignalingError
from mcp_actors.client.errors import closed
from mcp_actors.probe import advice, ice_servers, reach, session
from mcp_actors.probe.advice import ELSE, TOKEN, advice_for
from mcp_actors.settings import DEFAULTS, PREFIX

ROOT = Path(advice.__file__).parents[2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 429, 502, 503])
def test_each_refusal_of_a_handshake_has_its_own_advice(status: int) -> None:
    assert advice_for(SignalingError("handshake-refused", "", details={"status": status})) != ELSE


def test_a_token_is_asked_for_where_one_is_needed() -> None:
    assert advice_for(closed(4502, "unauthorized")) == TOKEN
    assert advice_for(SignalingError("unauthorized", "")) == TOKEN


def test_an_error_without_advice_leads_to_the_log() -> None:
    for error in (SignalingError("internal", ""), closed(1011, ""), SignalingError("handshake-refused", "")):
        assert advice_for(error) == ELSE


@pytest.mark.parametrize("module", [advice, ice_servers, reach, session], ids=lambda module: module.__name__)
def test_advice_names_settings_and_pages_that_exist(module: object) -> None:
    text = Path(module.__file__).read_text()  # type: ignore[attr-defined]
    assert set(re.findall(rf"{PREFIX}([A-Z_]+)", text)) <= {name.upper() for name in DEFAULTS}
    assert all((ROOT / page).is_file() for page in re.findall(r"docs/[\w-]+\.md", text))
