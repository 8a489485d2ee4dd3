"""Values over time: lines with intervals, thresholds, the noise floor, and the times at which an alert fired.

value axis (square root for divergences)
  │ ░░░ episode ░░░      shaded: an alert fired
  │ ─ ─ ─ ─ ─ ─ ─ ─      thresholds, named at the right edge
  │    ╱╲__╱‾‾╲          one line a series; its 95 % interval as a band
  │ ...............      noise floor
  └──────────────── time (UTC); ticks below mark windows without a value
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from markupsafe import Markup

from drift_monitor.web.charts.scales import TimeScale, ValueScale, tick_text
from drift_monitor.web.charts.sparkline import runs
from drift_monitor.web.charts.svg import chart, element, line, path, rect, text

WIDTH, HEIGHT = 960.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 96.0, 30.0, 30.0
_MOST_DOTS = 60  # more would run together
_HEADROOM = 1.08


@dataclass(frozen=True, kw_only=True)
class Point:
    """One window. `low` and `high` are the interval; `note` is what hovering says; `href` where a click leads."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    href: str | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series; `style` is a class of the style sheet."""

    name: str
    style: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A line across; `severity` is its class."""

    value: float
    severity: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Band:
    """A stretch of time in which an alert fired; open ones have no end."""

    start: datetime
    end: datetime | None
    severity: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Everything one chart shows."""

    title: str
    start: datetime
    end: datetime
    lines: Sequence[Line]
    thresholds: Sequence[Threshold] = ()
    bands: Sequence[Band] = ()
    floor: Sequence[Point] = ()
    selected: datetime | None = None
    is_root: bool = False


def timeline(shown: Timeline) -> Markup:
    """The chart as SVG."""
    times = TimeScale(shown.start, shown.end, _LEFT, WIDTH - _RIGHT)
    values = ValueScale(_top(shown), HEIGHT - _BOTTOM, _TOP, shown.is_root)
    parts = [
        *_bands(shown, times),
        *_axes(times, values),
        *_thresholds(shown.thresholds, values),
        *_floor(shown.floor, times, values),
        *(part for one in shown.lines for part in _line(one, times, values)),
        *_gaps(shown, times),
        *_selected(shown.selected, times),
        *_legend(shown),
        *_targets(shown, times),
    ]
    return chart(WIDTH, HEIGHT, shown.title, parts)


def _top(shown: Timeline) -> float:
    """The largest value to be shown; never so small that noise fills the chart while a threshold is known."""
    numbers = [
        number
        for one in shown.lines
        for point in one.points
        for number in (point.value, point.high)
        if number is not None and isfinite(number)
    ]
    numbers += [one.value for one in shown.thresholds]
    return (max(numbers, default=0.0) or 1.0) * _HEADROOM


def _axes(times: TimeScale, values: ValueScale) -> Iterator[Markup]:
    for value in values.ticks():
        yield line(_LEFT, values(value), WIDTH - _RIGHT, values(value), "grid")
        yield text(_LEFT - 8, values(value) + 4, tick_text(value), "tick", anchor="end")
    for at, label in times.ticks():
        yield line(times(at), HEIGHT - _BOTTOM, times(at), HEIGHT - _BOTTOM + 4, "axis")
        yield text(times(at), HEIGHT - _BOTTOM + 18, label, "tick", anchor="middle")


def _bands(shown: Timeline, times: TimeScale) -> Iterator[Markup]:
    for band in shown.bands:
        end = band.end or shown.end
        if end < shown.start or band.start > shown.end:
            continue
        left, right = times(band.start), times(end)
        yield rect(left, _TOP, max(2.0, right - left), HEIGHT - _BOTTOM - _TOP, f"band {band.severity}", band.name)


def _thresholds(thresholds: Sequence[Threshold], values: ValueScale) -> Iterator[Markup]:
    last = None
    for one in sorted(thresholds, key=lambda each: -each.value):
        y = values(one.value)
        yield line(_LEFT, y, WIDTH - _RIGHT, y, f"threshold {one.severity}")
        label_y = y + 4 if last is None else max(y + 4, last + 13)
        yield text(WIDTH - _RIGHT + 6, label_y, one.name, f"label {one.severity}")
        last = label_y


def _floor(floor: Sequence[Point], times: TimeScale, values: ValueScale) -> Iterator[Markup]:
    for run in runs([(times(point.at), point.value) for point in floor]):
        yield element("path", d=path((x, values(value)) for x, value in run), class_="floor")


def _line(one: Line, times: TimeScale, values: ValueScale) -> Iterator[Markup]:
    ends = [(point, point.low, point.high) for point in one.points]
    for stretch in _stretches(ends):
        upper = [(times(point.at), values(high)) for point, _, high in stretch]
        lower = [(times(point.at), values(low)) for point, low, _ in reversed(stretch)]
        if len(stretch) > 1:
            yield element("path", d=path([*upper, *lower]) + "Z", class_=f"interval {one.style}")
    drawn = runs([(times(point.at), point.value) for point in one.points])
    for run in drawn:
        yield element("path", d=path((x, values(value)) for x, value in run), class_=f"line {one.style}")
    are_few = len(one.points) <= _MOST_DOTS
    for run in drawn:
        for x, value in run:
            if are_few or len(run) == 1:
                yield element("circle", cx=x, cy=values(value), r=2.5, class_=f"point {one.style}")


def _stretches(
    ends: Sequence[tuple[Point, float | None, float | None]],
) -> list[list[tuple[Point, float, float]]]:
    found: list[list[tuple[Point, float, float]]] = [[]]
    for point, low, high in ends:
        if low is None or high is None:
            found.append([])
        else:
            found[-1].append((point, low, high))
    return [stretch for stretch in found if stretch]


def _gaps(shown: Timeline, times: TimeScale) -> Iterator[Markup]:
    for point in shown.lines[0].points if shown.lines else ():
        if point.value is None:
            yield line(times(point.at), HEIGHT - _BOTTOM - 6, times(point.at), HEIGHT - _BOTTOM, "gap")


def _selected(selected: datetime | None, times: TimeScale) -> Iterator[Markup]:
    if selected is not None:
        yield line(times(selected), _TOP - 4, times(selected), HEIGHT - _BOTTOM, "selected")


def _legend(shown: Timeline) -> Iterator[Markup]:
    entries = [(one.name, f"line {one.style}") for one in shown.lines]
    if shown.floor:
        entries.append(("noise floor", "floor"))
    if shown.bands:
        entries.append(("alert fired", "band warning"))
    x = _LEFT
    for name, style in entries:
        if style.startswith("band"):
            yield rect(x, 5, 18, 11, style)
        else:
            yield line(x, 11, x + 18, 11, style)
        yield text(x + 24, 15, name, "legend")
        x += 24 + 7.2 * len(name) + 18


def _targets(shown: Timeline, times: TimeScale) -> Iterator[Markup]:
    """What hovering and clicking finds: one strip a window."""
    points = shown.lines[0].points if shown.lines else ()
    width = (WIDTH - _RIGHT - _LEFT) / max(1, len(points))
    for point in points:
        strip = rect(times(point.at) - width / 2, _TOP, width, HEIGHT - _BOTTOM - _TOP, "target", point.note or None)
        yield strip if point.href is None else element("a", strip, href=point.href, tabindex=-1)
