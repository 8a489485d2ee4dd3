"""A notification as mail: subject, plain text, and HTML with the bins as a table of bars.

No picture, no script, nothing fetched from anywhere: bars are coloured table cells, which every mail program draws.
Each value is escaped.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from drift_monitor.notify import wording

MAX_SUBJECT = 200  # characters; longer ones are cut by whoever shows them
_BAR_TEXT, _BAR_PIXELS = 20, 120
_REFERENCE, _LIVE = "#8fa3bf", "#d9662b"
_CELL = "padding:2px 10px 2px 0;font-size:13px"
_NUMBERS = {  # annotations that are numbers, in the order they are read
    "value": "value",
    "interval_low": "95 % interval from",
    "interval_high": "to",
    "threshold": "threshold",
    "noise_floor": "noise floor (KL)",
    "live_rows": "live rows",
    "reference_rows": "reference rows",
}


def subject(body: Mapping[str, Any]) -> str:
    return wording.shorten(wording.one_line(wording.title(body)), MAX_SUBJECT)


def plain_text(body: Mapping[str, Any]) -> str:
    """The mail for those who read text."""
    return "\n\n".join("\n".join(_text_lines(alert)) for alert in body["alerts"]) + "\n"


def _text_lines(alert: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_state(alert)}: {wording.summary(alert)}"
    yield wording.lasting(alert)
    if wording.description(alert):
        yield wording.description(alert)
    numbers = _numbers(alert)
    if numbers:
        yield ", ".join(f"{name} {value}" for name, value in numbers.items())
    for one, reference, live in _scaled(alert):
        yield f"  {wording.one_line(one['label'])}"
        yield f"    reference {wording.bar(reference, _BAR_TEXT)} {wording.percent(one['reference_share'])}"
        yield f"    live      {wording.bar(live, _BAR_TEXT)} {wording.percent(one['live_share'])}"
    for word, url in wording.links(alert).items():
        yield f"{word}: {wording.one_line(url)}"


def html(body: Mapping[str, Any]) -> str:
    """The mail for those who see colours."""
    alerts = "".join(_html_alert(alert) for alert in body["alerts"])
    return (
        '<!doctype html><html><head><meta charset="utf-8"></head>'
        f'<body style="font-family:sans-serif;color:#222;max-width:720px">{alerts}</body></html>'
    )


def _html_alert(alert: Mapping[str, Any]) -> str:
    numbers = "".join(
        f'<tr><td style="{_CELL};color:#666">{escape(name)}</td><td style="{_CELL}">{escape(value)}</td></tr>'
        for name, value in _numbers(alert).items()
    )
    links = " · ".join(f'<a href="{escape(url, quote=True)}">{word}</a>' for word, url in wording.links(alert).items())
    heading = escape(f"{_state(alert)}: {wording.summary(alert)}")
    return (
        f'<h2 style="font-size:16px">{wording.sign(alert)} {heading}</h2>'
        f'<p style="color:#666">{escape(wording.lasting(alert))}</p><p>{escape(wording.description(alert))}</p>'
        f"{_html_bins(alert)}" + (f"<table>{numbers}</table>" if numbers else "") + (f"<p>{links}</p>" if links else "")
    )


def _html_bins(alert: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td style="{_CELL}">{escape(wording.one_line(one["label"]))}</td>'
        f"{_html_bar(reference, one['reference_share'], _REFERENCE)}{_html_bar(live, one['live_share'], _LIVE)}</tr>"
        for one, reference, live in _scaled(alert)
    )
    if not rows:
        return ""
    head = "".join(f'<th align="left" style="{_CELL}">{name}</th>' for name in ("bin", "reference", "live"))
    return f'<table style="border-collapse:collapse"><tr>{head}</tr>{rows}</table>'


def _html_bar(length: float, share: float, colour: str) -> str:
    """A cell with a bar and its share; the bar is a table of one cell, since mail programs ignore sizes of others."""
    pixels = max(1, round(length * _BAR_PIXELS)) if length > 0 else 0
    bar = f'<td bgcolor="{colour}" width="{pixels}" height="12" style="font-size:1px">&nbsp;</td>' if pixels else ""
    text = f'<td style="font-size:12px;padding-left:6px">{wording.percent(share)}</td>'
    return f'<td style="{_CELL}"><table cellpadding="0" cellspacing="0"><tr>{bar}{text}</tr></table></td>'


def _scaled(alert: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], float, float]]:
    """Each bin with the lengths of its two bars: all bars of an alert are on one scale."""
    bins = alert.get("bins", ())
    most = max((max(one["reference_share"], one["live_share"]) for one in bins), default=0.0) or 1.0
    for one in bins:
        yield one, one["reference_share"] / most, one["live_share"] / most


def _state(alert: Mapping[str, Any]) -> str:
    state = "Firing" if wording.is_firing(alert) else "Resolved"
    severity = wording.severity(alert)
    return f"{state} ({severity})" if severity else state


def _numbers(alert: Mapping[str, Any]) -> dict[str, str]:
    annotations = alert["annotations"]
    return {name: wording.one_line(annotations[key]) for key, name in _NUMBERS.items() if key in annotations}
