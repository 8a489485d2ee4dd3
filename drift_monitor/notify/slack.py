"""Slack's incoming webhook: a message of blocks, and the same in one line for phones and lists.

Pictures are not used: Slack would have to fetch them from a service that listens on loopback. Bins are drawn as Unicode
blocks instead. Each value is escaped, also where Slack would read it as a mention (`<!channel>`), and shown as plain
text or inside code, so that no name of a column can format anything.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from drift_monitor.notify import wording
from drift_monitor.notify.outbound import Resolver
from drift_monitor.notify.posting import DEADLINE, Poster

# Limits of Slack's Block Kit reference.
MAX_BLOCKS = 50
MAX_SECTION = 3000  # characters, as they are sent: escapes count
MAX_HEADER = 150
MAX_FALLBACK = 3000  # far below the 40,000 at which a message is cut
_BLOCKS_OF_ALERT = 4
_MAX_ALERTS = (MAX_BLOCKS - 2) // _BLOCKS_OF_ALERT
_MAX_ADDRESS = 400
_OF_ADDRESSES = "%/:?#[]@!$&'()*+,;=~"  # what a URL is written with, beside letters and digits
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BAR, _LABEL = 12, 22  # characters: a line stays narrow enough for a phone held sideways


class SlackSender:
    """Posts messages to one incoming webhook; its URL is the credential."""

    def __init__(self, url: str, *, timeout: timedelta = DEADLINE, resolver: Resolver | None = None) -> None:
        self._poster = Poster(url, timeout=timeout, resolver=resolver)

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        self._poster.post(slack_message(body), at)


def slack_message(body: Mapping[str, Any]) -> dict[str, Any]:
    """The message for a stored notification, as Slack's documentation has it."""
    alerts = body["alerts"]
    shown = alerts[:_MAX_ALERTS]
    title = wording.title(body)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(f"{wording.sign(alerts[0])} {title}", MAX_HEADER)}
    ]
    for alert in shown:
        blocks += _blocks(alert)
    if len(alerts) > len(shown):
        rest = f"and {len(alerts) - len(shown)} more alerts, which the page of the monitor shows"
        blocks.append({"type": "context", "elements": [_plain(rest, MAX_SECTION)]})
    return {"text": escape(title, MAX_FALLBACK), "blocks": blocks}


def _blocks(alert: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    state = "firing" if wording.is_firing(alert) else "resolved"
    severity = wording.severity(alert)
    line = f"{wording.sign(alert)} {state}{', ' + severity if severity else ''}: {wording.summary(alert)}"
    yield {"type": "section", "text": _plain(line, MAX_SECTION)}
    if wording.description(alert):
        yield {"type": "section", "text": _plain(wording.description(alert), MAX_SECTION)}
    if alert.get("bins"):
        yield {"type": "section", "text": {"type": "mrkdwn", "text": _bars(alert["bins"])}}
    links = (f"<{_address(url)}|{word}>" for word, url in wording.links(alert).items())
    told = " · ".join([escape(wording.lasting(alert), MAX_SECTION // 2), *links])
    yield {"type": "context", "elements": [{"type": "mrkdwn", "text": told}]}


def _bars(bins: list[Mapping[str, Any]]) -> str:
    """A block of code: one line a bin, reference left, live right, on one scale."""
    most = max(max(one["reference_share"], one["live_share"]) for one in bins) or 1.0
    lines = [f"{'':{_LABEL}} {'reference':{_BAR + 6}}   live"]
    for one in bins:
        label = wording.shorten(wording.one_line(one["label"]), _LABEL).ljust(_LABEL)
        reference, live = (_share(one[side], most) for side in ("reference_share", "live_share"))
        lines.append(f"{label} {reference} → {live}".rstrip())
    # A backtick would end the code.
    code = "\n".join(lines).replace("`", "ˋ")
    return f"```{escape(code, MAX_SECTION - 6)}```"


def _share(share: float, most: float) -> str:
    return f"{wording.bar(share / most, _BAR)} {wording.percent(share):>6}"[: _BAR + 8]


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escape(wording.one_line(text), limit), "emoji": False}


def _address(url: str) -> str:
    """A URL inside `<...|...>`: what would end it is percent-encoded."""
    return quote(url, safe=_OF_ADDRESSES)[:_MAX_ADDRESS].replace("&", "&amp;")


def escape(text: str, limit: int) -> str:
    """The text with `&`, `<` and `>` escaped, cut so that what is sent has at most `limit` characters."""
    escaped = [_ESCAPES.get(one, one) for one in text]
    length = sum(map(len, escaped))
    if length <= limit:
        return "".join(escaped)
    while length > limit - 1:
        length -= len(escaped.pop())
    return "".join([*escaped, "…"])
