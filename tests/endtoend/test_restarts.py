"""While an alert fires, each program is ended and started again: nobody hears of an end before the drift is over.

One daemon tells two Alertmanagers directly, a third one hears of drift by Prometheus's rules, and the daemon has a
webhook of its own.
"""

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.endtoend.installation import Installation, installation
from tests.endtoend.posts import Told, statuses, told
from tests.endtoend.story import Story
from tests.postgresql import PostgresqlServer

RESTARTS = (
    "daemon stopped",
    "daemon killed",
    "alertmanagers stopped and killed",
    "postgresql stopped",
    "postgresql crashed",
    "prometheus stopped",
    "prometheus killed",
    "alertmanager of rules killed",
    "alertmanager of rules stopped",
)
LABELS = {"feature": "amount", "metric": "psi", "severity": "critical", "team": "shop"}


@pytest.fixture(scope="module")
def installed(server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("restarts"), server, lookback="1m", replicas=2) as one:
        yield one


@pytest.fixture(scope="module")
def story(installed: Installation) -> Story:
    """The wait for the replicas, up to a minute, is for the restarts of others, too."""
    server, daemon, prometheus = installed.server, installed.daemon, installed.prometheus
    alertmanager = installed.by_rules.alertmanager
    one = Story(installed)
    one.begin()
    one.restart_daemon(daemon.stop, "daemon stopped")
    one.restart_daemon(daemon.kill, "daemon killed")
    ended = one.end_replicas()
    one.restart_postgresql(server.stop, "postgresql stopped")
    one.restart_postgresql(server.stop_immediate, "postgresql crashed")
    one.restart_prometheus(prometheus.stop, "prometheus stopped")
    one.restart_prometheus(prometheus.kill, "prometheus killed")
    one.restart_alertmanager_of_rules(alertmanager.kill, "alertmanager of rules killed")
    one.restart_alertmanager_of_rules(alertmanager.stop, "alertmanager of rules stopped")
    one.wait_until_replicas_know_again(ended)
    one.finish()
    return one


@pytest.fixture(scope="module")
def opened(story: Story) -> datetime:
    """When the alert began, as the store has it: there was one episode, of the monitor that drifts."""
    ((monitor, feature, began, ended),) = story.installed.query(
        "SELECT monitor, feature, opened_window, closed_window FROM drift_episodes WHERE metric = 'psi'"
    )
    assert (monitor, feature) == ("visits", "amount")
    assert isinstance(began, datetime) and isinstance(ended, datetime)
    return began


def test_every_restart_was_lived_through(story: Story) -> None:
    assert set(story.seen) == set(RESTARTS)


@pytest.mark.parametrize("restart", RESTARTS)
def test_alert_still_fires_after_a_restart(story: Story, restart: str) -> None:
    assert story.seen[restart].by_rules == 1
    assert story.seen[restart].ends_told == 0


@pytest.mark.parametrize("restart", ["daemon stopped", "daemon killed", "alertmanagers stopped and killed"])
def test_daemon_tells_both_replicas_of_the_original_start(story: Story, opened: datetime, restart: str) -> None:
    assert story.seen[restart].starts == [opened, opened]


def test_every_webhook_is_told_of_the_end_once_and_last(story: Story) -> None:
    for hook in story.installed.hooks:
        *before, last = statuses(hook, "visits")
        assert set(before) == {"firing"}
        assert last == "resolved"


def test_replicas_pass_on_the_original_start(story: Story, opened: datetime) -> None:
    for one in story.installed.replicas:
        assert {each.starts_at for each in told(one.hook, "visits")} == {opened}


def test_alertmanager_that_was_ended_in_order_does_not_repeat_itself(story: Story) -> None:
    _, stopped = story.installed.replicas
    assert statuses(stopped.hook, "visits") == ["firing", "resolved"]


def test_own_webhook_is_told_of_each_change_under_one_id(story: Story, opened: datetime) -> None:
    """A daemon that is killed between sending and writing that down may send again: the same, with the same id."""
    by_id: dict[str, Told] = {}
    for one in told(story.installed.hook, "visits"):
        assert by_id.setdefault(one.id, one) == one
    begins, ends = by_id.values()
    assert (begins.status, ends.status) == ("firing", "resolved")
    assert begins.starts_at == ends.starts_at == opened < ends.ends_at
    assert begins.labels == ends.labels
    assert begins.labels.items() >= LABELS.items()
    assert begins.annotations["summary"].startswith("amount of visits drifted: ")
    assert begins.body["version"] == ends.body["version"] == "4"


def test_nobody_is_told_of_a_monitor_that_is_well(story: Story) -> None:
    assert [statuses(hook, "orders") for hook in story.installed.hooks] == [[]] * 4
