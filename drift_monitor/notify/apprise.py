"""Apprise: messages for people through whatever it knows, in plain text. Needs the extra `apprise`.

Apprise tells no failures apart but time-outs, has no ids and resolves nothing, so this is a convenience beside the
senders of our own. Each address is a target of its own; all are sent to at the same time, under one deadline. A try
that only some of them took is repeated for the others only, as long as this process remembers.

Apprise dials by itself: redirects are off, and a target whose host leads to an address that is never dialled is not
sent to, but between that look and the dialling a name may change. Its logger, and those of what it
posts with, are silent: they would quote addresses.
"""

import asyncio
import importlib
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from drift_monitor.errors import DeliveryError
from drift_monitor.notify import mail_text, wording
from drift_monitor.notify.outbound import addresses_of
from drift_monitor.telemetry.reasons import DeliveryFailure

_REMEMBERED = 1000  # notifications that some targets took and others did not
_LOOKING = 0.25  # of the deadline, for the look at where a host leads
_TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


class AppriseSender:
    """Sends notifications to a few addresses of Apprise; they are credentials."""

    def __init__(self, urls: Sequence[str], *, timeout: timedelta = timedelta(seconds=20)) -> None:
        apprise = importlib.import_module("apprise")
        for name in ("apprise", "requests", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        asset = apprise.AppriseAsset(http_redirects=False, storage_mode=apprise.PersistentStoreMode.MEMORY)
        self._targets = [_target(apprise, url, asset) for url in urls]
        self._timed_out = apprise.AppriseResultStatus.TIMEOUT
        self._looking = timeout.total_seconds() * _LOOKING
        self._sending = timeout.total_seconds() - self._looking
        self._taken: OrderedDict[str, frozenset[int]] = OrderedDict()

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        """Send to every target that has not taken it yet; raises DeliveryError if one does not take it now either."""
        taken = self._taken.pop(notification_id, frozenset())
        waiting = [number for number in range(len(self._targets)) if number not in taken]
        with ThreadPoolExecutor(len(waiting), thread_name_prefix="apprise") as pool:
            failures = list(pool.map(lambda number: self._tell(number, body), waiting))
        missing = {number: reason for number, reason in zip(waiting, failures, strict=True) if reason is not None}
        if missing:
            self._remember(notification_id, taken | {number for number in waiting if number not in missing})
            raise self._not_taken(missing)

    def _tell(self, number: int, body: Mapping[str, Any]) -> DeliveryFailure | None:
        """Why a target did not take it, or None."""
        target = self._targets[number]
        refused = asyncio.run(_refused(target, self._looking))
        if refused is not None:
            return refused
        result = target.notify(
            title=mail_text.subject(body),
            body=mail_text.plain_text(body),
            notify_type=_notify_type(body),
            body_format="text",
            timeout=self._sending,
        )
        if result:
            return None
        return DeliveryFailure.TIMEOUT if result.status == self._timed_out else DeliveryFailure.SERVER_ERROR

    def _remember(self, notification_id: str, taken: frozenset[int]) -> None:
        self._taken[notification_id] = taken
        while len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)

    def _not_taken(self, missing: Mapping[int, DeliveryFailure]) -> DeliveryError:
        names = ", ".join(f"{_scheme(self._targets[number])} ({reason})" for number, reason in sorted(missing.items()))
        message = f"apprise: {len(missing)} of {len(self._targets)} targets did not take it: {names}"
        return DeliveryError(message, retryable=True, reason=next(iter(missing.values())))


def _target(apprise: Any, url: str, asset: Any) -> Any:
    one = apprise.Apprise(asset=asset)
    if not one.add(url):
        message = "apprise: an address is none that it knows"
        raise DeliveryError(message, retryable=False, reason=DeliveryFailure.INVALID)
    return one


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
            await addresses_of(str(host), getattr(target[0], "port", None) or 443, "apprise")
    except TimeoutError:
        return DeliveryFailure.TIMEOUT
    except DeliveryError as error:
        # What looks like a host may be a token: a name that does not resolve is left to Apprise.
        return DeliveryFailure.ADDRESS_REFUSED if error.reason == DeliveryFailure.ADDRESS_REFUSED else None
    return None


def _notify_type(body: Mapping[str, Any]) -> str:
    firing = [alert for alert in body["alerts"] if wording.is_firing(alert)]
    if not firing:
        return "success"
    severities = {wording.severity(alert) for alert in firing}
    return next((kind for severity, kind in _TYPES.items() if severity in severities), "warning")
