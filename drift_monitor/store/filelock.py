"""An advisory lock on a file beside a SQLite store. The kernel frees it when its process ends, however it ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from drift_monitor.errors import StoreLocked, StoreUnavailable


class FileLock:
    """A held lock; `close` frees it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path, *, owner: str) -> Self:
        """Take the lock at once, or raise StoreLocked with the process that holds it. `owner` names what is locked."""
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "an unknown process"
            os.close(descriptor)
            raise StoreLocked(f"{owner} is in use by {holder}; stop that daemon first, or use another store") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        return cls(descriptor)

    @classmethod
    def wait(cls, path: Path) -> Self:
        """Take the lock as soon as it is free."""
        descriptor = _open(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreUnavailable(f"lock file {path} can't be opened: {error.strerror}") from error
