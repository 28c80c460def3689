"""The form of secrets of webhooks."""

from __future__ import annotations

import pytest

from mcp_actors.webhook_secret import decode_secret


def test_the_bytes_of_a_secret_follow_its_prefix() -> None:
    assert decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")[:3] == b"1\xf2\x90"


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
        ("whsec_not base64", "not base64"),
        ("whsec_AAAA", "has 3 bytes"),
        ("whsec_" + "A" * 100, "has 75 bytes"),
    ],
)
def test_a_secret_that_receivers_could_not_use_is_refused(secret: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_secret(secret)
