"""A notification as mail: subject, plain text, and HTML with the bins as a table of bars.

No picture, no script, nothing fetched from anywhere: bars are coloured table cells, which every mail program draws.
Each value is escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from drift_monitor.notify import wording
from drift_monitor.notify.fields import facts
from drift_monitor.words import bar, one_line, percent, shorten

MAX_SUBJECT = 200  # characters; longer ones are cut by whoever shows them
_BAR_TEXT, _BAR_PIXELS = 20, 120
_REFERENCE, _LIVE = "#8fa3bf", "#d9662b"
_COLOURS = {"critical": "#c62828", "warning": "#d9662b", "info": "#1e6fbf"}
_RESOLVED_COLOUR = "#2e7d32"
_FONT = "font-family:-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_CELL = "padding:3px 14px 3px 0;font-size:13px;vertical-align:top"


def subject(body: Mapping[str, Any]) -> str:
    return shorten(one_line(wording.title(body)), MAX_SUBJECT)


def plain_text(body: Mapping[str, Any]) -> str:
    """The mail for those who read text."""
    return "\n\n".join("\n".join(_text_lines(group)) for group in wording.groups(body["alerts"])) + "\n"


def _text_lines(group: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first = group[0]
    yield f"{_state(first)}: {wording.summary(first)}"
    if wording.verdict(first):
        yield wording.verdict(first)
    yield ""
    found = facts(group)
    width = max(map(len, found))
    for name, text in found.items():
        yield f"{name.ljust(width)}  {text}"
    moved = _scaled(wording.bins(group))
    if moved:
        yield ""
    for one, reference, live in moved:
        yield f"  {one_line(one['label'])}"
        yield f"    reference {bar(reference, _BAR_TEXT)} {percent(one['reference_share'])}"
        yield f"    live      {bar(live, _BAR_TEXT)} {percent(one['live_share'])}"
    links = wording.links(first)
    if links:
        yield ""
    for word, url in links.items():
        yield f"{word}: {one_line(url)}"


def html(body: Mapping[str, Any]) -> str:
    """The mail for those who see colours."""
    alerts = "".join(_html_group(group) for group in wording.groups(body["alerts"]))
    return (
        '<!doctype html><html><head><meta charset="utf-8"></head>'
        f'<body style="{_FONT};color:#222;max-width:720px">{alerts}</body></html>'
    )


def _html_group(group: Sequence[Mapping[str, Any]]) -> str:
    first = group[0]
    colour = _COLOURS.get(wording.severity(first), _COLOURS["warning"])
    colour = colour if wording.is_firing(first) else _RESOLVED_COLOUR
    verdict = wording.verdict(first)
    links = " · ".join(f'<a href="{escape(url, quote=True)}">{word}</a>' for word, url in wording.links(first).items())
    # Mail programs draw the border of a table's cell, and not of much else.
    return (
        '<table cellpadding="0" cellspacing="0" style="margin:0 0 28px;border-collapse:collapse"><tr>'
        f'<td style="border-left:4px solid {colour};padding:2px 0 2px 16px">'
        f'<p style="margin:0;font-size:12px;color:{colour}"><b>{escape(_state(first))}</b></p>'
        f'<h2 style="font-size:17px;margin:2px 0 8px">{escape(wording.summary(first))}</h2>'
        + (f'<p style="font-size:14px;margin:0 0 14px">{escape(verdict)}</p>' if verdict else "")
        + _html_bins(wording.bins(group))
        + _html_facts(facts(group))
        + (f'<p style="font-size:14px;margin:14px 0 0">{links}</p>' if links else "")
        + "</td></tr></table>"
    )


def _html_facts(found: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><td style="{_CELL};color:#666;white-space:nowrap">{escape(name)}</td>'
        f'<td style="{_CELL}">{escape(text)}</td></tr>'
        for name, text in found.items()
    )
    return f'<table cellpadding="0" cellspacing="0" style="border-collapse:collapse">{rows}</table>'


def _html_bins(bins: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td style="{_CELL}">{escape(one_line(one["label"]))}</td>'
        f"{_html_bar(reference, one['reference_share'], _REFERENCE)}{_html_bar(live, one['live_share'], _LIVE)}</tr>"
        for one, reference, live in _scaled(bins)
    )
    if not rows:
        return ""
    heads = ("", ""), ("reference", _REFERENCE), ("live", _LIVE)
    head = "".join(
        f'<th align="left" style="{_CELL};font-size:12px;color:{colour}">{name}</th>' for name, colour in heads
    )
    return f'<table style="border-collapse:collapse;margin:0 0 14px"><tr>{head}</tr>{rows}</table>'


def _html_bar(length: float, share: float, colour: str) -> str:
    """A cell with a bar and its share; the bar is a table of one cell, since mail programs ignore sizes of others."""
    pixels = max(1, round(length * _BAR_PIXELS)) if length > 0 else 0
    bar = f'<td bgcolor="{colour}" width="{pixels}" height="12" style="font-size:1px">&nbsp;</td>' if pixels else ""
    text = f'<td style="font-size:12px;padding-left:6px">{percent(share)}</td>'
    return f'<td style="{_CELL}"><table cellpadding="0" cellspacing="0"><tr>{bar}{text}</tr></table></td>'


def _scaled(bins: Sequence[Mapping[str, Any]]) -> Sequence[tuple[Mapping[str, Any], float, float]]:
    """Each bin with the lengths of its two bars: all bars of an alert are on one scale."""
    most = max((max(one["reference_share"], one["live_share"]) for one in bins), default=0.0) or 1.0
    return [(one, one["reference_share"] / most, one["live_share"] / most) for one in bins]


def _state(alert: Mapping[str, Any]) -> str:
    state = "Firing" if wording.is_firing(alert) else "Resolved"
    severity = wording.severity(alert)
    return f"{wording.sign(alert)} {state} ({severity})" if severity else f"{wording.sign(alert)} {state}"
