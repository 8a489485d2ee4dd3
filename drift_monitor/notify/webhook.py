"""The webhook receiver: version 4 of Alertmanager's body, signed, in one POST.

Headers follow Standard Webhooks: `webhook-id` (our notification id, the same at every try), `webhook-timestamp`
(seconds) and, where a secret is set, `webhook-signature: v1,` + base64 of HMAC-SHA256 over `id.timestamp.body`.
`Idempotency-Key` repeats the id.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receivers import WebhookConfig
from drift_monitor.notify.http import Poster
from drift_monitor.notify.message import version_4
from drift_monitor.notify.outbound import Resolver

_SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks a base64 secret


class WebhookSender:
    """Posts notifications to one URL."""

    def __init__(self, config: WebhookConfig, outbound: OutboundConfig, resolver: Resolver | None = None) -> None:
        self._poster = Poster(config.url.get_secret_value(), config.timeout, outbound, resolver)
        self._key = None if config.secret is None else signing_key(config.secret.get_secret_value())

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Post once. Blocks up to the deadline; call from a thread without a running event loop."""
        content = self._poster.encode(version_4(body))
        timestamp = str(int(at.timestamp()))
        headers = {
            "Idempotency-Key": notification_id,
            "webhook-id": notification_id,
            "webhook-timestamp": timestamp,
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, notification_id, timestamp, content)
        self._poster.post_bytes(content, headers, at)


def signing_key(secret: str) -> bytes:
    """The key of a secret: base64 after `whsec_`, as Standard Webhooks writes it, else the text itself."""
    if secret.startswith(_SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def signature(key: bytes, notification_id: str, timestamp: str, content: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."""
    signed = f"{notification_id}.{timestamp}.".encode() + content
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
