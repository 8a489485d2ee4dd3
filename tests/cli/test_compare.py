"""`drift-monitor compare`: files and tables in, a table, JSON or one HTML file out; what it refuses, and how."""

import json
import math
import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from click.testing import CliRunner, Result

from drift_monitor import compare_counts
from drift_monitor.cli.main import main

NASTY = '<script>alert("1")</script>'


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def _csv(path: Path, **columns: Any) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return _csv(tmp_path / "reference.csv", colour=["red"] * 60 + ["blue"] * 40, size=[1, 2, 3, 4] * 25)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return _csv(tmp_path / "live.csv", colour=["red"] * 30 + ["blue"] * 70, size=[1, 2, 3, 4] * 25)


def _features(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return {one["feature"]: one for one in json.loads(result.stdout)["features"]}


def test_json_holds_the_divergences_of_the_counts(reference: Path, live: Path) -> None:
    colour = _features(_run(reference, live, "--format", "json"))["colour"]

    expected = compare_counts(live=[30, 70], reference=[60, 40])
    assert colour["psi"] == pytest.approx(expected.psi, rel=1e-12)
    assert colour["kl_live_reference"] == pytest.approx(expected.kl_live_reference, rel=1e-12)
    assert [colour["psi_low"], colour["psi_high"]] == pytest.approx(expected.interval["psi"], rel=1e-12)
    assert [(one["label"], one["live_count"], one["reference_count"]) for one in colour["bins"][:2]] == [
        ("red", 30, 60),
        ("blue", 70, 40),
    ]


def test_bits_change_what_is_in_nats_and_nothing_else(reference: Path, live: Path) -> None:
    nats = _features(_run(reference, live, "--format", "json"))["colour"]
    bits = _features(_run(reference, live, "--format", "json", "--units", "bits"))["colour"]

    for name in ("kl_live_reference", "kl_reference_live_high", "js", "noise_floor"):
        assert bits[name] == pytest.approx(nats[name] / math.log(2), rel=1e-12)
    for name in ("psi", "psi_low", "hellinger", "live_rows"):
        assert bits[name] == nats[name]
    contribution = "contribution_live_reference"
    assert bits["bins"][0][contribution] == pytest.approx(nats["bins"][0][contribution] / math.log(2))


def test_the_table_shows_the_worst_feature_first(reference: Path, live: Path) -> None:
    result = _run(reference, live)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["colour", "size"]


def test_only_named_features_are_compared(reference: Path, live: Path) -> None:
    assert set(_features(_run(reference, live, "--features", "size", "--format", "json"))) == {"size"}


def test_a_result_goes_to_a_file_when_told_to(reference: Path, live: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.json"

    result = _run(reference, live, "--format", "json", "--output", output)

    assert result.stdout == ""
    assert json.loads(output.read_text())["units"] == "nats"


def test_parquet_files_are_compared_like_csv_files(reference: Path, live: Path, tmp_path: Path) -> None:
    paths = []
    for path in (reference, live):
        paths.append(tmp_path / f"{path.stem}.parquet")
        pd.read_csv(path).to_parquet(paths[-1])

    parquet = _features(_run(*paths, "--format", "json"))

    assert parquet == _features(_run(reference, live, "--format", "json"))


def test_one_word_among_live_numbers_is_invalid_and_the_numbers_stay_numbers(tmp_path: Path) -> None:
    old = _csv(tmp_path / "old.csv", x=[1, 2, 3, 4], ok=[True, False, True, False])
    new = _csv(tmp_path / "new.csv", x=["1", "2", "3", "oops"], ok=["True", "False", "maybe", "True"])

    found = _features(_run(old, new, "--format", "json"))

    for name, rows in (("x", 3), ("ok", 3)):
        counts = {one["label"]: one["live_count"] for one in found[name]["bins"] if one["live_count"]}
        assert counts.pop("invalid") == 1
        assert sum(counts.values()) == rows


def test_texts_that_look_like_numbers_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("zip\n01234\nA1\n")
    (tmp_path / "new.csv").write_text("zip\n01234\n01234\n")

    bins = _features(_run(tmp_path / "old.csv", tmp_path / "new.csv", "--format", "json"))["zip"]["bins"]

    assert {one["label"]: one["live_count"] for one in bins if one["live_count"]} == {"01234": 2}


def test_columns_that_are_left_out_are_told_on_stderr_and_in_the_document(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "at": pd.date_range("2026-01-01", periods=2)})
    frame.to_parquet(tmp_path / "a.parquet")

    result = _run(tmp_path / "a.parquet", tmp_path / "a.parquet", "--format", "json")

    assert "left out at: " in result.stderr
    assert [one["feature"] for one in json.loads(result.stdout)["skipped"]] == ["at"]


def test_what_does_not_exist_is_null_and_never_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("x,y\n1,\n2,\n")

    text = _run(path, path, "--format", "json").stdout

    json.loads(text, parse_constant=pytest.fail)


class _Page(HTMLParser):
    """What a browser would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [
            str(value) for name, value in attrs if name in ("src", "href", "action") or name.startswith("on")
        ]


def test_the_page_is_one_file_that_loads_and_runs_nothing(reference: Path, live: Path) -> None:
    result = _run(reference, live, "--format", "html")

    assert result.exit_code == 0
    page = _Page(result.stdout)
    assert all(place.startswith("#") for place in page.loaded)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 2
    assert "url(" not in result.stdout and "@import" not in result.stdout
    assert not re.search(r'\sstyle="', result.stdout)


def test_names_and_labels_are_escaped_in_the_page(tmp_path: Path) -> None:
    path = _csv(tmp_path / "x.csv", **{NASTY: [NASTY, "b"] * 20})

    result = _run(path, path, "--format", "html")

    assert result.exit_code == 0
    assert NASTY not in result.stdout
    assert "&lt;script&gt;" in result.stdout
    assert "script" not in _Page(result.stdout).tags


def test_the_page_shows_bits_when_asked(reference: Path, live: Path) -> None:
    assert "in bits" in _run(reference, live, "--format", "html", "--units", "bits").stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "No such file"),
        ("file.xlsx", "x", "expected a file that ends in .csv"),
        ("broken.parquet", "x", "broken.parquet"),
        ("empty.csv", "", "No columns to parse"),
        ("rows.csv", "colour,size\n", "live has no rows"),
        ("ragged.csv", "colour,size\n1,2,3,4\n5\n6,7,8,9,10\n", "ragged.csv"),
        ("other.csv", "shade,weight\nred,1\n", "reference has 'colour', 'size', live has 'shade', 'weight'"),
        ("binary.csv", "\x00\xff\xfe", "binary.csv"),
    ],
)
def test_a_file_that_can_not_be_compared_is_exit_code_2(
    name: str, content: str | None, message: str, reference: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode("latin-1"))

    result = _run(reference, path)

    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


_ROWS = [(index % 4, "red" if index % 3 else "blue", None if index % 10 == 0 else index / 7) for index in range(300)]
_DDL = "CREATE TABLE {} (size integer, colour text, weight double precision, at timestamp)"


def _fill(execute: Any, mark: str) -> None:
    for name, rows in (("old_orders", _ROWS), ("new_orders", _ROWS[:200])):
        execute(_DDL.format(name))
        for size, colour, weight in rows:
            execute(f"INSERT INTO {name} VALUES ({mark}, {mark}, {mark}, NULL)", (size, colour, weight))
    execute(_DDL.format("empty_orders"))


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            _fill(connection.execute, "?")
            connection.commit()
        return f"sqlite:///{tmp_path / 'shop.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as server:
        _fill(server.execute, "%s")
    return url


def test_two_tables_give_the_numbers_of_their_rows_as_frames(source: str, tmp_path: Path) -> None:
    files = []
    for name, rows in (("old", _ROWS), ("new", _ROWS[:200])):
        files.append(tmp_path / f"{name}.csv")
        pd.DataFrame(rows, columns=["size", "colour", "weight"]).to_csv(files[-1], index=False)

    result = _run("old_orders", "new_orders", "--source", source, "--format", "json")

    assert _features(result) == _features(_run(*files, "--format", "json"))
    assert "left out at: " in result.stderr


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (("old_orders", "new_order"), "did you mean 'new_orders'?"),
        (("old_orders", "empty_orders"), "table 'empty_orders' has no rows"),
    ],
)
def test_tables_that_can_not_be_compared_are_exit_code_2(tables: tuple[str, str], message: str, source: str) -> None:
    result = _run(*tables, "--source", source)

    assert result.exit_code == 2
    assert message in result.stderr


def test_a_database_that_can_not_be_reached_is_a_plain_message(tmp_path: Path) -> None:
    result = _run("a", "b", "--source", f"sqlite:///{tmp_path / 'nowhere' / 'shop.db'}")

    assert result.exit_code == 1
    assert "Traceback" not in result.stderr


def test_the_verdict_holds_the_lower_bound_against_the_threshold_and_fails_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    sides = [
        _csv(tmp_path / f"{name}.csv", colour=["red"] * red + ["blue"] * (1_000 - red), size=[1, 2, 3, 4] * 250)
        for name, red in (("old", 600), ("new", 350))
    ]
    told = _run(*sides)
    expected = compare_counts(live=[350, 650], reference=[600, 400])
    low, high = expected.interval["psi"]
    assert 0.1 < low < 0.25 < high
    last = told.stdout.strip().splitlines()[-1]
    assert last.startswith(
        f"Drift in 1 of 2 features: colour: PSI {expected.psi:.3g} (95 %: {low:.3g} to {high:.3g}), "
    )
    assert last.endswith(f", lower bound {low:.4g}, threshold above 0.1.")
    assert json.loads(_run(*sides, "--format", "json").stdout)["verdict"] == last
    assert last in _run(*sides, "--format", "html").stdout
    failing = [_run(*sides, "--fail-on", severity).exit_code for severity in ("warning", "critical")]
    assert (told.exit_code, failing) == (0, [1, 0])
    same = _run(sides[0], sides[0], "--fail-on", "warning")
    assert "No drift: none of 2 features has a lower bound of PSI above 0.1." in same.stdout
    assert same.exit_code == 0


def test_columns_of_one_side_are_named_and_the_others_compared(reference: Path, tmp_path: Path) -> None:
    live = _csv(tmp_path / "other.csv", colour=["red"] * 30, weight=[1] * 30)
    result = _run(reference, live)
    assert "left out size: only the reference has it" in result.stderr
    assert "left out weight: only live has it" in result.stderr
    assert "colour" in result.stdout and result.exit_code == 0


def test_keys_come_last_and_are_not_judged(tmp_path: Path) -> None:
    sides = []
    for name, start in (("old", 0), ("new", 500)):
        ids = range(start, start + 500)
        columns = {"order_id": ids, "note": [f"{name} {number}" for number in ids], "x": [number % 5 for number in ids]}
        sides.append(_csv(tmp_path / f"{name}.csv", **columns))
    result = _run(*sides, "--fail-on", "warning")
    assert result.stdout.splitlines()[1].startswith("x ")
    assert result.exit_code == 0
    assert "Not judged, as keys differ anyway: note, order_id." in result.stdout
