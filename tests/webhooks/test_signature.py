"""Signatures of webhooks."""

from __future__ import annotations

from mcp_actors.webhooks.signature import Signer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of a published example
BODY = b'{"test": 2432232314}'


def test_the_example_of_the_convention_has_the_signature_that_it_names() -> None:
    headers = Signer((SECRET,)).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_with_two_secrets_there_are_two_signatures() -> None:
    other = "whsec_" + "A" * 32
    one, two = (Signer((each,)).headers("a", 1, BODY)["webhook-signature"] for each in (SECRET, other))
    assert Signer((SECRET, other)).headers("a", 1, BODY)["webhook-signature"] == f"{one} {two}"
