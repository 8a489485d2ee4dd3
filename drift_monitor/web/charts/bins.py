"""Live over reference, bin by bin, with what each bin adds to either divergence below.

      ┌──┐
      │██│  ┌──┐        wide and pale: share of the reference; narrow and strong: share of live
    ──┴██┴──┴█─┴──
      ▇          contribution to KL(live‖reference): up where live has more
    ──▇─▂─────────
        ▂▅       contribution to KL(reference‖live): up where live has less

Reserved bins (missing, unseen, ...) stand apart at the right, hatched, with their names in italics. Reserved bins that
are empty on both sides are not drawn; the table beside the chart has every bin.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from drift_monitor.web.charts.svg import CHARACTER_WIDTH, chart, line, rect, shortened, text

MIN_WIDTH = 960.0
_LEFT, _RIGHT, _GAP = 64.0, 12.0, 14.0
_SHARES_TOP, _SHARES_HEIGHT = 34.0, 180.0
_CONTRIBUTIONS_TOP, _CONTRIBUTIONS_HEIGHT = 244.0, 92.0
_MIN_TICK_GAP = 14.0
_BOLD_WIDTH = 1.15 * CHARACTER_WIDTH
_NARROWEST = 15.0  # a slot one can still point at
_LABEL = 18  # characters of a bin's name
_ANGLE = -58.0  # of labels that don't fit beside each other
_TILT = 0.85  # the sine of it


@dataclass(frozen=True, kw_only=True)
class BinBar:
    """One bin: its shares (0 to 1) and what it adds to both divergences, in the unit of the page."""

    label: str  # below the bin
    name: str  # in full, for those who hover
    live: float
    reference: float
    live_reference: float = 0.0
    reference_live: float = 0.0
    is_reserved: bool = False
    is_top: bool = False  # among the bins that moved most

    @property
    def is_empty(self) -> bool:
        return self.live == 0 and self.reference == 0


def bins_chart(bars: Sequence[BinBar], *, title: str, unit: str) -> Markup:
    """The chart as SVG; `unit` names the contributions."""
    shown = sorted((bar for bar in bars if not (bar.is_reserved and bar.is_empty)), key=lambda bar: bar.is_reserved)
    has_gap = any(bar.is_reserved for bar in shown) and not all(bar.is_reserved for bar in shown)
    width = max(MIN_WIDTH, _LEFT + _RIGHT + _GAP + _NARROWEST * len(shown))
    slot = (width - _LEFT - _RIGHT - _GAP * has_gap) / max(1, len(shown))
    longest = _BOLD_WIDTH * max((min(len(bar.label), _LABEL) for bar in shown), default=0)
    is_tilted = longest > slot
    places = [
        (_LEFT + position * slot + _GAP * (bar.is_reserved and has_gap), bar) for position, bar in enumerate(shown)
    ]
    parts = [
        *_share_axis(shown, width),
        *_contribution_axis(shown, width, unit),
        *(part for x, bar in places for part in _bar(bar, x, slot, shown)),
        *(_label(bar, x + slot / 2, is_tilted=is_tilted) for x, bar in places),
        *_legend(),
    ]
    height = _CONTRIBUTIONS_TOP + _CONTRIBUTIONS_HEIGHT + (24 + _TILT * longest if is_tilted else 30)
    return chart(width, height, title, parts, class_="chart bins")


def _bar(bar: BinBar, x: float, slot: float, shown: Sequence[BinBar]) -> Iterator[Markup]:
    top = _top_share(shown)
    base = _SHARES_TOP + _SHARES_HEIGHT
    note = f"{bar.name}: reference {bar.reference:.2%}, live {bar.live:.2%}"
    kind = " reserved" if bar.is_reserved else ""
    for share, style, width in ((bar.reference, "reference", 0.86), (bar.live, "live", 0.46)):
        height = _SHARES_HEIGHT * share / top
        yield rect(x + slot * (1 - width) / 2, base - height, slot * width, height, f"{style}{kind}", note)
    scale = _contribution_scale(shown)
    pairs = ((bar.live_reference, "forward", 0.12), (bar.reference_live, "backward", 0.52))
    for value, style, offset in pairs:
        y, foot = sorted((scale(value), scale(0.0)))
        yield rect(x + slot * offset, y, slot * 0.36, foot - y, style, f"{bar.name}: {value:+.4f}")


def _label(bar: BinBar, x: float, *, is_tilted: bool) -> Markup:
    style = "bin" + (" reserved" if bar.is_reserved else "") + (" top" if bar.is_top else "")
    y = _CONTRIBUTIONS_TOP + _CONTRIBUTIONS_HEIGHT + 16
    content = shortened(bar.label, _LABEL)
    if is_tilted:
        return text(x + 4, y - 4, content, style, anchor="end", angle=_ANGLE)
    return text(x, y, content, style, anchor="middle")


def _share_axis(shown: Sequence[BinBar], width: float) -> Iterator[Markup]:
    top = _top_share(shown)
    for part in (0.0, 0.5, 1.0):
        y = _SHARES_TOP + _SHARES_HEIGHT * (1 - part)
        yield line(_LEFT, y, width - _RIGHT, y, "axis" if part == 0 else "grid")
        yield text(_LEFT - 8, y + 4, f"{100 * top * part:.3g} %", "tick", anchor="end")


def _contribution_axis(shown: Sequence[BinBar], width: float, unit: str) -> Iterator[Markup]:
    scale = _contribution_scale(shown)
    for value in (scale.most, 0.0, scale.least):
        if value and abs(scale(value) - scale(0.0)) < _MIN_TICK_GAP:
            continue
        yield line(_LEFT, scale(value), width - _RIGHT, scale(value), "axis" if value == 0 else "grid")
        yield text(_LEFT - 8, scale(value) + 4, f"{value:.2g}".replace("-", "−"), "tick", anchor="end")
    yield text(_LEFT, _CONTRIBUTIONS_TOP - 10, f"added to each divergence, {unit}", "legend")


@dataclass(frozen=True)
class _Contributions:
    """[least, most] around zero, onto the lower panel."""

    least: float
    most: float

    def __call__(self, value: float) -> float:
        share = (value - self.least) / (self.most - self.least)
        return _CONTRIBUTIONS_TOP + _CONTRIBUTIONS_HEIGHT * (1.0 - min(max(share, 0.0), 1.0))


def _contribution_scale(shown: Sequence[BinBar]) -> _Contributions:
    numbers = [number for bar in shown for number in (bar.live_reference, bar.reference_live)]
    most = max([0.0, *numbers]) or 1.0
    return _Contributions(min([0.0, *numbers]), most)


def _legend() -> Iterator[Markup]:
    entries = (
        ("reference", "share of the reference", 160.0),
        ("live", "share of live", 110.0),
        ("forward", "adds to KL(live‖reference)", 190.0),
        ("backward", "adds to KL(reference‖live)", 190.0),
    )
    x = _LEFT
    for style, name, width in entries:
        yield rect(x, 6, 14, 11, style)
        yield text(x + 20, 16, name, "legend")
        x += width + 20


def _top_share(shown: Sequence[BinBar]) -> float:
    """A round share above every bar."""
    most = max((max(bar.live, bar.reference) for bar in shown), default=0.0)
    return next((share for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8) if share >= most), 1.0)
