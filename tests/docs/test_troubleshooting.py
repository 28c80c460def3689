"""docs/guides/troubleshooting.md has every code that a client may be told."""

from __future__ import annotations

import re

import pytest

from mcp_actors.protocol.errors import CloseCode, ErrorCode
from tests.docs.pages import DOCS

TEXT = (DOCS / "guides" / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(
    zip(re.findall(r"^## (.*)$", TEXT, re.MULTILINE), re.split(r"^## .*$", TEXT, flags=re.MULTILINE)[1:], strict=True)
)


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_is_explained(code: CloseCode) -> None:
    assert re.search(rf"^\| {code.value} \| `{code.reason}` \| .+ \| .+ \|$", SECTIONS["By close code"], re.MULTILINE)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_explained(code: ErrorCode) -> None:
    assert re.search(rf"^\| `{code.value}` \| .+ \| .+ \|$", SECTIONS["By error code"], re.MULTILINE)
