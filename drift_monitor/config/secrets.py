"""Secrets that stand in files of their own: the `_file` twin of a key.

The file is read when the configuration is loaded, and again by a reload. Its path is relative to the configuration.
One trailing newline is dropped; the rest is the secret.
"""

from pathlib import Path

from pydantic import SecretStr

from drift_monitor.config.document import Path_
from drift_monitor.config.report import Report

_LARGEST_SECRET = 65_536  # bytes; a longer file is not a secret but a mistake


def read_secret(report: Report, path: Path_, name: str | None, directory: Path) -> SecretStr | None:
    """The content of a secret file; None where there is none, with a problem if one was named."""
    if name is None:
        return None
    try:
        with (directory / name).open("rb") as stream:
            content = stream.read(_LARGEST_SECRET + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        report.add(path, f"the file {name!r} can't be read: {reason}", f"looked for {directory / name}")
        return None
    if len(content) > _LARGEST_SECRET:
        report.add(path, f"the file {name!r} is larger than 64 KB")
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        report.add(path, f"the file {name!r} is not UTF-8 text")
        return None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        report.add(path, f"the file {name!r} is empty")
        return None
    return SecretStr(text)
