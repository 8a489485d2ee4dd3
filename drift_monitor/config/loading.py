"""Load a configuration: every mistake at once, or the values in effect.

Mistakes in YAML itself stop the reading where they stand. Everything else is collected: secrets are read from their
files, the document is read through its model, and names and times are checked against each other as far as they are
sound.

A secret may stand in a file of its own, which the `_file` twin of its key names, relative to the configuration. The
file is read when the configuration is loaded, and again by a reload. One trailing newline is dropped; the rest is the
secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from drift_monitor.config import checks
from drift_monitor.config.document import Document, Path_, parse_document, read_text
from drift_monitor.config.report import Report, keys_of
from drift_monitor.config.schema import Config, resolved

_LARGEST_SECRET = 65_536  # bytes; a longer file is not a secret but a mistake


def load(path: Path | str, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a file; raises ConfigError. `environ` is the process's own where not given."""
    return load_with_places(path, environ)[0]


def load_with_places(path: Path | str, environ: Mapping[str, str] | None = None) -> tuple[Config, Document]:
    """The same, and where everything stands in the file."""
    return _read(read_text(Path(path)), Path(path), environ)


def parse(text: str, *, file: Path | str = "config.yaml", environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a text; `file` names it in messages, and its folder is where `_file` keys start."""
    return _read(text, Path(file), environ)[0]


def _read(text: str, path: Path, environ: Mapping[str, str] | None) -> tuple[Config, Document]:
    document = parse_document(text, str(path), os.environ if environ is None else environ)
    report = Report(document=document, model=Config)
    for section, models, written in report.sections():
        for key in keys_of(models):
            twin = f"{key}_file"
            if twin in written and twin in keys_of(models):
                secret = _read_secret(report, (*section, twin), written[twin], path.parent)
                if secret is not None and key not in written:
                    report.secrets[(*section, key)] = secret
    report.read()
    checks.check(report)
    return resolved(report.finish(), path, tuple(report.notes)), document


def _read_secret(report: Report[Config], path: Path_, name: object, directory: Path) -> SecretStr | None:
    """The content of a secret file; None where there is none, with a problem if one was named."""
    if path in report.document.broken or not isinstance(name, str) or not name.strip() or "\x00" in name:
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
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        report.add(path, f"the file {name!r} is not UTF-8 text")
        return None
    if not text:
        report.add(path, f"the file {name!r} is empty")
        return None
    return SecretStr(text)
