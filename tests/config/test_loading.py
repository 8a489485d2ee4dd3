"""A sound file becomes values with everything filled in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from drift_monitor.config.loading import load, parse
from drift_monitor.config.schema import Config, FixedRange, FixedTable, MonitorConfig, Period, SamePeriod, Trailing
from drift_monitor.core.binning import Edges, Quantiles, Top, Uniform
from drift_monitor.core.bins import Kind
from drift_monitor.core.distribution import Smoothing, SmoothingMethod
from drift_monitor.core.divergence import Metric
from drift_monitor.core.rules import Comparand, Rule, Severity
from drift_monitor.core.schedule import Cron, Every, PaneGrid
from drift_monitor.errors import ConfigError, InputError

HEAD = "store: {url: 'sqlite:///drift.db'}\nsources: [{name: warehouse, url: 'sqlite:///warehouse.db'}]\n"
SMALLEST = (
    "name: credit, source: warehouse, table: predictions, time_column: at, reference: {table: r}, features: [age]"
)


def config_with(extra: str = "", *, rest: str = "", **changes: str) -> Config:
    """The smallest configuration with a monitor's keys added or changed, and further sections."""
    keys = dict(part.split(": ", 1) for part in SMALLEST.split(", "))
    lines = [f"    {key}: {value}" for key, value in (keys | changes).items()]
    text = f"{HEAD}monitors:\n  -\n" + "\n".join(lines) + f"\n{extra}\n{rest}\n"
    return parse(text, file="config.yaml", environ={})


def monitor_with(**changes: str) -> MonitorConfig:
    return config_with(**changes).monitors[0]


def test_a_small_configuration_gets_every_default() -> None:
    config = config_with()
    monitor = config.monitor("credit")
    assert (monitor.every, monitor.pane, monitor.window) == (
        timedelta(hours=1),
        timedelta(hours=1),
        timedelta(hours=24),
    )
    assert (monitor.settle, monitor.revise, monitor.catch_up, monitor.min_rows) == (timedelta(minutes=5), 1, 24, 200)
    assert monitor.smoothing == Smoothing(SmoothingMethod.ANCHORED, 0.5)
    assert monitor.schedule == Every(timedelta(hours=1), ZoneInfo("UTC"))
    assert monitor.grid == PaneGrid(timedelta(hours=1), ZoneInfo("UTC"))
    assert (config.source("warehouse").max_connections, config.source("warehouse").statement_timeout) == (
        2,
        timedelta(seconds=30),
    )
    assert config.store.retention.panes == timedelta(days=90)
    assert config.store.retention.measurements == timedelta(days=400)


def test_a_monitor_without_rules_gets_psi_as_warning_and_as_critical() -> None:
    rules = monitor_with().rules
    assert [(rule.id, rule.metric, rule.above, rule.severity, rule.on) for rule in rules] == [
        ("psi:warning", Metric.PSI, 0.1, Severity.WARNING, Comparand.LOWER_BOUND),
        ("psi:critical", Metric.PSI, 0.25, Severity.CRITICAL, Comparand.LOWER_BOUND),
    ]


def test_rules_of_the_file_hold_for_monitors_that_state_none() -> None:
    fleet = "rules: [{metric: js, above: 0.05}]"
    assert [rule.id for rule in config_with(rest=fleet).monitors[0].rules] == ["js:warning"]
    assert [rule.id for rule in config_with(rest=fleet, rules="[{metric: rows, below: 5}]").monitors[0].rules] == [
        "rows:warning"
    ]
    assert config_with(rest=fleet, rules="[]").monitors[0].rules == ()


def test_a_rule_is_read_with_its_yaml_names_even_the_key_on() -> None:
    written = "[{name: x, metric: psi, below: 1, on: value, for: 2, keep_firing_for: 3, severity: info}]"
    assert monitor_with(rules=written).rules == (
        Rule(
            id="x",
            metric=Metric.PSI,
            above=None,
            below=1.0,
            on=Comparand.VALUE,
            for_windows=2,
            keep_firing_for=3,
            severity=Severity.INFO,
        ),
    )


