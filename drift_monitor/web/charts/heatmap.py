"""Features by time: how near each feature came to its alert threshold, worst first.

A cell's class says the share of the threshold in five steps, `unmeasured` is hatched, and a firing alert is a bar at
the foot of the cell, so nothing rests on colour alone. Calm neighbours are drawn as one, hot cells are links.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from markupsafe import Markup

from drift_monitor.web.charts.svg import CHARACTER_WIDTH, TimeScale, chart, element, line, rect, shortened, text

WIDTH = 960.0
_ROW, _TOP, _BOTTOM, _RIGHT = 22.0, 34.0, 26.0, 8.0
_LABEL = 22  # characters of a feature's name
STEPS = (0.25, 0.5, 1.0, 2.0)  # shares of the threshold at which a darker step begins
_STEP_NAMES = ("under ¼", "¼ to ½", "½ to 1", "1 to 2", "over 2 × threshold")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One feature in one stretch of time. `level`: share of the threshold, None: not measured.

    `note` and `href` are what hovering says and where a click leads, where `is_linked` says so.
    """

    start: datetime
    end: datetime
    level: float | None
    is_firing: bool
    note: str
    href: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One feature."""

    name: str
    href: str
    cells: Sequence[Cell]


def heatmap(rows: Sequence[Row], *, start: datetime, end: datetime, title: str) -> Markup:
    """The chart as SVG; cells outside [start, end] are drawn at its edges."""
    left = 16 + CHARACTER_WIDTH * 1.25 * min(_LABEL, max((len(row.name) for row in rows), default=0))
    height = _TOP + _ROW * len(rows) + _BOTTOM
    times = TimeScale(start, end, left, WIDTH - _RIGHT)
    parts = list(_legend(left))
    for at, label in times.ticks():
        parts.append(line(times(at), _TOP - 2, times(at), height - _BOTTOM + 4, "grid"))
        anchor = "middle" if times(at) < WIDTH - _RIGHT - 20 else "end"  # the last one would be cut at the edge
        parts.append(text(times(at), height - _BOTTOM + 18, label, "tick", anchor=anchor))
    for position, row in enumerate(rows):
        y = _TOP + position * _ROW
        name = text(left - 8, y + 15, shortened(row.name, _LABEL), "name", anchor="end")
        parts.append(element("a", element("title", row.name), name, href=row.href))
        parts.extend(_cells(row.cells, times, y))
    return chart(WIDTH, height, title, parts)


def step(level: float | None) -> str:
    """The class of a level."""
    return "unmeasured" if level is None else f"step{sum(level >= bound for bound in STEPS)}"


def is_linked(level: float | None) -> bool:
    """Whether a cell of this level leads to its window: from half of the threshold on, or where there is no value."""
    return level is None or level >= STEPS[1]


def _cells(cells: Sequence[Cell], times: TimeScale, y: float) -> Iterator[Markup]:
    for (style, is_firing), group in groupby(cells, key=lambda cell: (step(cell.level), cell.is_firing)):
        neighbours = list(group)
        is_calm = style in ("step0", "step1", "unmeasured") and not is_firing
        for run in [neighbours] if is_calm else [[cell] for cell in neighbours]:
            x, right = times(run[0].start), times(run[-1].end)
            boxes = [rect(x, y + 1, right - x, _ROW - 2, f"cell {style}")]
            if is_firing:
                boxes.append(rect(x, y + _ROW - 5, right - x, 4, "firing"))
            if len(run) == 1 and is_linked(run[0].level):
                yield element("a", element("title", run[0].note), *boxes, href=run[0].href, tabindex=-1)
            else:
                yield from boxes


def _legend(left: float) -> Iterator[Markup]:
    x = left
    entries = [(f"step{number}", name) for number, name in enumerate(_STEP_NAMES)]
    for style, name in (*entries, ("unmeasured", "not measured"), ("firing", "alert fires")):
        is_bar = style == "firing"
        yield rect(x, 13 if is_bar else 6, 16, 4 if is_bar else 11, style if is_bar else f"cell {style}")
        yield text(x + 21, 15, name, "legend")
        x += 21 + CHARACTER_WIDTH * len(name) + 14
