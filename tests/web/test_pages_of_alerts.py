"""What pages say of alerts beside their numbers: silenced until when, looked after by whom, of the monitor itself."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from drift_monitor.alerting.services import Services
from drift_monitor.alerting.silences import acknowledge_alert, add_silence
from drift_monitor.core.matching import parse_matcher
from drift_monitor.store import outbox
from drift_monitor.store.outbox import Delivery, DeliveryOutcome
from drift_monitor.web.pages.routes import page_routes
from tests.web.filled import HOUR
from tests.web.markup import Element
from tests.web.serving import serving
from tests.web.store_of_alerts import drifting, make_stale, open_episodes
from tests.web.test_pages import Visitor, feature_path, rows_of

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    opened = drifting(tmp_path)
    yield opened
    opened.store.close()


@pytest.fixture
def visitor(services: Services) -> Iterator[Visitor]:
    with serving(routes=tuple(page_routes(lambda: services, services.clock))) as service:
        yield Visitor(service)


def silence(services: Services, *matchers: str, hours: float = 1, comment: str = "load test") -> None:
    asked = [parse_matcher(one) for one in matchers]
    add_silence(services.store, asked, duration=hours * HOUR, author="ada", comment=comment)


def acknowledge(services: Services, *ids: str) -> None:
    for id in ids:
        acknowledge_alert(services.store, id, author="bob", comment="a new partner")


def firing_row(page: Element) -> str:
    (row,) = rows_of(page, "Firing now").values()
    return row


def headings(page: Element) -> list[str]:
    return [one.text for one in page.all("h2")]


def test_nothing_is_said_where_nobody_has_said_anything(visitor: Visitor) -> None:
    page = visitor.get("/")

    assert "silenced" not in firing_row(page)
    assert "acknowledged" not in firing_row(page)
    assert "Silences" not in headings(page)
    assert not page.all("h3")


@pytest.mark.parametrize("path", ["/", "/monitors/loans", feature_path("country")])
def test_a_silence_says_on_every_page_who_made_it_until_when_and_why(
    services: Services, visitor: Visitor, path: str
) -> None:
    silence(services, "team=risk", comment=HOSTILE)
    silence(services, "team=risk", hours=0.5, comment="shorter")

    (remark,) = visitor.get(path).one("ul", "remarks").all("li")

    assert remark.text == f"silenced by ada until 2026-11-20 13:06 UTC: {HOSTILE}"


@pytest.mark.parametrize("path", ["/", "/monitors/loans", feature_path("country")])
def test_an_acknowledgement_says_who_looks_after_it(services: Services, visitor: Visitor, path: str) -> None:
    acknowledge(services, *open_episodes(services))

    (remark,) = visitor.get(path).one("ul", "remarks").all("li")

    assert remark.text == "acknowledged by bob: a new partner"


def test_what_is_said_of_some_of_the_alerts_of_a_feature_names_them(services: Services, visitor: Visitor) -> None:
    silence(services, "severity=critical")

    page = visitor.get("/")

    (remark,) = page.one("ul", "remarks").all("li")
    assert remark.text.startswith("silenced (psi:critical) by ada until")
    assert not [one for one in page.all("span", "chip") if one.text == "silenced"]


def test_a_feature_whose_alerts_are_all_silenced_is_marked_so(services: Services, visitor: Visitor) -> None:
    silence(services, "monitor=loans")

    page = visitor.get("/")

    assert [one.text for one in page.all("span", "silenced")] == ["silenced"]
    assert page.one("h1").text == "country of loans has been firing for 1 h 6 min, silenced."


def test_silences_that_hold_or_will_hold_are_listed(services: Services, visitor: Visitor) -> None:
    silence(services, "feature=~a|b", 'team="risk"')
    add_silence(
        services.store,
        [parse_matcher("monitor=cards")],
        starts_at=services.clock.now() + HOUR,
        duration=HOUR,
        author="eve",
        comment=HOSTILE,
    )

    rows = rows_of(visitor.get("/"), "Silences")

    assert list(rows) == ['feature=~"a|b", team="risk"', 'monitor="cards"']
    first, second = rows.values()
    assert "active" in first and "2026-11-20 13:06 UTC" in first and "ada" in first and "load test" in first
    assert "pending" in second and "2026-11-20 14:06 UTC" in second and "eve" in second and HOSTILE in second


def test_a_monitor_that_nobody_evaluates_is_among_what_fires(services: Services, visitor: Visitor) -> None:
    make_stale(services)
    silence(services, "alertname=MonitorStale")

    page = visitor.get("/")
    rows = rows_of(page, "Firing now")

    itself = next(text for name, text in rows.items() if "whole monitor" in name)
    assert "warning" in itself and "nothing has evaluated it for more than three intervals" in itself
    assert "silenced by ada until 2026-11-20 17:00 UTC: load test" in itself
    assert page.one("h1").text == "1 feature and 1 whole monitor fire in 1 monitor, 1 critical, 1 silenced."
    assert any("whole monitor" in name for name in rows_of(visitor.get("/monitors/loans"), "Firing now"))


def test_notifications_that_were_given_up_are_shown_with_their_last_error(services: Services, visitor: Visitor) -> None:
    claimed = services.store.transact(lambda conn: outbox.claim(conn, "test", HOUR))
    assert claimed is not None
    dead = Delivery(outcome=DeliveryOutcome.DEAD, status_code=404, error=f"answered 404: {HOSTILE}")
    services.store.transact(lambda conn: outbox.settle(conn, claimed, dead))

    page = visitor.get("/")

    assert [one.text for one in page.all("h3")] == ["Given up last"]
    table = next(one for one in page.all("table") if one.attributes.get("aria-labelledby") == "dead")
    (row,) = table.one("tbody").all("tr")
    assert [cell.text for cell in row.children] == [
        "log",
        "loans",
        "2026-11-20 11:00 UTC",
        "1",
        f"answered 404: {HOSTILE}",
    ]


def test_notifications_that_were_kept_back_are_counted(services: Services, visitor: Visitor) -> None:
    silence(services, "alertname=MonitorStale", hours=9)
    make_stale(services)
    services.clock.moment += timedelta(minutes=6)  # type: ignore[attr-defined]

    # Waiting since 12:00, none given up, one kept back, none sent.
    assert rows_of(visitor.get("/"), "Notifications")["log"].split()[-3:] == ["0", "1", "0"]
