"""A wall clock that tests set, for one process: `shim.c`, compiled and preloaded."""

import os
import struct
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.programs import find_program

SOURCE = Path(__file__).with_name("shim.c")


def compile_shim(folder: Path) -> Path:
    """The shared library, made with the machine's C compiler."""
    library = folder / "clockshim.so"
    compiler = find_program("cc", "gcc", package="gcc libc6-dev")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library, SOURCE, "-ldl"], check=True
    )
    return library


class ShiftedClock:
    """The wall clock of the processes started with `environment`."""

    def __init__(self, library: Path, file: Path) -> None:
        self._library = library
        self._file = file
        self._shift = timedelta(0)
        self.shift(timedelta(0))

    @property
    def environment(self) -> Mapping[str, str]:
        return {"LD_PRELOAD": str(self._library), "CLOCKSHIFT_FILE": str(self._file)}

    def shift(self, by: timedelta) -> None:
        """Whole seconds between the true time and what the processes see; written at once, in place."""
        self._shift = timedelta(seconds=round(by.total_seconds()))
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(file, struct.pack("=q", int(self._shift.total_seconds())), 0)
        os.close(file)

    def set(self, moment: datetime) -> None:
        """Make it `moment` now, to the second; the clock runs on from there."""
        self.shift(moment - datetime.now(UTC))

    def move(self, by: timedelta) -> None:
        """Forward, or back where negative."""
        self.shift(self._shift + by)

    def now(self) -> datetime:
        """What the processes see."""
        return datetime.now(UTC) + self._shift
