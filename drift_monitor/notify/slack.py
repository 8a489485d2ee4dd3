"""Slack's incoming webhook: a message of blocks, and the same in one line for phones and lists.

Pictures are not used: Slack would have to fetch them from a service that listens on loopback. Bins are drawn as Unicode
blocks instead. Each value is escaped, also where Slack would read it as a mention (`<!channel>`). What comes from a
watched table, names and labels, is shown as plain text or inside code, so that it can format nothing; the fields hold
our own words, numbers and the monitor's annotations.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receivers import SlackConfig
from drift_monitor.notify import wording
from drift_monitor.notify.http import Poster
from drift_monitor.notify.outbound import Resolver
from drift_monitor.words import bar, one_line, percent, shorten

# Limits of Slack's Block Kit reference.
MAX_BLOCKS = 50
MAX_SECTION = 3000  # characters, as they are sent: escapes count
MAX_HEADER = 150
MAX_FALLBACK = 3000  # far below the 40,000 at which a message is cut
_MAX_FIELDS, _MAX_FIELD, _MAX_NAME = 10, 2000, 100  # fields of a section; characters of one, and of its name
_MAX_ADDRESS = 400
_OF_ADDRESSES = "%/:?#[]@!$&'()*+,;=~"  # what a URL is written with, beside letters and digits
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BAR, _LABEL = 12, 22  # characters: a line stays narrow enough for a phone held sideways


class SlackSender:
    """Posts messages to one incoming webhook; its URL is the credential."""

    def __init__(self, config: SlackConfig, outbound: OutboundConfig, resolver: Resolver | None = None) -> None:
        self._poster = Poster(config.webhook_url.get_secret_value(), config.timeout, outbound, resolver)

    def send(self, notification_id: str, body: Mapping[str, Any], at: datetime) -> None:
        self._poster.post(slack_message(body), at)


def slack_message(body: Mapping[str, Any]) -> dict[str, Any]:
    """The message for a stored notification, as Slack's documentation has it."""
    groups = wording.groups(body["alerts"])
    blocks: list[dict[str, Any]] = []
    for number, group in enumerate(groups):
        more = [*([{"type": "divider"}] if number else []), *_blocks(group)]
        if len(blocks) + len(more) >= MAX_BLOCKS:
            rest = f"and {len(groups) - number} more, which the page of the monitor shows"
            blocks.append({"type": "context", "elements": [_plain(rest, MAX_SECTION)]})
            break
        blocks += more
    return {"text": escape(wording.title(body), MAX_FALLBACK), "blocks": blocks}


def _blocks(group: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    first = group[0]
    state = "" if wording.is_firing(first) else "Resolved: "
    line = f"{wording.sign(first)} {state}{wording.summary(first)}"
    header, whole = _plain(line, MAX_HEADER), _plain(line, MAX_SECTION)
    yield {"type": "header", "text": header}
    if header != whole:
        yield {"type": "section", "text": whole}
    verdict = wording.verdict(first)
    facts = list(wording.facts(group).items())[:_MAX_FIELDS]
    fields = [
        _mrkdwn(f"*{escape(name, _MAX_NAME)}*\n{escape(text, _MAX_FIELD - _MAX_NAME - 3)}") for name, text in facts
    ]
    yield {"type": "section", **({"text": _plain(verdict, MAX_SECTION)} if verdict else {}), "fields": fields}
    bins = wording.bins(group)
    if bins:
        lines = [f"{'':{_LABEL}} {'reference':{_BAR + 7}}   live"]
        for bin, *lengths in wording.scaled(bins):
            label = shorten(one_line(bin["label"]), _LABEL).ljust(_LABEL)
            reference, live = (
                f"{bar(length, _BAR)} {percent(share):>6}"[: _BAR + 8]
                for length, share in zip(lengths, (bin["reference_share"], bin["live_share"]), strict=True)
            )
            lines.append(f"{label} {reference} → {live}".rstrip())
        # A backtick would end the code.
        code = "\n".join(lines).replace("`", "ˋ")
        yield {"type": "section", "text": _mrkdwn(f"```{escape(code, MAX_SECTION - 6)}```")}
    links = [f"<{_address(url)}|{word}>" for word, url in wording.links(first).items()]
    if links:
        yield {"type": "section", "text": _mrkdwn(" · ".join(links))}


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escape(one_line(text), limit), "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def _address(url: str) -> str:
    """A URL inside `<...|...>`: what would end it is percent-encoded."""
    return quote(url, safe=_OF_ADDRESSES)[:_MAX_ADDRESS].replace("&", "&amp;")


def escape(text: str, limit: int) -> str:
    """The text with `&`, `<` and `>` escaped, cut so that what is sent has at most `limit` characters."""
    escaped = [_ESCAPES.get(character, character) for character in text]
    length = sum(map(len, escaped))
    if length <= limit:
        return "".join(escaped)
    while length > limit - 1:
        length -= len(escaped.pop())
    return "".join([*escaped, "…"])
