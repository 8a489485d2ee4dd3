"""The runbooks as a page of the service itself, so that the link of an alert leads somewhere in every installation.

The text is `docs/runbooks.md`. Of Markdown it knows what that file uses: headings, paragraphs, numbered lists, code,
emphasis and links; a test holds the page against the file word by word.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from drift_monitor.queries.status import Readable
from drift_monitor.shipped import RUNBOOKS, shipped
from drift_monitor.web.pages.rendering import render

_SPAN = re.compile(r"`(?P<code>[^`]+)`|\*(?P<em>[^*\s][^*]*)\*|\[(?P<link>[^\]]+)\]\((?P<url>[^)\s]+)\)")
_ITEM = re.compile(r"\d+\. ")


@dataclass(frozen=True)
class Inline:
    """Some words of one kind: `text`, `code`, `em` or `link`."""

    kind: str
    text: str
    url: str = ""


@dataclass(frozen=True)
class Block:
    """A paragraph, or a list whose items are numbered."""

    items: Sequence[Sequence[Inline]]
    is_list: bool


@dataclass(frozen=True)
class RunbookSection:
    """A heading of one word or a few, and what stands below it; the first one is the title of the page."""

    title: str
    anchor: str
    blocks: Sequence[Block]


def show_runbooks(request: Request, services: Readable) -> Response:
    """All runbooks; links lead to a section by its anchor."""
    title, *sections = read_sections(shipped(RUNBOOKS).read_text(encoding="utf-8"))
    return render(request, "runbooks.html", at=services.clock.now(), title=title, sections=sections)


def read_sections(text: str) -> Sequence[RunbookSection]:
    """The sections of a page in this kind of Markdown."""
    sections = []
    for part in re.split(r"^#+ +", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        sections.append(RunbookSection(title=title, anchor=anchor, blocks=list(_blocks(body))))
    return sections


def _blocks(body: str) -> Iterator[Block]:
    for paragraph in re.split(r"\n\s*\n", body.strip()):
        items = re.split(r"^(?=\d+\. )", paragraph, flags=re.MULTILINE)
        is_list = _ITEM.match(paragraph) is not None
        texts = (_ITEM.sub("", item, count=1) if is_list else item for item in items if item.strip())
        spans = [_spans(" ".join(text.split())) for text in texts]
        if spans:
            yield Block(spans, is_list)


def _spans(text: str) -> Sequence[Inline]:
    spans, end = [], 0
    for match in _SPAN.finditer(text):
        spans.append(Inline("text", text[end : match.start()]))
        kind = str(match.lastgroup).replace("url", "link")
        # A link to a file of the repository leads nowhere in this service: its text stays.
        url = match["url"] if kind == "link" and match["url"].startswith("#") else ""
        spans.append(Inline("text" if kind == "link" and not url else kind, match[kind], url))
        end = match.end()
    return [span for span in (*spans, Inline("text", text[end:])) if span.text]
