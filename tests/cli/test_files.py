"""`files`: what comes with the package for Prometheus and Grafana, and nothing of the reader's lost."""

from pathlib import Path

from click.testing import CliRunner, Result

from drift_monitor.cli.main import main
from drift_monitor.shipped import RUNBOOKS, shipped

CONFIG = Path(__file__).parent.parent.parent / "config"


def files(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["files", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_written_and_named(tmp_path: Path) -> None:
    done = files(tmp_path / "new" / "folder")
    expected = {
        f"{name}/{path}": content
        for name in ("prometheus", "grafana")
        for path, content in contents(CONFIG / name).items()
    }
    assert done.exit_code == 0
    assert contents(tmp_path / "new" / "folder") == expected
    assert set(done.stdout.split()) == {str(tmp_path / "new" / "folder" / name) for name in expected}


def test_again_is_nothing_new(tmp_path: Path) -> None:
    assert [files(tmp_path).exit_code for _ in range(2)] == [0, 0]


def test_a_file_that_was_changed_is_kept_and_named_and_nothing_is_written(tmp_path: Path) -> None:
    own = tmp_path / "prometheus" / "rules" / "drift-alerts.yml"
    own.parent.mkdir(parents=True)
    own.write_text("groups: []\n", encoding="utf-8")
    done = files(tmp_path)
    assert done.exit_code == 2
    assert str(own) in done.stderr and "--force" in done.stderr
    assert contents(tmp_path) == {"prometheus/rules/drift-alerts.yml": b"groups: []\n"}


def test_force_writes_over_it(tmp_path: Path) -> None:
    own = tmp_path / "prometheus" / "prometheus.yml"
    own.parent.mkdir(parents=True)
    own.write_text("global: {}\n", encoding="utf-8")
    assert files(tmp_path, "--force").exit_code == 0
    assert own.read_bytes() == (CONFIG / "prometheus" / "prometheus.yml").read_bytes()


def test_where_a_file_stands_instead_of_the_folder_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    done = files(tmp_path / "taken")
    assert done.exit_code == 2
    assert "taken" in done.stderr


def test_runbooks_come_with_the_program_too() -> None:
    assert shipped(RUNBOOKS).is_file()
