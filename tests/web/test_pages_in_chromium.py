"""Pages in a real browser: no complaints, no sideways scrolling on a phone, readable in light and dark."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from drift_monitor.alerting.self_monitoring import check_monitors
from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import acknowledge_alert, add_silence
from drift_monitor.core.bins import CategoricalBins, NumericBins, ValueType
from drift_monitor.core.divergence import Metric
from drift_monitor.core.matching import Matcher, Operator
from drift_monitor.core.rules import Severity
from drift_monitor.store import alerts, outbox
from drift_monitor.store.outbox import Delivery, DeliveryOutcome
from drift_monitor.web.pages.routes import page_routes
from tests.web import hostile
from tests.web.browser import Browser, Page, chromium_path
from tests.web.filled import HOUR, Counted, a_monitor, a_rule, evaluate, open_store, postpone
from tests.web.serving import serving
from tests.web.snapshots import NOON

pytestmark = pytest.mark.processes

AGES = NumericBins((0, 18, 25, 35, 50, 65, 80), ValueType.INTEGER)
LABELS = CategoricalBins(hostile.NAMES)
RULES = (a_rule(Metric.KL_LIVE_REFERENCE, 0.05), a_rule(Metric.PSI, 0.25, Severity.CRITICAL), a_rule(Metric.ROWS, 1e9))
NAMES = ("age", *hostile.NAMES)
WATCHED = a_monitor("loans", NAMES, rules=RULES)
FAILING = a_monitor("a-monitor-with-a-rather-long-name.for-all-customers:eu-west", rules=RULES)
QUIET = Counted(AGES, (0, 10, 30, 200, 500, 200, 60, 0, 0, 0), (0, 12, 28, 210, 490, 205, 55, 0, 0, 0))
MOVED = Counted(AGES, (0, 10, 30, 100, 200, 200, 260, 150, 0, 50), (0, 12, 28, 210, 490, 205, 55, 0, 0, 0))
COUNT = len(hostile.NAMES)
DRIFTED = Counted(LABELS, (1000, *(0,) * (COUNT - 1), 0, 500, 0), (*(100,) * COUNT, 0, 0, 0))
SAME = Counted(LABELS, (*(100,) * COUNT, 0, 0, 0), (*(100,) * COUNT, 0, 0, 0))

PATHS = {
    "overview": "/",
    "monitor": "/monitors/loans",
    "feature": "/monitors/loans/features/age",
    "hostile": f"/monitors/loans/features/{quote(hostile.IMAGE, safe='')}?units=bits",
    "long": f"/monitors/loans/features/{quote(hostile.LONG, safe='')}",
    "earlier": "/monitors/loans/features/age?window_end=2026-11-20T08:00:00Z&days=30",
    "failing": f"/monitors/{FAILING.name}",
    "missing": f"/monitors/{hostile.LONG[:500]}",
}
SIZES = {"desk": (1280, 900, False), "phone": (390, 844, False), "dark": (1280, 900, True)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(chromium_path()) as one:
        yield one


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with quiet, drifting, failing and hostile features."""
    services = open_store(tmp_path_factory.mktemp("store"), WATCHED, FAILING)
    for hours in range(6, -1, -1):
        calm = hours > 2
        counted = dict.fromkeys(hostile.NAMES, SAME if calm else DRIFTED) | {"age": QUIET if calm else MOVED}
        evaluate(services, WATCHED, NOON - hours * HOUR, counted)
    postpone(services, FAILING, NOON, "unreachable", f"source {hostile.SCRIPT}: " + "connection refused, " * 30)
    _say_much(services)
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        yield service.url
    services.store.close()


def _say_much(services: Services) -> None:
    """Silences and acknowledgements in hostile words, alerts about monitors, a notification that was given up."""
    store, words = services.store, (hostile.SCRIPT, "x" * 2000, "y" * 1900)
    for feature in ("", hostile.SCRIPT, "z" * 900):
        matchers = [Matcher(name="monitor", operator=Operator.EQUAL, value="loans")]
        matchers += [Matcher(name="feature", operator=Operator.NOT_EQUAL, value=feature)]
        add_silence(store, matchers, duration=HOUR, author=words[0], comment=words[1])
    check_monitors(services, NOON - 9 * HOUR)
    with store.read() as conn:
        ids = [one.id for one in alerts.open_episodes(conn)]
    for id in ids[::2]:
        acknowledge_alert(store, id, author=words[2], comment=words[0])
    claimed = store.transact(lambda conn: outbox.claim(conn, "test", HOUR))
    assert claimed is not None
    dead = Delivery(outcome=DeliveryOutcome.DEAD, error=f"{hostile.SCRIPT} {words[1]}")
    assert store.transact(lambda conn: outbox.settle(conn, claimed, dead))