def test_a_threshold_of_freshness_may_be_a_duration() -> None:
    assert monitor_with(rules="[{metric: freshness, above: 6h}]").rules[0].above == 21_600.0


def test_a_monitor_without_receivers_notifies_all_of_them() -> None:
    both = "receivers: [{name: a, log: {}}, {name: b, webhook: {url: 'http://127.0.0.1'}}]"
    assert config_with(rest=both).monitors[0].receivers == ("a", "b")
    assert config_with(rest=both, receivers="[b]").monitors[0].receivers == ("b",)
    assert config_with(rest=both, receivers="[]").monitors[0].receivers == ()
    assert [receiver.integration for receiver in config_with(rest=both).receivers] == ["log", "webhook"]


def test_pane_is_the_interval_by_default_but_at_most_an_hour() -> None:
    assert monitor_with(every="10m").pane == timedelta(minutes=10)
    assert monitor_with(every="1d").pane == timedelta(hours=1)
    assert monitor_with(cron="'*/15 * * * *'").pane == timedelta(minutes=15)
    assert monitor_with(cron="5 6 * * *").pane == timedelta(hours=1)


def test_cron_is_read_in_the_time_zone_of_the_monitor() -> None:
    monitor = monitor_with(cron="5 6 * * *", time_zone="Europe/Berlin")
    assert monitor.every is None
    assert monitor.schedule == Cron("5 6 * * *", ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("written", "reference"),
    [
        ("{table: r, where: x = 1}", FixedTable(table="r", where="x = 1", source="warehouse")),
        ("{query: SELECT 1}", FixedTable(query="SELECT 1", source="warehouse")),
        ("{trailing: 28d, gap: 1d}", Trailing(trailing=timedelta(days=28), gap=timedelta(days=1))),
        ("{trailing: 28d}", Trailing(trailing=timedelta(days=28), gap=timedelta(0))),
        ("{same_period: {every: 7d, count: 4}}", SamePeriod(same_period=Period(every=timedelta(days=7), count=4))),
    ],
)
def test_each_form_of_reference_is_a_type_of_its_own(written: str, reference: object) -> None:
    assert monitor_with(reference=written).reference == reference


@pytest.mark.parametrize(
    ("zone", "written", "start"),
    [
        ("UTC", "2026-09-01", datetime(2026, 9, 1, tzinfo=UTC)),
        ("Europe/Berlin", "2026-09-01", datetime(2026, 8, 31, 22, tzinfo=UTC)),
        ("Europe/Berlin", "2026-09-01T06:00", datetime(2026, 9, 1, 4, tzinfo=UTC)),
        ("Europe/Berlin", "2026-09-01T06:00Z", datetime(2026, 9, 1, 6, tzinfo=UTC)),
        ("Europe/Berlin", "2026-09-01T06:00+01:00", datetime(2026, 9, 1, 5, tzinfo=UTC)),
        ("America/Santiago", "2026-09-06", datetime(2026, 9, 6, 4, tzinfo=UTC)),  # midnight does not exist there
    ],
)
def test_dates_of_a_reference_are_midnights_of_the_monitors_zone(zone: str, written: str, start: datetime) -> None:
    reference = monitor_with(time_zone=zone, reference=f"{{from: {written}, to: 2026-10-01}}").reference
    assert isinstance(reference, FixedRange)
    assert reference.from_ == start


def test_features_are_names_or_mappings_and_edges_keep_their_types() -> None:
    written = """
      - age
      - {name: income, bins: {quantiles: 20}}
      - {name: size, bins: {uniform: 5}}
      - {name: score, bins: {edges: [0, 0.5, 1]}}
      - {name: country, kind: categorical, bins: {top: 50}}
      - {name: value, expression: "price * 'x'"}"""
    features = monitor_with(features=written).features
    assert not isinstance(features, str)
    assert [feature.bins for feature in features] == [
        None, Quantiles(20), Uniform(5), Edges((0, 0.5, 1)), Top(50), None,
    ]  # fmt: skip
    edges = features[3].bins
    assert isinstance(edges, Edges)
    assert [type(edge) for edge in edges.edges] == [int, float, int]
    assert features[4].kind is Kind.CATEGORICAL
    assert features[5].expression == "price * 'x'"


