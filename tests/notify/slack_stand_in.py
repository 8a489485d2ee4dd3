"""A stand-in for Slack's incoming webhook that refuses what Slack's documentation does not allow.

From the references of Block Kit (header, section, context, plain_text, mrkdwn) and of incoming webhooks: names of
fields, sizes, and `<...>` only as a link. It answers `ok`, or 400 with one of Slack's words and what it found.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.notify.receivers import Receiver, receiver

_LINK = re.compile(r"<https?://[^<>|\s]+\|[^<>|]+>")
_ENTITY = re.compile(r"&(amp|lt|gt);")


@contextmanager
def slack(**script: object) -> Iterator[Receiver]:
    with receiver(answer=b"ok", judge=refusal, **script) as told:
        yield told


def refusal(body: bytes) -> str | None:
    try:
        message = json.loads(body)
    except ValueError:
        return "invalid_payload"
    problem = next(_problems(message), None)
    return None if problem is None else f"invalid_blocks: {problem}"


def _problems(message: Any) -> Iterator[str]:
    if set(message) != {"text", "blocks"}:
        yield f"fields {sorted(message)}"
    if not 0 < len(message["text"]) <= 40_000:
        yield "no_text"
    yield from _escapes(message["text"])
    if not 0 < len(message["blocks"]) <= 50:
        yield f"{len(message['blocks'])} blocks"
    for block in message["blocks"]:
        yield from _block(block)


def _block(block: dict[str, Any]) -> Iterator[str]:
    match block:
        case {"type": "header", "text": {"type": "plain_text"} as text} if len(block) == 2:
            yield from _text(text, 150)
        case {"type": "section"} if set(block) <= {"type", "text", "fields"} and len(block) > 1:
            if "text" in block:
                yield from _text(block["text"], 3000)
            if not 1 <= len(block.get("fields", [None])) <= 10:
                yield f"{len(block['fields'])} fields"
            for field in block.get("fields", ()):
                yield from _text(field, 2000)
        case {"type": "divider"} if len(block) == 1:
            pass
        case {"type": "context", "elements": [*elements]} if len(block) == 2 and 1 <= len(elements) <= 10:
            for element in elements:
                yield from _text(element, 3000)
        case _:
            yield f"unknown block {block}"


def _text(text: dict[str, Any], limit: int) -> Iterator[str]:
    if text["type"] not in ("plain_text", "mrkdwn") or set(text) - {"type", "text", "emoji"}:
        yield f"unknown text object {text}"
    if text["type"] == "mrkdwn" and "emoji" in text:
        yield "emoji belongs to plain_text"
    if not 0 < len(text["text"]) <= limit:
        yield f"{len(text['text'])} characters, at most {limit}"
    yield from _escapes(text["text"] if text["type"] == "plain_text" else _LINK.sub("", text["text"]))


def _escapes(text: str) -> Iterator[str]:
    rest = _ENTITY.sub("", text)
    if re.search("[&<>]", rest):
        yield f"unescaped: {text!r}"
