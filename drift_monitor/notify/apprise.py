"""Apprise: messages for people through whatever it knows, in plain text. Needs the extra `apprise`.

Apprise tells no failures apart but time-outs, has no ids and resolves nothing, so this is a convenience beside the
senders of our own. Each address is a target of its own; all are sent to at the same time, under one deadline. A try
that only some of them accepted is repeated for the others only, as long as this process remembers.

Apprise dials by itself: redirects are off, and a target whose host leads to an address that is never dialled is not
sent to, but between that look and the dialling a name may change. Its logger, and those of what it posts with, are
silent: they would quote addresses.
"""

import asyncio
import importlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from drift_monitor.config.outbound import ANYWHERE
from drift_monitor.config.receivers import AppriseConfig
from drift_monitor.errors import DeliveryError, DeliveryFailure
from drift_monitor.notify import wording
from drift_monitor.notify.outbound import addresses_of

_REMEMBERED = 1000  # notifications that some targets accepted and others did not
_LOOK_UP = 0.25  # of the deadline, to find where a host leads
_TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


class AppriseSender:
    """Sends notifications to a few addresses of Apprise; they are credentials."""

    def __init__(self, config: AppriseConfig) -> None:
        apprise = importlib.import_module("apprise")  # an extra: not installed where no receiver needs it
        for name in ("apprise", "requests", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        asset = apprise.AppriseAsset(http_redirects=False, storage_mode=apprise.PersistentStoreMode.MEMORY)
        self._targets = [apprise.Apprise(asset=asset) for _ in config.urls]
        for target, url in zip(self._targets, config.urls, strict=True):
            if not target.add(url.get_secret_value()):
                message = "apprise: an address is none that it knows"
                raise DeliveryError(message, retryable=False, reason=DeliveryFailure.INVALID)
        self._timed_out = apprise.AppriseResultStatus.TIMEOUT
        self._look_up_seconds = config.timeout.total_seconds() * _LOOK_UP
        self._send_seconds = config.timeout.total_seconds() - self._look_up_seconds
        self._accepted: OrderedDict[str, frozenset[int]] = OrderedDict()

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send to every target that has not accepted it yet; raises DeliveryError if one does not accept it now."""
        accepted = self._accepted.pop(notification_id, frozenset())
        waiting = [number for number in range(len(self._targets)) if number not in accepted]
        with ThreadPoolExecutor(len(waiting), thread_name_prefix="apprise") as pool:
            failures = list(pool.map(lambda number: self._send_to(self._targets[number], body), waiting))
        missing = {number: reason for number, reason in zip(waiting, failures, strict=True) if reason is not None}
        if not missing:
            return
        self._accepted[notification_id] = accepted | {number for number in waiting if number not in missing}
        while len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)
        names = ", ".join(f"{_scheme(self._targets[number])} ({reason})" for number, reason in sorted(missing.items()))
        message = f"apprise: {len(missing)} of {len(self._targets)} targets did not take it: {names}"
        raise DeliveryError(message, retryable=True, reason=next(iter(missing.values())))

    def _send_to(self, target: Any, body: Mapping[str, Any]) -> DeliveryFailure | None:
        """Why a target did not accept it, or None."""
        refused = asyncio.run(_refused(target, self._look_up_seconds))
        if refused is not None:
            return refused
        firing = [alert for alert in body["alerts"] if wording.is_firing(alert)]
        kind = _TYPES.get(wording.severity(max(firing, key=wording.rank)), "warning") if firing else "success"
        result = target.notify(
            title=wording.subject(body),
            body=wording.plain_text(body),
            notify_type=kind,
            body_format="text",
            timeout=self._send_seconds,
        )
        if result:
            return None
        return DeliveryFailure.TIMEOUT if result.status == self._timed_out else DeliveryFailure.SERVER_ERROR


def _scheme(target: Any) -> str:
    """The kind of service: all that may be shown of an address."""
    return str(target[0].protocol if isinstance(target[0].protocol, str) else type(target[0]).__name__)


async def _refused(target: Any, seconds: float) -> DeliveryFailure | None:
    """Whether a target's host leads to an address that is never dialled; many services have a host of their own."""
    host = getattr(target[0], "host", None)
    if not host:
        return None
    try:
        async with asyncio.timeout(seconds):
            await addresses_of(str(host), getattr(target[0], "port", None) or 443, "apprise", ANYWHERE)
    except TimeoutError:
        return DeliveryFailure.TIMEOUT
    except DeliveryError as error:
        # What looks like a host may be a token: a name that does not resolve is left to Apprise.
        return DeliveryFailure.ADDRESS_REFUSED if error.reason == DeliveryFailure.ADDRESS_REFUSED else None
    return None
