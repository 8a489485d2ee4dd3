"""Stores that 7e1daeb filled, brought to today's schema: all that users read in them is what it was then.

Expected values are those that 7e1daeb gave itself, recorded beside the stores; see `tests/store/stores`.
"""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.store.stores import rows
from tests.store.stores.asking import (
    VIEW_KEYS,
    Asked,
    listening,
    load_postgresql,
    recorded,
    unpack_sqlite,
    view_rows,
)
from tests.store.stores.rows import HOURS, hour

TOLERANCE = 1e-12
EXPLAINED = (("orders", 8, "amount"), ("orders", HOURS, "country"), ("visits_periods", HOURS, "device"))

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def migrated(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Asked:
    """The store of 7e1daeb, migrated to head; its source has lost all that references were made from."""
    if engine == "sqlite":
        unpack_sqlite(tmp_path / "drift.db")
        url = f"sqlite:///{tmp_path / 'drift.db'}"
    else:
        url = request.getfixturevalue("postgresql_url")
        load_postgresql(url)
    source = tmp_path / "shop.db"
    rows.lay_out_what_is_left(source)
    asked = Asked(url, source)
    done = asked.run("migrate")
    assert done.exit_code == 0, done.stderr
    assert asked.run("migrate", "--check").exit_code == 0
    return asked


def test_every_view_gives_what_it_gave(engine: str, migrated: Asked) -> None:
    for view, then in recorded(engine)["views"].items():
        now = view_rows(migrated.store_url, view, then["columns"])

        assert len(now["rows"]) == len(then["rows"]) > 0, view
        key = [then["columns"].index(name) for name in VIEW_KEYS[view]]
        for row, before in zip(now["rows"], then["rows"], strict=True):
            assert_same(row, before, f"{view}, {[before[place] for place in key]}")


def test_the_command_line_and_the_api_tell_the_same(engine: str, migrated: Asked) -> None:
    then = recorded(engine)["answers"]
    now = migrated.answers()

    assert now.keys() == then.keys()
    for question, answer in then.items():
        assert_same(now[question], answer, question)
    for monitor, window, feature in EXPLAINED:
        at = f"--at={hour(window).isoformat()}"
        explained = migrated.run("explain", f"--monitor={monitor}", at, f"--feature={feature}")
        assert explained.exit_code == 0, explained.stderr
        assert feature in explained.stdout


def test_the_next_window_needs_no_reference_anew(engine: str, migrated: Asked, tmp_path: Path) -> None:
    """References and panes come from the store, and what waited for receivers is sent, as 7e1daeb would have.

    Noise floors are exact sums by now, and with them the ends of intervals are a little different.
    """
    then = recorded(engine)["next"]
    with listening() as hook:
        asked = Asked(migrated.store_url, migrated.source, hook.url)
        evaluated = asked.evaluate_next()

    assert_same(evaluated, then["evaluated"], "evaluate", floors=True)
    for view, expected in then["views"].items():
        now = view_rows(asked.store_url, view, expected["columns"])["rows"]
        place = [expected["columns"].index(name) for name in VIEW_KEYS[view]]
        written = {tuple(row[index] for index in place): row for row in now}
        for row in expected["rows"]:
            key = tuple(row[index] for index in place)
            before, after = (dict(zip(expected["columns"], found, strict=True)) for found in (row, written[key]))
            assert_same(after, before, f"{view}, {key}", floors=True)
    assert_same(hook.accepted(), then["posts"], "posts", floors=True)
    assert_same(asked.notifications_of_next(), then["notifications"], "notifications", floors=True)


ONE_VALUE = re.compile(r"\[(.*), \1\)")


NUMBER = re.compile(r"[0-9]+\.[0-9]+(?:e-[0-9]+)?")
# What follows from a noise floor: it, the ends of intervals, what rules compare, and texts with these numbers.
CHANGED = re.compile(r"(^|_)(low|high|noise_floor|value|peak|observed|description|summary|reason|text)$")
FLOORS = 0.25  # the most that floors were: 2 x 0.122 of PSI, of a monitor without smoothing, which has none by now


def assert_same(now: Any, then: Any, where: str, *, floors: bool = False) -> None:
    """Numbers to 1e-12, all else exactly; a document may have gained keys. `floors`: but for what they changed."""
    match then:
        case dict():
            assert isinstance(now, dict), where
            for key, value in then.items():
                assert key in now, f"{where}: {key} is gone"
                if key == "label" and (one := ONE_VALUE.fullmatch(str(value))) and now[key] == one[1]:
                    continue  # a bin of one value is called by the value by now
                is_leaf = isinstance(value, float | str)
                assert_same(
                    now[key], value, f"{where}, {key}", floors=floors and (not is_leaf or bool(CHANGED.search(key)))
                )
        case list():
            assert isinstance(now, list), where
            assert len(now) == len(then), where
            for position, (item, value) in enumerate(zip(now, then, strict=True)):
                assert_same(item, value, f"{where}, {position}", floors=floors)
        case float():
            assert isinstance(now, float | int) and not isinstance(now, bool), f"{where}: {now!r}, not {then!r}"
            least = FLOORS if floors else TOLERANCE
            is_near = math.isclose(now, then, rel_tol=0, abs_tol=least * max(1.0, abs(then)))
            assert is_near, f"{where}: {now!r}, not {then!r}"
        case str() if floors:
            assert NUMBER.sub("#", now) == NUMBER.sub("#", then), f"{where}: {now!r}, not {then!r}"
        case _:
            assert (now, type(now)) == (then, type(then)), f"{where}: {now!r}, not {then!r}"
