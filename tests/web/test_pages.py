"""Pages: what a person finds on them, and that nothing in a watched table can change what they are."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest

from drift_monitor.alerting.services import PastProgress, Services
from drift_monitor.core.bins import CategoricalBins, NumericBins, ValueType
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Severity
from drift_monitor.errors import StoreUnavailable
from drift_monitor.store import leases, outbox, runs
from drift_monitor.web.pages.routes import page_routes
from tests.web import hostile
from tests.web.filled import HOUR, Counted, a_monitor, a_rule, evaluate, filled, hold, open_store, postpone
from tests.web.markup import Element, parse
from tests.web.serving import Service, serving
from tests.web.snapshots import NOON

AGES = NumericBins((0, 18, 65), ValueType.INTEGER)
COUNTRIES = CategoricalBins(("DE", "FR", "IT"))
RULES = (a_rule(Metric.PSI, 0.1), a_rule(Metric.PSI, 0.25, Severity.CRITICAL), a_rule(Metric.UNSEEN_RATIO, 0.05))
LOANS = a_monitor("loans", ("age", "country", "score"), rules=RULES)
QUIET = Counted(AGES, (0, 500, 500, 0, 0, 0), (0, 500, 500, 0, 0, 0))
SAME = Counted(COUNTRIES, (500, 300, 200, 0, 0, 0), (500, 300, 200, 0, 0, 0))
NEW_LABELS = Counted(COUNTRIES, (250, 150, 100, 0, 500, 0), (500, 300, 200, 0, 0, 0))
TOO_FEW = Counted(AGES, (0, 3, 4, 0, 0, 0), (0, 500, 500, 0, 0, 0))


class Visitor:
    """A browser without scripts: fetches pages, checks that each of them is sound."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def get(self, path: str, status: int = 200) -> Element:
        found, text, content_type = self.fetch(urljoin(self.service.url, path))
        assert found == status, text
        assert content_type == "text/html; charset=utf-8"
        return sound(text)

    def fetch(self, url: str) -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(url, timeout=120) as answer:
                return answer.status, answer.read().decode(), answer.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers["Content-Type"]


