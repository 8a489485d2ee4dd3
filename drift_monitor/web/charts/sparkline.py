"""A history the size of a word: one line, its threshold, a dot where it stands now."""

from collections.abc import Sequence

from markupsafe import Markup

from drift_monitor.web.charts.scales import ValueScale
from drift_monitor.web.charts.svg import chart, element, line, path

WIDTH, HEIGHT = 120.0, 30.0
_MARGIN = 3.0


def sparkline(
    values: Sequence[float | None], *, title: str, threshold: float | None = None, is_root: bool = False
) -> Markup:
    """`values` oldest first, evenly spaced; None leaves a gap. Infinite values are drawn at the top."""
    known = [value for value in values if value is not None]
    finite = [value for value in known if value != float("inf")]
    top = max([*finite, (threshold or 0.0) * 1.25], default=1.0) or 1.0
    scale = ValueScale(top, HEIGHT - _MARGIN, _MARGIN, is_root)
    step = (WIDTH - 2 * _MARGIN) / max(1, len(values) - 1)
    parts: list[Markup] = []
    if threshold is not None and threshold > 0:
        parts.append(line(0, scale(threshold), WIDTH, scale(threshold), "threshold"))
    for run in runs([(_MARGIN + position * step, value) for position, value in enumerate(values)]):
        points = [(x, scale(value)) for x, value in run]
        if len(points) == 1:
            points.append((points[0][0] + 1.0, points[0][1]))
        parts.append(element("path", d=path(points), class_="spark"))
    if values and values[-1] is not None:
        over = threshold is not None and values[-1] > threshold
        parts.append(
            element("circle", cx=WIDTH - _MARGIN, cy=scale(values[-1]), r=2.5, class_="dot over" if over else "dot")
        )
    return chart(WIDTH, HEIGHT, title, parts, class_="spark")


def runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The unbroken stretches of a line with gaps."""
    found: list[list[tuple[float, float]]] = []
    broken = True
    for x, value in points:
        if value is None:
            broken = True
            continue
        if broken:
            found.append([])
        found[-1].append((x, value))
        broken = False
    return found
