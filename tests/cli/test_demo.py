"""The demo's command: what it refuses before it works, and a summary that fits a terminal of 80 columns."""

import io
import re
import socket
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console, RenderableType

from drift_monitor.cli import demo as command
from drift_monitor.cli.demo import PORTS_TRIED, on_a_free_port
from drift_monitor.cli.main import main
from drift_monitor.cli.run import WebFlags
from drift_monitor.cli.summary import IncidentResult, Summary, counted, episode_table, incident_table, signposts
from drift_monitor.demo.incidents import Incident, IncidentKind
from drift_monitor.store.alerts import AlertKey, Episode

STARTED = datetime(2026, 11, 17, 2, tzinfo=UTC)
INCIDENT = Incident(
    kind=IncidentKind.NEW_CATEGORY,
    feature="merchant_category",
    start=STARTED,
    end=STARTED + timedelta(hours=40),
    description="13% of the payments arrive with the new category 'UNKNOWN_V2'",
    share=0.13,
    value="UNKNOWN_V2",
)
EPISODE = Episode(
    monitor="payments",
    key=AlertKey("merchant_category", "", "kl_live_reference:warning"),
    metric="kl_live_reference",
    severity="warning",
    opened_window=STARTED + timedelta(hours=6),
    opened_revision=0,
    peak_value=0.31,
)
FOUND = Summary(
    monitor="payments",
    title="What went wrong",
    verdicts=[IncidentResult(incident=INCIDENT, episode=EPISODE)],
    episodes=[EPISODE],
    firing=[],
)


def demo(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", *arguments])


def shown(one: RenderableType) -> str:
    """As on a terminal of 80 columns."""
    console = Console(file=io.StringIO(), width=80)
    console.print(one)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    return " ".join(text.split())


def flags(address: str) -> WebFlags:
    return WebFlags(
        listen_address=address,
        web_config_file=None,
        external_url="",
        enable_lifecycle=False,
        enable_admin_api=False,
        allow_unauthenticated=False,
        max_series=1,
    )


def test_a_taken_port_takes_the_next_free_one_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = on_a_free_port(flags(f"127.0.0.1:{port}"))
    other = int(chosen.listen_address.removeprefix("127.0.0.1:"))
    assert port < other <= port + PORTS_TRIED
    assert chosen.url == f"http://127.0.0.1:{other}"
    assert capsys.readouterr().err == f"drift-monitor: port {port} is taken, so the pages are on {other}\n"


def test_a_free_port_is_taken_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as freed:
        address = f"127.0.0.1:{freed.getsockname()[1]}"
    assert on_a_free_port(flags(address)) == flags(address)
    assert capsys.readouterr().err == ""


def test_that_no_port_is_free_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PORTS_TRIED", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = demo("--dir", str(tmp_path / "demo"), "--web.listen-address", address)
    assert result.exit_code == 2
    assert f"can't listen on {address}" in result.stderr
    assert "choose another address with --web.listen-address" in result.stderr
    assert not (tmp_path / "demo" / "payments.db").exists()


def test_an_address_others_can_reach_needs_a_word_before_anything_is_made(tmp_path: Path) -> None:
    result = demo("--dir", str(tmp_path / "demo"), "--web.listen-address", "0.0.0.0:0")
    assert result.exit_code == 2
    assert "--web.allow-unauthenticated" in result.stderr
    assert not (tmp_path / "demo" / "payments.db").exists()


def test_an_incident_is_told_whole_with_the_first_alert_about_it() -> None:
    text = shown(incident_table(FOUND))
    for expected in ("merchant_category", "2026-11-17 02:00", "after 6 h", "kl_live_reference:warning"):
        assert expected in text
    assert counted(FOUND) == "1 of 1 incidents found. Alerts: 1 fired so far, 0 firing now."


def test_a_missed_incident_is_told_as_such() -> None:
    missed = replace(FOUND, verdicts=[IncidentResult(incident=INCIDENT, episode=None)], episodes=[])
    assert "not found" in shown(incident_table(missed))
    assert counted(missed).startswith("0 of 1 incidents found.")


def test_real_data_without_known_incidents_tell_what_drifted() -> None:
    real = replace(FOUND, verdicts=[])
    text = shown(episode_table(real))
    assert "merchant_category 1 2026-11-17 2026-11-17 kl_live_reference 0.31" in text
    assert counted(real) == "Alerts: 1 fired so far, 0 firing now."


def test_the_pages_are_named_only_while_they_are_served() -> None:
    places = {"config_file": Path("demo/drift.yaml"), "log_file": Path("demo/drift.log")}
    served = shown(signposts(FOUND, url="http://127.0.0.1:8765", **places))
    assert "Pages http://127.0.0.1:8765/ Metrics http://127.0.0.1:8765/metrics" in served
    assert "explain --config.file demo/drift.yaml --monitor payments --feature merchant_category" in served
    assert "http" not in shown(signposts(FOUND, url=None, **places))


@pytest.mark.slow
@pytest.mark.processes
def test_the_demo_of_flights_goes_on_where_it_was(tmp_path: Path) -> None:
    """A year of real flights; the second run has nothing left to measure."""
    for _ in range(2):
        result = demo("--data", "flights", "--once", "--dir", str(tmp_path))
        assert result.exit_code == 0, result.stderr
        assert "What has drifted" in result.stdout
    assert "drift-monitor demo --data flights" in result.stderr
    log = (tmp_path / "drift.log").read_text()
    ends = re.findall(r"event=evaluated .* window_end=(\S+)", log)
    assert len(ends) == len(set(ends)) >= 240  # four a day for 60 days
    assert "event=alert_firing" in log
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes.keys() >= {"drift.db", "drift.log", "drift.yaml", "flights.db"}
    assert set(modes.values()) == {0o600}
