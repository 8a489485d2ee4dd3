"""The few SVG elements the charts are made of; whatever enters as text or attribute is escaped."""

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

CHARACTER_WIDTH: Final = 6.4  # of the chart's 12 unit font, on average


def element(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element. `class_` is `class`, underscores become hyphens, None leaves an attribute out."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(children)  # escapes whatever is no markup yet
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, inside)


def chart(width: float, height: float, title: str, parts: Iterable[Markup], class_: str = "chart") -> Markup:
    """A whole picture; `title` is what a screen reader says."""
    return element(
        "svg",
        element("title", title),
        *parts,
        class_=class_,
        viewBox=f"0 0 {_value(width)} {_value(height)}",
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
    transform = f"rotate({_value(angle)} {_value(x)} {_value(y)})" if angle else None
    return element("text", content, x=x, y=y, class_=class_, text_anchor=anchor, transform=transform)


def shortened(content: str, length: int) -> str:
    """The text, cut in the middle where it is too long to draw."""
    if len(content) <= length:
        return content
    head = length // 2
    return f"{content[:head]}…{content[len(content) - (length - 1 - head) :]}"


def path(points: Iterable[tuple[float, float]]) -> str:
    """The `d` of a line through the points."""
    return "M" + "L".join(f"{_value(x)} {_value(y)}" for x, y in points)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
