"""What is written is compared with the program: links, commands, flags, configurations, metrics, reasons, views."""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import sqlalchemy as sa

from drift_monitor.daemon.settings import DaemonSettings
from drift_monitor.errors import RUN_FAILURE_REASONS, DeliveryFailure, MissedReason
from drift_monitor.store.schema import metadata
from drift_monitor.store.views import VIEWS, create_views
from drift_monitor.telemetry.metrics import Telemetry
from drift_monitor.web.metrics.families import FAMILIES
from tests.postgresql import PostgresqlServer

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^()\s]+)\)")
FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
USED_LABEL = re.compile(r"\[[^\]]+\]\[(?P<label>[^\]]+)\]")
DEFINED_LABEL = re.compile(r"^\[(?P<label>[^\]]+)\]: https://\S+$", re.MULTILINE)
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
COMMAND = re.compile(r"(?:^|`|\bbin/)drift-monitor +(?P<command>[a-z][a-z-]*)", re.MULTILINE)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9.-]*")
# What belongs to later versions and must not be told as if it were there.
UNFINISHED = re.compile(
    r"drift-monitor (backtest|replay|doctor|reference (accept|undo|show))\b"
    r"|\b(segments):"
    r"|coarse_panes"
    r"|openapi|\bdiagnosis\b",
    re.IGNORECASE,
)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _ids(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", _text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: Path) -> Iterator[str]:
    for match in LINK.finditer(FENCE.sub("", _text(page))):
        if not re.match(r"[a-z]+:", match["target"]):
            yield match["target"]


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name}: no heading #{anchor} in {target.name}"


def _prose(page: Path) -> str:
    """A page without its code, in which brackets and bars mean something else."""
    return re.sub(r"`[^`\n]*`", "code", FENCE.sub("", _text(page)))


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_link_by_label_has_one_address_and_every_address_is_used(page: Path) -> None:
    defined = DEFINED_LABEL.findall(_prose(page))

    assert sorted(defined) == sorted(set(USED_LABEL.findall(_prose(page))))


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_row_of_a_table_fills_the_columns_of_its_head(page: Path) -> None:
    for table in TABLE.findall(_prose(page)):
        head, *rows = table.splitlines()
        for row in rows:
            assert len(_cells(row)) == len(_cells(head)), row


def test_the_comparison_names_the_neighbours_each_with_its_source_and_the_day_it_was_read() -> None:
    section = _text(ROOT / "README.md").partition("## How it compares\n")[2].partition("\n## ")[0]
    (table,) = TABLE.findall(section)
    ours, *others = [_cells(row)[0] for row in table.splitlines()[2:]]

    assert ours.startswith("**drift-monitor**")
    assert all(USED_LABEL.match(name) for name in others), "a row without a link to what was read"
    for neighbour in ("Hopsworks", "Feast", "BigQuery", "Snowflake", "Databricks", "Soda", "Elementary"):
        assert sum(name.startswith(f"[{neighbour}") for name in others) == 1, neighbour
    assert re.search(r"\b\d{1,2} [A-Z][a-z]+ 20\d\d\b", section), "the day it was read"


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_nothing_unfinished_is_told_as_if_it_were_there(page: Path) -> None:
    found = [match[0] for match in UNFINISHED.finditer(_text(page))]

    assert not found