def sound(text: str) -> Element:
    """The page, if nothing in it could run, load or lead anywhere else."""
    page = parse(text)
    for element in page.all():
        assert element.name not in {"script", "img", "iframe", "object", "base", "style"}
        for name, value in element.attributes.items():
            assert name != "style" and not name.startswith("on"), f"{name}={value!r}"
            if name in {"href", "src", "action"}:
                assert not re.match(r"\s*(javascript|data|https?):|//", value), f"{name}={value!r}"
    return page


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Six quiet windows, then new labels in `country` for two, and too few rows of `age` in the last."""
    windows = {NOON - hours * HOUR: {"age": QUIET, "country": SAME} for hours in range(8, 1, -1)}
    windows[NOON - HOUR] = {"age": QUIET, "country": NEW_LABELS}
    windows[NOON] = {"age": TOO_FEW, "country": NEW_LABELS}
    opened = filled(tmp_path, LOANS, windows)
    opened.clock.moment = NOON + timedelta(minutes=6)  # type: ignore[attr-defined]
    yield opened
    opened.store.close()


@pytest.fixture
def visitor(services: Services) -> Iterator[Visitor]:
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        yield Visitor(service)


def row_text(row: Element) -> str:
    return " ".join(cell.text for cell in row.children)


def rows_of(page: Element, heading: str) -> dict[str, str]:
    """The table below a heading: text of its row headers to text of the rows."""
    section = next(one for one in page.all("section") if heading in one.one("h2").text)
    rows = section.one("tbody").all("tr")
    return {" ".join(row.one("th").text.split()): " ".join(row_text(row).split()) for row in rows}


def feature_path(feature: str, monitor: str = "loans") -> str:
    return f"/monitors/{monitor}/features/{quote(feature, safe='')}"


def test_overview_says_first_what_fires_and_for_how_long(visitor: Visitor) -> None:
    page = visitor.get("/")

    # It fired with the window that ended at 11:00; it is 12:06.
    assert page.one("h1").text == "country of loans has been firing for 1 h 6 min."


def test_a_past_that_fills_in_is_shown_with_how_far_it_is_and_the_page_renews_itself_often(
    services: Services, visitor: Visitor
) -> None:
    assert [meta.attributes.get("content") for meta in visitor.get("/").all("meta")].count("60") == 1

    services.past["loans"] = PastProgress(done=120, total=400, window_end=NOON)
    page = visitor.get("/")

    (notice,) = [element for element in page.all("p") if element.attributes.get("role") == "status"]
    assert " ".join(notice.text.split()) == (
        "The past of loans is being evaluated: 120 of 400 windows, up to 2026-11-20 12:00 UTC."
    )
    assert {"value": "120", "max": "400"}.items() <= notice.one("progress").attributes.items()
    assert "3" in [meta.attributes.get("content") for meta in page.all("meta")]


def test_firing_table_says_how_much_against_what_and_which_bins(visitor: Visitor) -> None:
    (row,) = rows_of(visitor.get("/"), "Firing now").values()

    assert "critical" in row and "country" in row
    assert "2026-11-20 11:00 UTC" in row
    assert re.search(r"PSI \d\.\d+ \(95 %: \d\.\d+ to \d\.\d+\) lower bound above 0\.25", row)
    assert "unseen values 50 % above 5 %" in row
    assert "labels the reference never had 0 % → 50 %" in row
    assert "new values" in row


def test_monitors_show_their_health_and_their_next_evaluation(visitor: Visitor) -> None:
    row = rows_of(visitor.get("/"), "Monitors")["loans"]

    assert "ok" in row and "1 critical" in row and "1 unmeasured" in row
    assert "2026-11-20 12:00 UTC" in row


def test_features_come_worst_first_and_say_why_they_have_no_value(visitor: Visitor) -> None:
    features = rows_of(visitor.get("/"), "Features of loans")

    assert list(features) == ["country", "age", "score"]
    assert "critical" in features["country"]
    assert "too few rows to compare" in features["age"]
    assert "no value yet" in features["score"]


def test_nothing_fires_is_said_in_so_many_words(tmp_path: Path) -> None:
    services = open_store(tmp_path, LOANS)
    evaluate(services, LOANS, NOON, {"age": QUIET})
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        page = Visitor(service).get("/")

    assert page.one("h1").text == "Nothing fires."
    assert not [one for one in page.all("h2") if "Firing" in one.text]


def test_a_monitor_that_fails_says_so_beside_its_alerts(services: Services, visitor: Visitor) -> None:
    postpone(services, LOANS, NOON + HOUR, "unreachable", "source warehouse: connection refused <here>")

    page = visitor.get("/")

    assert "source warehouse: connection refused <here>" in rows_of(page, "Monitors")["loans"]
    assert any("can't be evaluated" in one.text for one in page.all("p", "notice"))
    assert "country" in page.one("h1").text, "the alert fires on"


def test_a_monitor_without_news_for_three_intervals_is_stale(services: Services, visitor: Visitor) -> None:
    services.clock.moment = NOON + 4 * HOUR  # type: ignore[attr-defined]

    assert "stale" in rows_of(visitor.get("/"), "Monitors")["loans"]


def test_waiting_and_dead_notifications_are_counted(services: Services, visitor: Visitor) -> None:
    before = rows_of(visitor.get("/"), "Notifications")["log"]
    assert before.split() == ["log", "log", "1", "6", "min", "ago", "0", "0", "0"]
    claimed = services.store.transact(lambda conn: outbox.claim(conn, "test", HOUR))
    assert claimed is not None
    services.store.transact(
        lambda conn: outbox.settle(conn, claimed, outbox.Delivery(outcome=outbox.DeliveryOutcome.DEAD, error="gone"))
    )

    assert rows_of(visitor.get("/"), "Notifications")["log"].split() == ["log", "log", "0", "–", "1", "0", "0"]


def test_a_refused_reload_is_a_banner(services: Services, visitor: Visitor) -> None:
    assert not visitor.get("/").all("p", "notice")
    services.telemetry.config_refused()

    assert "refused" in visitor.get("/").one("p", "notice").text


def test_monitor_page_shows_skipped_and_failed_windows_with_their_reasons(services: Services, visitor: Visitor) -> None:
    def skip(conn: object) -> None:
        planned = runs.PlannedRun(
            monitor="loans",
            window_start=NOON + 10 * HOUR,
            window_end=NOON + 34 * HOUR,
            next_at=NOON,
            config_hash=LOANS.hash,
        )
        runs.skip(conn, [planned], "downtime: older than catch_up 24 windows")  # type: ignore[arg-type]

    services.store.transact(skip)
    claim = hold(services, LOANS, NOON + HOUR)
    services.store.transact(lambda conn: leases.fail(conn, claim, error_code="internal", error="KeyError: 'x'"))

    evaluations = rows_of(visitor.get("/monitors/loans"), "Evaluations")

    assert "downtime: older than catch_up 24 windows" in evaluations["2026-11-21 22:00 UTC"]
    assert "KeyError: 'x'" in evaluations["2026-11-20 13:00 UTC"]
    assert "done" in evaluations["2026-11-20 12:00 UTC"]


def test_monitor_page_shows_its_episodes_and_its_heatmap(visitor: Visitor) -> None:
    page = visitor.get("/monitors/loans")

    assert "still firing" in rows_of(page, "Episodes")["country"]
    names = [one.text for one in page.one("svg", "chart").all("text", "name")]
    assert names == ["country", "age", "score"]


MANY = tuple(f"column_{number:03}" for number in range(120))
WIDE = a_monitor("wide", (*MANY, "Umsatz_Straße"), rules=RULES)


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[Visitor]:
    """121 features over two windows; the last of `MANY` drifts."""
    services = open_store(tmp_path, WIDE)
    drifted = Counted(AGES, (0, 900, 100, 0, 0, 0), (0, 500, 500, 0, 0, 0))
    for hours in (1, 0):
        evaluate(services, WIDE, NOON - hours * HOUR, {**dict.fromkeys(MANY, QUIET), MANY[-1]: drifted})
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        yield Visitor(service)
    services.store.close()


def shown_features(page: Element) -> list[str]:
    return list(rows_of(page, " features with “" if " features with “" in page.text else "All 121 features"))


def heated(page: Element) -> list[str]:
    return [label.text for label in page.one("svg", "chart").all("text", "name")]


def test_features_of_a_monitor_come_a_page_at_a_time_and_every_one_is_on_one(wide: Visitor) -> None:
    pages = [wide.get(f"/monitors/wide?page={number}") for number in (1, 2, 3)]

    found = [shown_features(page) for page in pages]
    assert [len(names) for names in found] == [50, 50, 21]
    assert found[0][0] == MANY[-1], "the worst comes first"
    assert sorted(name for names in found for name in names) == sorted([*MANY, "Umsatz_Straße"])
    assert [heated(page) for page in pages] == found, "the heatmap has the features of the table"
    assert "1 to 50 of 121 features, worst first" in pages[0].text
    assert "101 to 121 of 121 features" in pages[2].text
    assert wide.get("/monitors/wide").text == pages[0].text


def test_pages_of_features_link_to_each_other(wide: Visitor) -> None:
    def links(path: str) -> dict[str, str]:
        nav = [nav for nav in wide.get(path).all("nav") if "worst first" in nav.text][-1]
        return {link.text: urljoin(path, link.attributes["href"]) for link in nav.all("a")}

    assert links("/monitors/wide?page=2") == {
        "← previous": "/monitors/wide?page=1",
        "1": "/monitors/wide?page=1",
        "3": "/monitors/wide?page=3",
        "next →": "/monitors/wide?page=3",
    }
    assert "next →" not in links("/monitors/wide?page=3")
    assert links("/monitors/wide?search=column&page=2")["3"] == "/monitors/wide?search=column&page=3"


@pytest.mark.parametrize(
    ("search", "names"),
    [("column_11", [MANY[-1], *MANY[110:119]]), ("STRASSE", ["Umsatz_Straße"]), (" 007 ", ["column_007"])],
)
def test_a_search_finds_parts_of_names_whatever_their_capitals(wide: Visitor, search: str, names: list[str]) -> None:
    page = wide.get(f"/monitors/wide?search={quote(search)}")

    assert shown_features(page) == names
    assert heated(page) == names
    assert page.one("input").attributes["value"] == search.strip()


@pytest.mark.parametrize("search", ["nix", hostile.SCRIPT, "%", "_____________"])
def test_a_search_without_a_hit_says_of_how_many(wide: Visitor, search: str) -> None:
    page = wide.get(f"/monitors/wide?search={quote(search)}")

    assert "No name of its 121 features contains that." in page.text
    assert page.one("input").attributes["value"] == search


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("page=0", "page is 0, but there are pages 1 to 3"),
        ("page=4", "page is 4, but there are pages 1 to 3"),
        ("page=2&search=column_00", "page is 2, but there is only page 1"),
        ("page=-1", "'-1'; write a whole number from 1 on"),
        ("page=", "''; write a whole number from 1 on"),
        ("page=1.5", "'1.5'; write"),
        ("page=%D9%A1", "write a whole number"),  # an Arabic 1
        (f"page={'9' * 5000}", "write a whole number"),
        ("page=<script>", "<script>"),
        (f"search={'x' * 201}", "201 characters; write at most 200"),
    ],
)
def test_a_search_or_page_that_can_not_be_read_is_refused_by_name(wide: Visitor, query: str, said: str) -> None:
    assert said in wide.get(f"/monitors/wide?{query}", status=400).one("main").text


def test_the_page_of_a_monitor_of_500_drifting_features_stays_small(tmp_path: Path) -> None:
    names = tuple(f"column_{number:03}" for number in range(500))
    monitor = a_monitor("wide", names, rules=RULES)
    services = open_store(tmp_path, monitor)
    drifted = Counted(AGES, (0, 900, 100, 0, 0, 0), (0, 500, 500, 0, 0, 0))
    for hours in (2, 1, 0):
        evaluate(services, monitor, NOON - hours * HOUR, dict.fromkeys(names, drifted))
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        visitor = Visitor(service)
        page, overview = visitor.get("/monitors/wide"), visitor.get("/")
        _, text, _ = visitor.fetch(f"{service.url}/monitors/wide")
    services.store.close()

    assert len(text) < 200_000
    assert "And 460 more, below." in page.text
    assert overview.one("h1").text == "500 features fire in 1 monitor, 500 critical."
    assert "And 460 more" in overview.text


def test_feature_page_says_the_verdict_with_numbers(visitor: Visitor) -> None:
    page = visitor.get(feature_path("country"))
    said = " ".join(page.one("div", "verdict").text.split())

    assert said.startswith("New values: live rows lie where the reference had hardly any.")
    assert re.search(r"KL\(live‖reference\) is \d+\.\d+ nats \(95 % interval without the noise: \d", said)
    assert "1,000 live rows against 1,000 reference rows" in said
    assert "labels the reference never had 0 % → 50 %" in said


def test_every_bin_has_its_counts_and_shares_in_a_table(visitor: Visitor) -> None:
    rows = visitor.get(feature_path("country")).one("details").one("tbody").all("tr")

    cells = [[cell.text for cell in (row.one("th"), *row.all("td"))][:5] for row in rows]

    assert cells == [
        ["DE", "500", "250", "50 %", "25 %"],
        ["FR", "300", "150", "30 %", "15 %"],
        ["IT", "200", "100", "20 %", "10 %"],
        ["rare labels", "0", "0", "0 %", "0 %"],
        ["labels the reference never had", "0", "500", "0 %", "50 %"],
        ["missing (null)", "0", "0", "0 %", "0 %"],
    ]


def test_each_rule_says_what_it_made_of_the_window(visitor: Visitor) -> None:
    rules = rows_of(visitor.get(feature_path("country")), "What the rules made")

    assert "firing" in rules["unseen values"] and "unseen_ratio 0.5 above 0.05: still firing" in rules["unseen values"]


def test_an_earlier_window_can_be_selected_and_is_shown_as_it_was(visitor: Visitor) -> None:
    page = visitor.get(f"{feature_path('country')}?window_end={(NOON - 3 * HOUR).isoformat().replace('+00:00', 'Z')}")

    assert page.one("p", "headline-text").text == "No drift beyond sampling noise."
    assert "critical now" in page.one("h1").text
    assert "inactive" in rows_of(page, "What the rules made")["unseen values"]


def test_without_a_selection_the_last_good_window_is_shown_with_the_reason(visitor: Visitor) -> None:
    page = visitor.get(feature_path("age"))

    assert "too few rows to compare" in page.one("p", "notice").text
    assert "2026-11-20 11:00 UTC" in page.one("nav", "controls").text


def test_a_window_without_a_value_can_be_looked_at_too(visitor: Visitor) -> None:
    page = visitor.get(f"{feature_path('age')}?window_end=2026-11-20T12:00:00Z")

    assert page.one("p", "headline-text").text == "Not measured: too few rows to compare."


def test_a_feature_that_was_never_measured_has_a_page(visitor: Visitor) -> None:
    assert "has not been measured yet" in visitor.get(feature_path("score")).one("p", "notice").text


def test_bits_are_nats_times_the_same_factor_everywhere(visitor: Visitor) -> None:
    def numbers(query: str) -> list[float]:
        said = visitor.get(f"{feature_path('country')}{query}").one("div", "verdict").text
        return [float(one) for one in re.findall(r"(\d+\.\d+) (?:nats|bits)", said)]

    nats, bits = numbers(""), numbers("?units=bits")

    assert len(nats) == 2
    assert bits == [pytest.approx(1.442695 * one, rel=2e-3) for one in nats]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("units=bytes", "bytes"),
        ("window_end=yesterday", "yesterday"),
        ("window_end=2026-11-20T12:00:00", "with its zone"),
        ("days=1000000", "days must be one of"),
        ("days=<script>", "<script>"),
    ],
)
def test_a_query_that_can_not_be_read_is_refused_by_name(visitor: Visitor, query: str, said: str) -> None:
    assert said in visitor.get(f"{feature_path('country')}?{query}", status=400).one("main").text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/monitors/nix", "No monitor is called nix."),
        (f"/monitors/{quote(hostile.SCRIPT, safe='')}", f"No monitor is called {hostile.SCRIPT}."),
        ("/monitors/nix/features/age", "No monitor is called nix."),
        ("/monitors/loans/features/nix", "no feature nix"),
        ("/monitors/loans/features/country?window_end=2020-01-01T00:00:00Z", "or not in that window"),
        ("/monitors/loans/nix", "There is no such page."),
        ("/monitors/", "There is no such page."),
    ],
)
def test_what_is_not_there_is_said_with_a_way_back(visitor: Visitor, path: str, said: str) -> None:
    page = visitor.get(path, status=404)

    assert said in page.one("main").text
    back = urljoin(urljoin(visitor.service.url, path), page.one("main").one("a").attributes["href"])
    assert back == f"{visitor.service.url}/"


def test_a_store_that_can_not_be_read_is_said_on_the_page(tmp_path: Path) -> None:
    def starting() -> Services:
        raise StoreUnavailable("the service is still starting: its store does not answer yet")

    services = open_store(tmp_path)
    with serving(routes=tuple(page_routes(starting, services.clock))) as service:
        page = Visitor(service).get("/", status=503)

    assert "its store does not answer yet" in page.one("main").text


@pytest.mark.parametrize(
    "path", ["/static/..%2fpages.py", "/static/%2e%2e/pages.py", "/static/page.css", "/static/%00"]
)
def test_static_files_are_a_fixed_list(visitor: Visitor, path: str) -> None:
    assert visitor.fetch(f"{visitor.service.url}/static/{path}")[0] == 404


def crawl(visitor: Visitor, start: str = "/") -> dict[str, int]:
    """Everything that can be reached from a page, once."""
    waiting, seen = [urljoin(visitor.service.url, start)], dict[str, int]()
    while waiting:
        url = waiting.pop().partition("#")[0]
        if url in seen or len(seen) > 400:
            continue
        status, text, content_type = visitor.fetch(url)
        seen[url] = status
        if content_type.startswith("text/html"):
            links = [one.attributes.get("href") for one in sound(text).all()]
            waiting += [urljoin(url, link) for link in links if link]
    return seen


@pytest.mark.slow
def test_every_link_leads_somewhere(visitor: Visitor) -> None:
    seen = crawl(visitor)

    assert {url: status for url, status in seen.items() if status != 200} == {}
    assert any("units=bits" in url for url in seen)
    assert any("window_end=" in url for url in seen)
    assert any(url.endswith(".css") for url in seen)


@pytest.fixture
def besieged(tmp_path: Path) -> Iterator[Visitor]:
    """A monitor whose features and labels are all hostile, drifting and failing."""
    monitor = a_monitor("loans", hostile.NAMES, rules=RULES)
    services = open_store(tmp_path, monitor)
    labels = CategoricalBins(hostile.NAMES)
    size, count = len(labels.bins), len(hostile.NAMES)
    quiet = Counted(labels, (*(100,) * count, 0, 0, 0), (*(100,) * count, 0, 0, 0))
    moved = Counted(labels, (1000, *(0,) * (count - 1), 0, 500, 0), (*(100,) * count, 0, 0, 0))
    assert len(moved.live) == size
    evaluate(services, monitor, NOON - 2 * HOUR, dict.fromkeys(hostile.NAMES, quiet))
    evaluate(services, monitor, NOON - HOUR, dict.fromkeys(hostile.NAMES, moved))
    failed = Counted(None, failure="query_failed", error=hostile.IMAGE)
    evaluate(services, monitor, NOON, {**dict.fromkeys(hostile.NAMES, moved), hostile.SCRIPT: failed})
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        yield Visitor(service)
    services.store.close()


UNREADABLE = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def readable(name: str) -> str:
    """Controls and marks that turn the text around, as escapes."""
    return UNREADABLE.sub(lambda found: "\\r" if found[0] == "\r" else f"\\u{ord(found[0]):04x}", name)


def test_hostile_names_and_labels_stay_text(besieged: Visitor) -> None:
    for name in hostile.NAMES[:-1]:
        page = besieged.get(feature_path(name))
        assert page.one("span", "subject").text == readable(name)
        assert not UNREADABLE.search(page.text)
        assert page.one("title").text.endswith("· drift-monitor")


@pytest.mark.slow
def test_links_over_hostile_names_lead_somewhere(besieged: Visitor) -> None:
    seen = crawl(besieged)

    assert {url: status for url, status in seen.items() if status != 200} == {}
    assert len([url for url in seen if "/features/" in url]) > len(hostile.NAMES)


def test_templates_in_names_are_not_run(besieged: Visitor) -> None:
    page = besieged.get("/")

    assert hostile.TEMPLATE in page.text
    assert "49{" not in page.text
