"""Charts: what is drawn for which values, and that no text gets out of its place."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from drift_monitor.web.charts.bins import BinBar, bins_chart
from drift_monitor.web.charts.heatmap import Cell, Row, heatmap, step
from drift_monitor.web.charts.svg import element, shortened
from drift_monitor.web.charts.timeline import Band, Line, Point, Threshold, Timeline, runs, sparkline, timeline

START = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = '"><script>alert(1)</script>&{{7*7}}'


def drawn(markup: Markup) -> ElementTree.Element:
    """The chart as XML: it fails where anything is left unescaped or unclosed."""
    return ElementTree.fromstring(str(markup))


def with_class(root: ElementTree.Element, name: str, tag: str | None = None) -> list[ElementTree.Element]:
    found = [one for one in root.iter() if name in one.get("class", "").split()]
    return [one for one in found if tag in (None, one.tag)]


def heights(root: ElementTree.Element, name: str) -> list[float]:
    """Heights of the bars of a class, without the swatch of the legend."""
    return [float(one.get("height", "nan")) for one in with_class(root, name, "rect") if one.find("title") is not None]


def a_bar(label: str = "a", live: float = 0.5, reference: float = 0.25, **others: object) -> BinBar:
    return BinBar(label=label, name=label, live=live, reference=reference, **others)  # type: ignore[arg-type]


def test_text_and_attributes_are_escaped() -> None:
    markup = element("text", HOSTILE, data_note=HOSTILE)

    root = drawn(markup)

    assert (root.text, root.get("data-note")) == (HOSTILE, HOSTILE)
    assert "<script>" not in markup


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")), st.integers(1, 30))
def test_shortened_text_keeps_both_ends_and_its_limit(content: str, length: int) -> None:
    short = shortened(content, length)

    assert len(short) <= length
    assert short == content or ("…" in short and content.startswith(short.partition("…")[0]))


def test_bars_stand_in_the_proportion_of_the_shares() -> None:
    root = drawn(
        bins_chart([a_bar(live=0.4, reference=0.2), a_bar("b", live=0.1, reference=0.4)], title="t", unit="nats")
    )

    live, reference = heights(root, "live"), heights(root, "reference")

    assert live[0] == 4 * live[1]
    assert reference == [live[0] / 2, live[0]]


def test_what_a_bin_adds_points_up_and_what_it_takes_points_down() -> None:
    bar = a_bar(live_reference=0.3, reference_live=-0.1)
    root = drawn(bins_chart([bar], title="t", unit="nats"))

    (up,), (down,) = with_class(root, "forward", "rect")[:1], with_class(root, "backward", "rect")[:1]

    assert float(up.get("y", "nan")) + float(up.get("height", "nan")) == float(down.get("y", "nan"))
    assert heights(root, "forward")[0] == 3 * heights(root, "backward")[0]


def test_empty_reserved_bins_are_left_out_and_others_are_told_apart() -> None:
    bars = [
        a_bar("missing", is_reserved=True),
        a_bar("unseen", live=0.0, reference=0.0, is_reserved=True),
        a_bar("DE"),
        a_bar("FR", live=0.0, reference=0.0),
    ]

    labels = with_class(drawn(bins_chart(bars, title="t", unit="nats")), "bin")

    assert [one.text for one in labels] == ["DE", "FR", "missing"]
    assert ["reserved" in one.get("class", "").split() for one in labels] == [False, False, True]


@given(
    st.lists(
        st.builds(
            BinBar,
            label=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")),
            name=st.just("n"),
            live=st.floats(0, 1),
            reference=st.floats(0, 1),
            live_reference=st.floats(-10, 10),
            reference_live=st.floats(-10, 10),
            is_reserved=st.booleans(),
        ),
        max_size=120,
    )
)
def test_any_bins_are_drawn_inside_the_chart(bars: list[BinBar]) -> None:
    root = drawn(bins_chart(bars, title=HOSTILE, unit="nats"))

    width, height = (float(number) for number in root.get("viewBox", "").split()[2:])
    for one in root.iter("rect"):
        x, y = float(one.get("x", "nan")), float(one.get("y", "nan"))
        assert x >= 0 and x + float(one.get("width", "nan")) <= width + 0.1
        assert y >= 0 and y + float(one.get("height", "nan")) <= height + 0.1


def test_a_line_breaks_where_there_is_no_value() -> None:
    assert runs([(0, 1.0), (1, None), (2, 2.0), (3, 3.0)]) == [[(0, 1.0)], [(2, 2.0), (3, 3.0)]]


def test_a_sparkline_marks_where_it_stands_against_its_threshold() -> None:
    over = drawn(sparkline([0.1, 0.3], title="t", threshold=0.2))
    under = drawn(sparkline([0.3, 0.1], title="t", threshold=0.2))

    assert (len(with_class(over, "over")), len(with_class(under, "over"))) == (1, 0)


@given(st.lists(st.none() | st.floats(0, allow_nan=False), max_size=50), st.none() | st.floats(-1, 1e9))
def test_any_history_makes_a_sparkline(values: list[float | None], threshold: float | None) -> None:
    root = drawn(sparkline(values, title="t", threshold=threshold, is_root=True))

    assert "nan" not in ElementTree.tostring(root, encoding="unicode").lower()


def a_timeline(**changes: object) -> Timeline:
    points = [Point(at=START + hour * HOUR, value=0.1 * hour, low=0.0, high=0.2 * hour) for hour in range(5)]
    values = {
        "title": "t",
        "start": START,
        "end": START + 4 * HOUR,
        "lines": [Line(name="one", style="forward", points=points)],
        **changes,
    }
    return Timeline(**values)  # type: ignore[arg-type]


def test_thresholds_are_drawn_where_their_value_lies_and_named() -> None:
    shown = a_timeline(thresholds=[Threshold(value=0.8, severity="critical", name=HOSTILE)])
    root = drawn(timeline(shown))

    (threshold,) = with_class(root, "threshold")
    highest = min(float(one.get("cy", "nan")) for one in root.iter("circle"))

    assert float(threshold.get("y1", "nan")) < highest, "0.8 lies above 0.4"
    assert HOSTILE in [one.text for one in root.iter("text")]


def test_a_band_covers_its_time_and_an_open_one_reaches_the_end() -> None:
    closed = Band(start=START + HOUR, end=START + 2 * HOUR, severity="warning", name="closed")
    still_open = Band(start=START + 3 * HOUR, end=None, severity="critical", name="open")
    before = Band(start=START - 3 * HOUR, end=START - HOUR, severity="critical", name="before")

    root = drawn(timeline(a_timeline(bands=[closed, still_open, before])))

    bands = {one.findtext("title"): one for one in with_class(root, "band") if one.find("title") is not None}
    assert set(bands) == {"closed", "open"}
    assert bands["closed"].get("width") == bands["open"].get("width")


def test_windows_without_a_value_are_marked_and_break_the_line() -> None:
    points = [Point(at=START + hour * HOUR, value=None if hour == 2 else 1.0) for hour in range(5)]

    root = drawn(timeline(a_timeline(lines=[Line(name="one", style="forward", points=points)])))

    assert len(with_class(root, "gap")) == 1
    assert len([one for one in with_class(root, "line", "path") if "forward" in one.get("class", "")]) == 2


def test_every_window_can_be_selected() -> None:
    points = [Point(at=START + hour * HOUR, value=1.0, href=f"?window={hour}&x=<") for hour in range(3)]

    root = drawn(timeline(a_timeline(lines=[Line(name="one", style="forward", points=points)])))

    assert [one.get("href") for one in root.iter("a")] == [f"?window={hour}&x=<" for hour in range(3)]


def test_levels_of_the_heatmap_are_steps_around_the_threshold() -> None:
    assert [step(level) for level in (None, 0.0, 0.25, 0.5, 1.0, 1.99, 2.0, float("inf"))] == [
        "unmeasured", "step0", "step1", "step2", "step3", "step3", "step4", "step4",
    ]  # fmt: skip


def a_cell(hour: int, level: float | None, *, is_firing: bool = False) -> Cell:
    start = START + hour * HOUR
    return Cell(start=start, end=start + HOUR, level=level, is_firing=is_firing, note=f"{hour}", href=f"?{hour}")


def test_hot_cells_are_links_and_calm_neighbours_one_box() -> None:
    cells = [a_cell(0, 0.1), a_cell(1, 0.1), a_cell(2, 1.5, is_firing=True), a_cell(3, None), a_cell(4, 3.0)]
    rows = [Row(name=HOSTILE, href="f", cells=cells)]

    root = drawn(heatmap(rows, start=START, end=START + 5 * HOUR, title="t"))

    cells_drawn = [one for one in with_class(root, "cell") if float(one.get("height", "nan")) > 15]
    assert len(cells_drawn) == 4
    assert {"?2", "?4"} <= {one.get("href") for one in root.iter("a")}
    assert len([one for one in with_class(root, "firing") if float(one.get("y", "nan")) > 30]) == 1
    assert [one.text for one in with_class(root, "name")] == [shortened(HOSTILE, 22)]


def test_each_chart_says_what_it_shows() -> None:
    for markup in (
        bins_chart([a_bar()], title=HOSTILE, unit="nats"),
        sparkline([1.0], title=HOSTILE),
        timeline(a_timeline(title=HOSTILE)),
        heatmap([], start=START, end=START + HOUR, title=HOSTILE),
    ):
        root = drawn(markup)
        assert root.get("role") == "img"
        assert root.get("aria-label") == HOSTILE
        assert root.findtext("title") == HOSTILE
        assert not [one for one in root.iter() if one.get("style")], "style attributes are against the policy"
