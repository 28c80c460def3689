"""The signature of a webhook, as the convention Standard Webhooks has it (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hmac

from mcp_actors.webhook_secret import decode_secret


class Signer:
    """Signs webhooks with one secret, or with several while receivers change from one to the other."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = [decode_secret(secret) for secret in secrets]

    def headers(self, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the headers of a webhook that is sent at a time, in seconds since 1970."""
        content = f"{event_id}.{timestamp}.".encode() + body
        digests = [base64.b64encode(hmac.digest(secret, content, "sha256")).decode() for secret in self._secrets]
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{digest}" for digest in digests),
        }