def opened(browser: Browser, address: str, path: str, size: str) -> Page:
    width, height, dark = SIZES[size]
    return browser.open(f"{address}{PATHS[path]}", width=width, height=height, dark=dark)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", [path for path in PATHS if path != "missing"])
def test_browser_has_nothing_to_complain_about(browser: Browser, address: str, path: str, size: str) -> None:
    assert opened(browser, address, path, size).complaints == []


def test_a_style_attribute_would_be_noticed(browser: Browser, address: str) -> None:
    page = opened(browser, address, "overview", "desk")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')")

    page.wait_for_complaint("style")


@pytest.mark.parametrize("path", PATHS)
def test_no_page_scrolls_sideways_on_a_phone(browser: Browser, address: str, path: str) -> None:
    page = opened(browser, address, path, "phone")

    assert page.evaluate("window.innerWidth") == 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_hostile_names_neither_run_nor_make_elements(browser: Browser, address: str) -> None:
    page = opened(browser, address, "hostile", "desk")

    assert page.evaluate("document.querySelector('h1 .subject').textContent") == hostile.IMAGE
    assert page.evaluate("document.querySelectorAll('script, img, iframe, [onerror], [style]').length") == 0


def test_a_template_in_a_name_is_shown_as_it_is(browser: Browser, address: str) -> None:
    text = opened(browser, address, "monitor", "desk").evaluate("document.body.textContent")

    assert hostile.TEMPLATE in text and hostile.SCRIPT in text


# The smallest contrast of any text with the ground behind it, as WCAG 2 computes it, with the text itself.
_CONTRAST = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const c = channels(getComputedStyle(element).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || ["title", "option", "desc"].includes(element.localName)) continue;
    const style = getComputedStyle(element);
    const ink = channels(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [luminance(ink), luminance(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 200)];
  }
  return worst;
})()
"""


@pytest.mark.parametrize("size", ["desk", "dark"])
@pytest.mark.parametrize("path", ["overview", "monitor", "feature"])
def test_text_stands_out_from_its_ground(browser: Browser, address: str, path: str, size: str) -> None:
    ratio, where = opened(browser, address, path, size).evaluate(_CONTRAST)

    assert ratio >= 4.5, where


def test_dark_pages_are_dark(browser: Browser, address: str) -> None:
    grounds = [
        opened(browser, address, "overview", size).evaluate("getComputedStyle(document.body).backgroundColor")
        for size in ("desk", "dark")
    ]

    assert grounds == ["rgb(247, 248, 249)", "rgb(18, 23, 28)"]


def test_charts_are_drawn_with_the_style_sheet(browser: Browser, address: str) -> None:
    page = opened(browser, address, "feature", "desk")

    heights = page.evaluate("[...document.querySelectorAll('rect.live')].map((e) => e.getBoundingClientRect().height)")
    fill = page.evaluate("getComputedStyle(document.querySelector('rect.live')).fill")

    assert max(heights) > 100
    assert fill == "rgb(13, 110, 110)"


def test_tables_have_headers_and_every_chart_a_name(browser: Browser, address: str) -> None:
    page = opened(browser, address, "monitor", "desk")

    assert page.evaluate("[...document.querySelectorAll('table')].every((t) => t.querySelector('th[scope=col]'))")
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every((s) => s.role === 'img' && s.getAttribute('aria-label'))"
    )


def test_a_hot_cell_leads_to_its_window(browser: Browser, address: str) -> None:
    page = opened(browser, address, "monitor", "desk")

    href = page.evaluate("document.querySelector('svg a .cell.step4').parentElement.href.baseVal")
    text = browser.open(f"{address}/monitors/{href.removeprefix('../monitors/')}").evaluate("document.body.innerText")

    assert "Live over reference" in text


def test_pages_can_be_looked_at(browser: Browser, address: str, tmp_path: Path) -> None:
    picture = opened(browser, address, "feature", "desk").screenshot(tmp_path / "feature.png")

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000, "an empty page is smaller"
