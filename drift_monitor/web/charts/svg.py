"""What charts are made of: SVG elements, scales from values to places, and the values worth a tick.

Whatever enters as text or attribute is escaped. Divergences use a square root: they grow with the square of a shift, so
equal steps of the axis are about equal shifts, and a threshold of 0.05 stays readable beside a value of 5.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup, escape

CHARACTER_WIDTH: Final = 6.4  # of the chart's 12 unit font, on average
_STEPS = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 2688, 8064))
_EPOCH = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday, so that weekly ticks are Mondays
_MIN_GAP = 24.0  # between two ticks of a value axis
_DAY = timedelta(days=1)


def element(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element. `class_` is `class`, underscores become hyphens, None leaves an attribute out."""
    # Joined as plain text: formatting each attribute as markup was half of the time of a page with many charts.
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(map(escape, children))}</{name}>")  # noqa: S704 - escaped above


def chart(width: float, height: float, title: str, parts: Iterable[Markup], class_: str = "chart") -> Markup:
    """A whole picture; `title` is what a screen reader says."""
    return element(
        "svg",
        element("title", title),
        *parts,
        class_=class_,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, title: str | None = None) -> Markup:
    """A box; sizes are never negative."""
    children = () if title is None else (element("title", title),)
    return element("rect", *children, x=x, y=y, width=max(0.0, width), height=max(0.0, height), class_=class_)


def text(x: float, y: float, content: str, class_: str, *, anchor: str | None = None, angle: float = 0) -> Markup:
    """A line of text; `angle` turns it around its start."""
    transform = f"rotate({number(angle)} {number(x)} {number(y)})" if angle else None
    return element("text", content, x=x, y=y, class_=class_, text_anchor=anchor, transform=transform)


def shortened(content: str, length: int) -> str:
    """The text, cut in the middle where it is too long to draw."""
    if len(content) <= length:
        return content
    head = length // 2
    return f"{content[:head]}…{content[len(content) - (length - 1 - head) :]}"


def path(points: Iterable[tuple[float, float]]) -> str:
    """The `d` of a line through the points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def number(value: object) -> str:
    """A coordinate to a hundredth, which nobody can tell from the exact one; anything else as it is."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


@dataclass(frozen=True)
class ValueScale:
    """[0, top] onto [bottom_y, top_y]; y grows downwards."""

    top: float
    bottom_y: float
    top_y: float
    is_root: bool

    def __call__(self, value: float) -> float:
        """The place of a value; what lies outside is drawn at the edge."""
        share = min(max(value / self.top, 0.0), 1.0) if self.top > 0 else 0.0
        share = math.sqrt(share) if self.is_root else share
        return self.bottom_y + share * (self.top_y - self.bottom_y)

    def ticks(self) -> tuple[float, ...]:
        """0 and round values, far enough apart to be read."""
        if self.top <= 0 or not math.isfinite(self.top):
            return (0.0,)
        magnitude = math.floor(math.log10(self.top))
        if self.is_root:
            # The largest first: small values crowd at the foot, and give way.
            candidates = [digit * 10.0**power for power in range(magnitude, magnitude - 3, -1) for digit in (5, 2, 1)]
        else:
            steps = (digit * 10.0**power for power in range(magnitude - 1, magnitude + 2) for digit in (1, 2, 5))
            step = next(step for step in steps if self.top / step <= 5)
            candidates = [step * count for count in range(1, 6)]
        chosen = [0.0]
        for value in candidates:
            if value <= self.top and all(abs(self(value) - self(other)) >= _MIN_GAP for other in chosen):
                chosen.append(value)
        return tuple(sorted(chosen))


@dataclass(frozen=True)
class TimeScale:
    """[start, end] onto [left, right]."""

    start: datetime
    end: datetime
    left: float
    right: float

    def __call__(self, at: datetime) -> float:
        """The place of a moment; what lies outside is drawn at the edge."""
        whole = max(self.end - self.start, timedelta(seconds=1))
        share = min(max((at - self.start) / whole, 0.0), 1.0)
        return self.left + share * (self.right - self.left)

    def ticks(self, most: int = 8) -> Sequence[tuple[datetime, str]]:
        """At most about so many round moments (UTC) with their labels."""
        length = self.end - self.start
        step = next((step for step in _STEPS if length / step <= most), _STEPS[-1])
        at = _EPOCH + math.ceil((self.start - _EPOCH) / step) * step
        ticks = []
        while at <= self.end:
            is_midnight = (at - _EPOCH) % _DAY == timedelta(0)
            ticks.append((at, f"{at.day} {at:%b}" if is_midnight else f"{at:%H:%M}"))
            at += step
        return ticks
