"""Values over time. As a chart: lines with intervals, thresholds, the noise floor, and the times an alert fired.

value axis (square root for divergences)
  │ ░░░ episode ░░░      shaded: an alert fired
  │ ─ ─ ─ ─ ─ ─ ─ ─      thresholds, named at the right edge
  │    ╱╲__╱‾‾╲          one line a series; its 95 % interval as a band
  │ ...............      noise floor
  └──────────────── time (UTC); ticks below mark windows without a value

As a sparkline, the size of a word: one line, its threshold, a dot where it stands now.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from markupsafe import Markup

from drift_monitor.web.charts.svg import TimeScale, ValueScale, chart, element, line, path, rect, text

WIDTH, HEIGHT = 960.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 96.0, 30.0, 30.0
_MOST_DOTS = 60  # of one line; more would run together
_HEADROOM = 1.08  # so that the highest value does not touch the edge
SPARK_WIDTH, SPARK_HEIGHT = 120.0, 30.0
_SPARK_MARGIN = 3.0


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
    numbers = [
        number
        for series in shown.lines
        for point in series.points
        for number in (point.value, point.high)
        if number is not None and isfinite(number)
    ]
    # Never so small that noise fills the chart while a threshold is known.
    numbers += [threshold.value for threshold in shown.thresholds]
    values = ValueScale((max(numbers, default=0.0) or 1.0) * _HEADROOM, HEIGHT - _BOTTOM, _TOP, shown.is_root)
    parts = [
        *_bands(shown, times),
        *_axes(times, values),
        *_thresholds(shown.thresholds, values),
        *(
            element("path", d=path((x, values(value)) for x, value in run), class_="floor")
            for run in runs([(times(point.at), point.value) for point in shown.floor])
        ),
        *(part for series in shown.lines for part in _line(series, times, values)),
        *_windows(shown, times),
        *_legend(shown),
    ]
    return chart(WIDTH, HEIGHT, shown.title, parts)


def _bands(shown: Timeline, times: TimeScale) -> Iterator[Markup]:
    for band in shown.bands:
        end = band.end or shown.end
        if end < shown.start or band.start > shown.end:
            continue
        left, right = times(band.start), times(end)
        yield rect(left, _TOP, max(2.0, right - left), HEIGHT - _BOTTOM - _TOP, f"band {band.severity}", band.name)


def _axes(times: TimeScale, values: ValueScale) -> Iterator[Markup]:
    for value in values.ticks():
        yield line(_LEFT, values(value), WIDTH - _RIGHT, values(value), "grid")
        yield text(_LEFT - 8, values(value) + 4, f"{value:.4g}", "tick", anchor="end")
    for at, label in times.ticks():
        yield line(times(at), HEIGHT - _BOTTOM, times(at), HEIGHT - _BOTTOM + 4, "axis")
        yield text(times(at), HEIGHT - _BOTTOM + 18, label, "tick", anchor="middle")


def _thresholds(thresholds: Sequence[Threshold], values: ValueScale) -> Iterator[Markup]:
    last = None
    for threshold in sorted(thresholds, key=lambda threshold: -threshold.value):
        y = values(threshold.value)
        yield line(_LEFT, y, WIDTH - _RIGHT, y, f"threshold {threshold.severity}")
        # Names of thresholds that are close stand below each other, not on each other.
        label_y = y + 4 if last is None else max(y + 4, last + 13)
        yield text(WIDTH - _RIGHT + 6, label_y, threshold.name, f"label {threshold.severity}")
        last = label_y


def _line(series: Line, times: TimeScale, values: ValueScale) -> Iterator[Markup]:
    stretches: list[list[tuple[float, float, float]]] = [[]]  # of windows with an interval: x, low, high
    for point in series.points:
        if point.low is None or point.high is None:
            stretches.append([])
        else:
            stretches[-1].append((times(point.at), values(point.low), values(point.high)))
    for stretch in stretches:
        if len(stretch) > 1:
            outline = [(x, high) for x, _, high in stretch] + [(x, low) for x, low, _ in reversed(stretch)]
            yield element("path", d=path(outline) + "Z", class_=f"interval {series.style}")
    drawn = runs([(times(point.at), point.value) for point in series.points])
    for run in drawn:
        yield element("path", d=path((x, values(value)) for x, value in run), class_=f"line {series.style}")
    are_few = len(series.points) <= _MOST_DOTS
    for run in drawn:
        for x, value in run:
            if are_few or len(run) == 1:  # a value between two gaps has no line that would show it
                yield element("circle", cx=x, cy=values(value), r=2.5, class_=f"point {series.style}")


def _windows(shown: Timeline, times: TimeScale) -> Iterator[Markup]:
    """Marks of windows without a value and of the selected one; and what hovering and clicking finds, a strip each."""
    points = shown.lines[0].points if shown.lines else ()
    for point in points:
        if point.value is None:
            yield line(times(point.at), HEIGHT - _BOTTOM - 6, times(point.at), HEIGHT - _BOTTOM, "gap")
    if shown.selected is not None:
        yield line(times(shown.selected), _TOP - 4, times(shown.selected), HEIGHT - _BOTTOM, "selected")
    width = (WIDTH - _RIGHT - _LEFT) / max(1, len(points))
    for point in points:
        strip = rect(times(point.at) - width / 2, _TOP, width, HEIGHT - _BOTTOM - _TOP, "target", point.note or None)
        yield strip if point.href is None else element("a", strip, href=point.href, tabindex=-1)


def _legend(shown: Timeline) -> Iterator[Markup]:
    entries = [(series.name, f"line {series.style}") for series in shown.lines]
    if shown.floor:
        entries.append(("noise floor", "floor"))
    if shown.bands:
        entries.append(("alert fired", "band warning"))
    x = _LEFT
    for name, style in entries:
        yield rect(x, 5, 18, 11, style) if style.startswith("band") else line(x, 11, x + 18, 11, style)
        yield text(x + 24, 15, name, "legend")
        x += 24 + 7.2 * len(name) + 18


def sparkline(
    values: Sequence[float | None], *, title: str, threshold: float | None = None, is_root: bool = False
) -> Markup:
    """`values` oldest first, evenly spaced; None leaves a gap. Infinite values are drawn at the top."""
    finite = [value for value in values if value is not None and value != float("inf")]
    top = max([*finite, (threshold or 0.0) * 1.25], default=1.0) or 1.0
    scale = ValueScale(top, SPARK_HEIGHT - _SPARK_MARGIN, _SPARK_MARGIN, is_root)
    step = (SPARK_WIDTH - 2 * _SPARK_MARGIN) / max(1, len(values) - 1)
    parts: list[Markup] = []
    if threshold is not None and threshold > 0:
        parts.append(line(0, scale(threshold), SPARK_WIDTH, scale(threshold), "threshold"))
    for run in runs([(_SPARK_MARGIN + position * step, value) for position, value in enumerate(values)]):
        points = [(x, scale(value)) for x, value in run]
        if len(points) == 1:
            points.append((points[0][0] + 1.0, points[0][1]))  # a path of one point draws nothing
        parts.append(element("path", d=path(points), class_="spark"))
    if values and values[-1] is not None:
        over = threshold is not None and values[-1] > threshold
        parts.append(
            element(
                "circle",
                cx=SPARK_WIDTH - _SPARK_MARGIN,
                cy=scale(values[-1]),
                r=2.5,
                class_="dot over" if over else "dot",
            )
        )
    return chart(SPARK_WIDTH, SPARK_HEIGHT, title, parts, class_="spark")


def runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The unbroken stretches of a line with gaps."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for x, value in points:
        if value is not None:
            stretches[-1].append((x, value))
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]