def test_every_page_of_the_documentation_can_be_reached_from_its_index() -> None:
    reached: set[Path] = set()
    ahead = [ROOT / "docs" / "index.md", ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        targets = ((page.parent / link.partition("#")[0]).resolve() for link in _links(page))
        ahead += [target for target in targets if target.suffix == ".md" and target not in reached]

    assert set(PAGES) <= reached


@cache
def _commands() -> dict[str, click.Command]:
    group = importlib.import_module("drift_monitor.cli.main").main
    assert isinstance(group, click.Group)
    context = click.Context(group)
    return {name: command for name in group.list_commands(context) if (command := group.get_command(context, name))}


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_command_that_is_mentioned_exists(page: Path) -> None:
    mentioned = {match["command"] for match in COMMAND.finditer(_text(page))}

    assert mentioned <= set(_commands())


def _parameters(command: click.Command) -> list[click.Parameter]:
    """Those of a command, or of the commands below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(parameter for one in below for parameter in _parameters(one))]


def _sections() -> dict[str, str]:
    """Command to the text of its section in the command line page."""
    parts = re.split(r"^## ", _text(ROOT / "docs" / "command-line.md"), flags=re.MULTILINE)[1:]
    found = {COMMAND.search(part.splitlines()[0]): part for part in parts}
    return {match["command"]: part for match, part in found.items() if match}


def test_every_command_has_a_section() -> None:
    assert set(_sections()) == set(_commands())


@pytest.mark.parametrize("command", sorted(_sections()))
def test_the_flags_of_a_command_are_those_it_takes(command: str) -> None:
    section = _sections()[command]
    tables = "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `--"))
    documented = set(FLAG.findall(tables))
    taken = {
        name
        for parameter in _parameters(_commands()[command])
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in parameter.opts
        if name.startswith("--")
    }
    if command == "demo":  # its page refers to those of `run`
        taken = {name for name in taken if not name.startswith(("--web.", "--log."))}

    assert documented == taken - {"--help"}


def _configurations() -> Iterator[Any]:
    for page in PAGES:
        for number, fence in enumerate(FENCE.finditer(_text(page))):
            if fence["language"] == "yaml":
                yield pytest.param(fence["body"], id=f"{page.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize("text", list(_configurations()))
def test_every_configuration_that_is_shown_is_valid(text: str, tmp_path: Path) -> None:
    load = importlib.import_module("drift_monitor.config.loading").load
    for place in set(re.findall(r"url_file: (\S+)", text)):
        secret = tmp_path / Path(place).name
        secret.write_text("postgresql+psycopg://reader@db/shop\n", encoding="utf-8")
        text = text.replace(place, str(secret))
    path = tmp_path / "drift.yaml"
    path.write_text(text, encoding="utf-8")

    assert load(path).monitors


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_python_program_that_is_shown_compiles(page: Path) -> None:
    for fence in FENCE.finditer(_text(page)):
        if fence["language"] == "python":
            compile(fence["body"], str(page), "exec")


def _exposed() -> dict[str, tuple[str, ...]]:
    """Name as it is scraped, with its labels."""
    telemetry = Telemetry(process_metrics=False)
    telemetry.declare(monitors=["m"], receivers=[("r", "log")], sources=["s"])
    telemetry.source_up("s", up=True)
    telemetry.store_free_bytes(1)
    found = {family.name: family.labels for family in FAMILIES}
    for metric in telemetry.registry.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        found[name] = tuple(label for label in metric.samples[0].labels if label != "le")
    return found


def _documented_metrics() -> dict[str, tuple[str, ...]]:
    rows = re.findall(r"^\| `(drift_\w+)` \|([^|]*)\|", _text(ROOT / "docs" / "metrics.md"), re.MULTILINE)
    return {name: tuple(part.strip() for part in labels.split(",") if part.strip()) for name, labels in rows}


def test_the_metrics_page_lists_exactly_what_is_exposed_with_its_labels() -> None:
    documented, exposed = _documented_metrics(), _exposed()

    assert set(documented) == set(exposed)
    assert {name: set(labels) for name, labels in documented.items()} == {
        name: set(labels) for name, labels in exposed.items()
    }


def test_the_unit_of_systemd_keeps_files_private_and_waits_as_long_as_a_stop_takes() -> None:
    unit = dict(re.findall(r"^(\w+)=(.*)$", _text(ROOT / "docs" / "operations.md"), flags=re.MULTILINE))
    assert unit["UMask"] == "0077"
    settings = DaemonSettings()
    assert int(unit["TimeoutStopSec"]) > (settings.grace + 2 * settings.farewell).total_seconds()


def test_every_metric_that_is_mentioned_anywhere_exists() -> None:
    known = {*_exposed(), *VIEWS["sqlite"], "drift_monitor", "drift_reader", "drift_viewer"}
    for page in PAGES:
        mentioned = set(re.findall(r"\bdrift_[a-z_]+[a-z]\b(?!\.\w+ import)", _text(page)))
        assert mentioned <= known, page


def test_every_reason_of_a_failure_is_on_the_metrics_page() -> None:
    page = _text(ROOT / "docs" / "metrics.md")

    for reason in (*RUN_FAILURE_REASONS, *MissedReason, *DeliveryFailure):
        assert f"`{reason}`" in page, reason


def _statements(page: str, containing: str = "") -> list[str]:
    fences = FENCE.finditer(_text(ROOT / "docs" / page))
    return [fence["body"] for fence in fences if fence["language"] == "sql" and containing in fence["body"]]


def _make_store(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        metadata.create_all(connection)
        create_views(connection)
    return engine


def test_the_queries_that_are_shown_run_on_sqlite(tmp_path: Path) -> None:
    engine = _make_store(f"sqlite:///{tmp_path / 'drift.db'}")
    with engine.connect() as connection:
        for statement in _statements("database-views.md"):
            assert connection.exec_driver_sql(statement).all() == []


def test_the_queries_that_are_shown_run_on_postgresql(postgresql_url: str) -> None:
    engine = _make_store(postgresql_url)
    with engine.connect() as connection:
        for statement in _statements("database-views.md"):
            assert connection.exec_driver_sql(statement).all() == []
    engine.dispose()


def test_the_reading_role_that_is_shown_reads_and_nothing_else(
    postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    database = sa.make_url(postgresql_url).database or ""
    with postgresql_server.connect(database) as connection:
        connection.execute("CREATE TABLE orders (amount int)")
        _execute(connection, _statements("operations.md", "drift_reader"))
    with _log_in(postgresql_server, database, "drift_reader") as reader:
        assert reader.execute("SELECT count(*) FROM public.orders").fetchone() == (0,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("CREATE TEMPORARY TABLE mine (a int)")
    _drop_role(postgresql_server, database, "drift_reader")


def test_the_viewing_role_that_is_shown_reads_the_views_and_not_the_tables(
    postgresql_server: PostgresqlServer, postgresql_url: str
) -> None:
    database = sa.make_url(postgresql_url).database or ""
    _make_store(postgresql_url).dispose()
    with postgresql_server.connect(database) as connection:
        _execute(connection, _statements("operations.md", "drift_viewer"))
    with _log_in(postgresql_server, database, "drift_viewer") as viewer:
        for view in VIEWS["postgresql"]:
            assert viewer.execute(f"SELECT * FROM {view}").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            viewer.execute("SELECT * FROM measurement")
    _drop_role(postgresql_server, database, "drift_viewer")


def _execute(connection: "psycopg.Connection[tuple[object, ...]]", blocks: list[str]) -> None:
    for statement in "\n".join(blocks).split(";"):
        if re.sub(r"--.*", "", statement).strip():
            connection.execute(statement)


def _log_in(server: PostgresqlServer, database: str, role: str) -> "psycopg.Connection[tuple[object, ...]]":
    login = {"host": "127.0.0.1", "port": server.port, "user": role, "password": "change-me", "dbname": database}
    return psycopg.connect(**login, autocommit=True)


def _drop_role(server: PostgresqlServer, database: str, role: str) -> None:
    with server.connect(database) as connection:
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


def test_every_column_of_every_view_is_documented() -> None:
    page = _text(ROOT / "docs" / "database-views.md")
    sections = dict(re.findall(r"^## (drift_\w+)\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL))

    assert set(sections) == set(VIEWS["sqlite"])
    for view, select in VIEWS["sqlite"].items():
        for column in _columns(select):
            plain = re.sub(r"_(low|high)$", "", column)
            assert f"`{plain}`" in sections[view], f"{view}.{column}"


def test_every_reason_an_episode_closes_for_is_documented() -> None:
    page = _text(ROOT / "docs" / "database-views.md")
    episodes = importlib.import_module("drift_monitor.alerting.episodes")

    for reason in (episodes.RECOVERED, episodes.REVISED, episodes.REMOVED):
        assert f"`{reason}`" in page, reason


def _columns(select: str) -> list[str]:
    """The names a SELECT gives its columns; commas inside parentheses do not count."""
    listed = select[select.index("SELECT") + len("SELECT") : select.index("FROM")]
    flat = re.sub(r"\([^()]*(\([^()]*\)[^()]*)*\)", "", listed)
    return [re.split(r"[\s.]+", part.strip())[-1] for part in flat.split(",")]
