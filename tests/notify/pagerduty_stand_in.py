"""A stand-in for PagerDuty's Events API v2 that refuses what its reference does not allow, and keeps open incidents.

From the reference: required and optional fields, sizes, severities; 202 with the `dedup_key`, 400 with what is wrong.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.notify.receivers import Receiver, receiver

ROUTING_KEY = "e93facc04764012d7bfb002500d5d1a6"
_FIELDS = {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"}
_PAYLOAD = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}
_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass
class Pagerduty:
    """`incidents` are the payloads of what is open, by dedup_key."""

    http: Receiver
    incidents: dict[str, Any] = field(default_factory=dict)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in self.http.received]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.port}/v2/enqueue"


@contextmanager
def pagerduty(**script: Any) -> Iterator[Pagerduty]:
    incidents: dict[str, Any] = {}

    def judge(body: bytes) -> str | None:
        event = json.loads(body)
        found = list(problems(event))
        if found:
            return json.dumps({"status": "invalid event", "message": "Event object is invalid", "errors": found})
        if event["event_action"] == "trigger":
            incidents[event["dedup_key"]] = event["payload"]
        else:
            incidents.pop(event["dedup_key"], None)
        return None

    with receiver(**{"status": 202, "answer": b'{"status":"success"}', "judge": judge, **script}) as http:
        yield Pagerduty(http=http, incidents=incidents)


def problems(event: dict[str, Any]) -> Iterator[str]:
    if set(event) - _FIELDS:
        yield f"unknown fields {sorted(set(event) - _FIELDS)}"
    if len(event.get("routing_key", "")) != 32:
        yield "routing_key must be 32 characters"
    if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        yield "event_action"
    if not 0 < len(event.get("dedup_key", "")) <= 255:
        yield "dedup_key must be 1 to 255 characters"
    if event.get("event_action") == "trigger":
        yield from _payload(event["payload"])
        for link in event.get("links", []):
            if set(link) != {"href", "text"} or not link["href"].startswith(("http://", "https://")):
                yield f"link {link}"


def _payload(payload: dict[str, Any]) -> Iterator[str]:
    if set(payload) - _PAYLOAD:
        yield f"unknown fields of the payload {sorted(set(payload) - _PAYLOAD)}"
    if not 0 < len(payload["summary"]) <= 1024 or not payload["source"]:
        yield "summary must be 1 to 1024 characters, source not empty"
    if payload["severity"] not in ("critical", "error", "warning", "info"):
        yield "severity"
    if not _ISO_8601.fullmatch(payload["timestamp"]):
        yield "timestamp"
    if not all(isinstance(payload[name], str) for name in ("component", "group", "class")):
        yield "component, group and class are text"
    if not isinstance(payload["custom_details"], dict):
        yield "custom_details"