def test_all_features_but_some() -> None:
    monitor = monitor_with(features="all", exclude="[id]")
    assert (monitor.features, monitor.exclude) == ("all", ("id",))


def test_explicit_edges_are_worth_a_note_about_the_last_one() -> None:
    notes = config_with(features="[{name: score, bins: {edges: [0, 1]}}]").notes
    assert [note.message for note in notes] == [
        "monitors[credit].features[score].bins.edges[1]: a value equal to the last edge, 1, counts as `above`"
    ]


def test_an_inline_password_is_worth_a_note_that_does_not_show_it() -> None:
    text = HEAD.replace("sqlite:///warehouse.db", "postgresql://reader:hunter2@db/warehouse") + "monitors: []"
    (note,) = parse(text, environ={}).notes
    assert "a password stands in the configuration" in note.message
    assert "hunter2" not in str(note)


def test_numbers_may_come_from_variables() -> None:
    text = HEAD.replace("warehouse.db'", "warehouse.db', max_connections: '${N}'") + "monitors: []"
    assert parse(text, environ={"N": "7"}).sources[0].max_connections == 7


def test_an_unknown_name_is_an_input_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="no monitor is called 'debit'; configured: credit"):
        config_with().monitor("debit")


def test_secrets_are_read_from_files_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "source").write_text("postgresql://reader:hunter2@db/warehouse\n")
    (tmp_path / "secrets" / "hook").write_text("https://hooks.example.com/token\r\n")
    (tmp_path / "secrets" / "key").write_text("  spaces stay \n\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        "store: {url: 'sqlite:///drift.db'}\n"
        "sources: [{name: warehouse, url_file: secrets/source}]\n"
        "monitors: []\n"
        "receivers: [{name: hook, webhook: {url_file: secrets/hook, secret_file: secrets/key}}]\n"
    )
    config = load(path, environ={})
    webhook = config.receiver("hook").webhook
    assert config.sources[0].url.get_secret_value() == "postgresql://reader:hunter2@db/warehouse"
    assert webhook is not None
    assert webhook.url.get_secret_value() == "https://hooks.example.com/token"
    assert webhook.secret is not None
    assert webhook.secret.get_secret_value() == "  spaces stay \n"
    for shown in (repr(config), str(config), repr(config.public()), config.model_dump_json()):
        assert not any(secret in shown for secret in ("hunter2", "token", "spaces"))


def test_a_change_of_a_secret_changes_no_hash_and_a_change_of_a_rule_changes_both() -> None:
    receivers = "receivers: [{name: hook, webhook: {url: 'http://127.0.0.1', secret: %s}}]"
    one, other = (config_with(rest=receivers % secret) for secret in ("one", "two"))
    assert one.hash == other.hash
    changed = config_with(rest=receivers % "one", rules="[{metric: psi, above: 0.3}]")
    assert changed.hash != one.hash
    assert changed.monitors[0].hash != one.monitors[0].hash


def test_defaults_spelled_out_give_the_same_hash() -> None:
    assert config_with(every="60m", window="1d", revise="1").hash == config_with().hash


def test_a_value_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config_with().monitors[0].name = "other"  # type: ignore[misc]


def test_a_changed_copy_of_a_monitor_has_its_own_grid_and_hash() -> None:
    monitor = monitor_with()
    before = (monitor.grid, monitor.hash)
    changed = monitor.model_copy(update={"pane": timedelta(minutes=30)})
    assert changed.grid == PaneGrid(timedelta(minutes=30), ZoneInfo("UTC"))
    assert (changed.grid, changed.hash) != before


def test_problems_come_in_the_order_of_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("monitors: [{}]\nstore: {}\nsources: x\n", environ={})
    places = [(problem.line, problem.column) for problem in caught.value.problems]
    assert places == sorted(places)
