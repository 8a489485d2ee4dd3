"""A SQLite store is copied and made smaller while others write to it."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from drift_monitor.errors import InputError, StoreError, StoreUnavailable
from drift_monitor.store.connection import Store
from drift_monitor.store.upkeep import backup, vacuum
from tests.store.conftest import opened

PAIRS = 2000


@contextmanager
def busy(path: Path) -> Iterator[list[int]]:
    """Somebody writes two rows in each transaction; how often they have."""
    written: list[int] = []
    over = threading.Event()

    def go_on() -> None:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as other:
            while not over.is_set():
                number = len(written)
                other.executescript(
                    f"BEGIN IMMEDIATE; INSERT INTO pair VALUES ({number}); INSERT INTO pair VALUES ({number}); COMMIT"
                )
                written.append(number)
                over.wait(0.01)  # SQLite gives no turns: who never rests would keep all others out

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join()


@pytest.fixture
def path(sqlite_store: Store) -> Path:
    assert sqlite_store.path is not None
    with closing(sqlite3.connect(sqlite_store.path)) as connection:
        connection.execute("CREATE TABLE pair (n INTEGER)")
        connection.execute("CREATE TABLE bulk (text TEXT)")
        connection.executemany("INSERT INTO bulk VALUES (?)", [("x" * 1000,)] * PAIRS)
        connection.commit()
    return sqlite_store.path


def wait_until_written(written: list[int], more: int = 20) -> None:
    wanted = len(written) + more
    while len(written) < wanted:
        threading.Event().wait(0.01)


def test_a_copy_made_while_others_write_is_whole_private_and_of_one_moment(
    sqlite_store: Store, path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    with busy(path) as written:
        wait_until_written(written)
        size = backup(sqlite_store, target)
        wait_until_written(written)
    assert size == target.stat().st_size > PAIRS * 1000
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        counts = {count for (count,) in copy.execute("SELECT count(*) FROM pair GROUP BY n")}
    assert counts == {2}, "never half a transaction"
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


def test_a_file_that_is_there_is_kept_and_so_is_the_store(sqlite_store: Store, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(InputError, match=r"copy\.db is there already; name another file, or give --force"):
        backup(sqlite_store, target)
    assert target.read_text() == "precious"
    with pytest.raises(InputError, match="name another file"):
        backup(sqlite_store, path, force=True)
    with pytest.raises(InputError, match="is no directory"):
        backup(sqlite_store, tmp_path / "nowhere" / "copy.db")
    assert backup(sqlite_store, target, force=True) > 0


def test_a_damaged_store_gives_no_copy_and_leaves_the_last_good_one(
    sqlite_store: Store, path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    backup(sqlite_store, target)
    good = target.read_bytes()
    sqlite_store.checkpoint()
    sqlite_store.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 5000] = b"\xff" * 5000
    path.write_bytes(content)
    with pytest.raises((StoreError, StoreUnavailable), match=r"damaged|could not be copied"):
        backup(sqlite_store, target, force=True)
    assert target.read_bytes() == good


def test_room_is_given_back_in_steps_between_which_others_write(sqlite_store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM bulk")
        connection.commit()
    with busy(path) as written:
        wait_until_written(written)
        begun = len(written)
        before, after = vacuum(sqlite_store)
        assert len(written) > begun
    assert after < before / 2, "what the other has written since takes room, too"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_was_not_made_for_steps_is_rewritten_once(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bulk (text TEXT)")
        connection.executemany("INSERT INTO bulk VALUES (?)", [("x" * 1000,)] * PAIRS)
        connection.execute("DELETE FROM bulk")
        connection.commit()
    with opened(f"sqlite:///{path}") as store:
        before, after = vacuum(store)
        assert after < before / 10
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_other_stores_are_refused_by_name(postgresql_store: Store, tmp_path: Path) -> None:
    for work in (lambda: backup(postgresql_store, tmp_path / "x"), lambda: vacuum(postgresql_store)):
        with pytest.raises(InputError, match="is no SQLite file; "):
            work()
    with opened(f"sqlite:///{tmp_path / 'none.db'}") as store, pytest.raises(InputError, match="does not exist"):
        backup(store, tmp_path / "x")
    assert not (tmp_path / "none.db").exists()
