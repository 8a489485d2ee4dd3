"""What every kind of receiver offers: send one notification, or say why not."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol


class Sender(Protocol):
    """Sends notifications to one receiver."""

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send one notification at the moment `at`; returns once it is accepted, else raises DeliveryError."""
        ...
