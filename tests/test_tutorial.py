"""The tutorial as its reader types it: the table it makes, the configuration it shows, and what it promises of each."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drift_monitor.config.loading import parse
from tests.notify.receivers import Receiver, receiver

TUTORIAL = (Path(__file__).parent.parent / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = [line for line in re.findall(r"^drift-monitor [^\n]*$", TUTORIAL, re.MULTILINE) if "run" not in line.split()]

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL)


class Desk:
    """The reader's folder and terminal."""

    def __init__(self, folder: Path, hook: Receiver) -> None:
        self.folder = folder
        self.hook = hook

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command of the tutorial, with `drift-monitor` as the module of this environment."""
        name, *arguments = command.split()
        assert name == "drift-monitor"
        return self.python("-m", "drift_monitor", *arguments)

    @property
    def told(self) -> list[dict[str, dict[str, str]]]:
        return [alert for request in self.hook.received for alert in json.loads(request.body)["alerts"]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """After steps 2 to 5: the table is made, the receiver listens, one evaluation is done."""
    folder = tmp_path_factory.mktemp("tutorial")
    with receiver() as hook:
        desk = Desk(folder, hook)
        (folder / "make_orders.py").write_text(blocks("python")[0], encoding="utf-8")
        (folder / "drift.yaml").write_text(
            blocks("yaml")[0].replace("http://127.0.0.1:9000/", hook.url), encoding="utf-8"
        )
        assert desk.python("make_orders.py").returncode == 0
        yield desk


def test_the_tutorial_shows_the_commands_that_are_tried_here() -> None:
    assert [command.split()[1] for command in COMMANDS] == [
        "check-config",
        "evaluate",
        "explain",
        "explain",
        "backfill",
        "history",
    ]


def test_the_proposal_of_init_loads(desk: Desk) -> None:
    done = desk.type("drift-monitor init sqlite:///shop.db orders")
    assert done.returncode == 0, done.stderr
    (monitor,) = parse(done.stdout, environ={}).monitors
    assert (monitor.table, monitor.time_column) == ("orders", "created_at")


def test_check_config_says_success_and_names_a_mistake_with_its_line(desk: Desk) -> None:
    done = desk.type(COMMANDS[0])
    assert done.returncode == 0 and "SUCCESS" in done.stdout + done.stderr
    wrong = (desk.folder / "drift.yaml").read_text(encoding="utf-8").replace("    window: 24h", "    windw: 24h")
    (desk.folder / "wrong.yaml").write_text(wrong, encoding="utf-8")
    refused = desk.type("drift-monitor check-config wrong.yaml")
    line = wrong[: wrong.index("windw")].count("\n") + 1
    assert refused.returncode == 1
    assert f"wrong.yaml:{line}:" in refused.stdout + refused.stderr
    assert "window" in refused.stdout + refused.stderr


def test_the_first_evaluation_finds_amount_and_country_and_tells_the_receiver(desk: Desk) -> None:
    done = desk.type(f"{COMMANDS[1]} --format json")
    assert done.returncode == 1, done.stderr
    (evaluation,) = json.loads(done.stdout)["evaluations"]
    assert {alert["feature"] for alert in evaluation["alerts"]} == {"amount", "country"}
    assert {alert["labels"]["feature"] for alert in desk.told} == {"amount", "country"}
    measured = {one["feature"]: one for one in evaluation["measurements"]}
    assert measured["amount"]["kl_live_reference"] > 2 * measured["amount"]["kl_reference_live"]
    assert measured["country"]["kl_reference_live"] > 2 * measured["country"]["kl_live_reference"]


def test_explain_names_the_bins(desk: Desk) -> None:
    amount, country = (desk.type(command) for command in COMMANDS[2:4])
    assert amount.returncode == country.returncode == 0
    assert "above" in amount.stdout
    assert "ES" in country.stdout


def test_the_past_shows_the_divergence_rising(desk: Desk) -> None:
    start = "-3d"
    backfilled = desk.type(re.sub(r"--from=\S+ --to=\S+", f"--from={start} --to=now", COMMANDS[4]))
    assert backfilled.returncode == 0, backfilled.stderr
    shown = desk.type(f"{COMMANDS[5]} --format json")
    assert shown.returncode == 0, shown.stderr
    values = [one["psi"] for one in json.loads(shown.stdout)["measurements"] if one["psi"] is not None]
    assert len(values) > 48
    quiet, rising = values[:24], values[-24:]
    assert max(quiet) < 0.1 < rising[0] < rising[-1]
