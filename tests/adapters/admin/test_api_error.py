"""Errors of the admin API."""

from __future__ import annotations

import json
from http import HTTPStatus

from mcp_actors.adapters.admin.api_error import CODES, error_response


def test_an_error_is_json_with_a_code_and_a_message() -> None:
    response = error_response(HTTPStatus.CONFLICT, "Full.", {"Retry-After": "1"})
    assert (response.status, response.headers["Retry-After"]) == (409, "1")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body) == {"error": {"code": "limit-reached", "message": "Full."}}


def test_each_status_has_a_code_of_its_own() -> None:
    assert len(set(CODES.values())) == len(CODES)
