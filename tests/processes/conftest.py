"""Everything in this folder starts processes. Templates are made once; each test has a stage of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.postgresql import PostgresqlServer
from tests.processes.outcome import Outcome
from tests.processes.stage import Stage, Template, make_template, staged

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.processes)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("sqlite"), None)


@pytest.fixture(scope="session")
def postgresql_template(tmp_path_factory: pytest.TempPathFactory, postgresql_server: PostgresqlServer) -> Template:
    return make_template(tmp_path_factory.mktemp("postgresql"), postgresql_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def template(request: pytest.FixtureRequest) -> Template:
    made: Template = request.getfixturevalue(f"{request.param}_template")
    return made


@pytest.fixture
def open_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Opens stages of the test's own."""
    with ExitStack() as stack:
        yield lambda template, name="stage", source=None: stack.enter_context(staged(template, tmp_path / name, source))


@pytest.fixture
def stage(open_stage: Callable[..., Stage], template: Template) -> Stage:
    return open_stage(template)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Template], Outcome]:
    """What one service that nobody disturbs leaves behind; run once for each kind of store."""
    known: dict[str, Outcome] = {}

    def outcome(template: Template) -> Outcome:
        if template.kind not in known:
            with staged(template, tmp_path_factory.mktemp("undisturbed")) as stage:
                stage.run_until_quiet(stage.orders("undisturbed"))
                known[template.kind] = stage.outcome()
        return known[template.kind]

    return outcome


@pytest.fixture
def expected(template: Template, undisturbed: Callable[[Template], Outcome]) -> Outcome:
    return undisturbed(template)
