"""Load a configuration: every mistake at once, or the checked values.

Mistakes in YAML itself stop the reading where they stand. Everything else is collected: each section is read through
its model, secrets are read from their files, names and times are checked against each other as far as they are sound.

Secrets that stand in files of their own: the `_file` twin of a key.

The file is read when the configuration is loaded, and again by a reload. Its path is relative to the configuration.
One trailing newline is dropped; the rest is the secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from drift_monitor.config import checks, timing
from drift_monitor.config.assembly import Assembly
from drift_monitor.config.document import Path_, parse_document, read_text
from drift_monitor.config.fields import check_database_url
from drift_monitor.config.outbound import ANYWHERE, OutboundConfig
from drift_monitor.config.receiver_sections import EmailSection, ReceiverSection, kind_of
from drift_monitor.config.report import Draft, Report
from drift_monitor.config.schema import Config
from drift_monitor.config.section import SecretCheck, Section
from drift_monitor.config.sections import (
    FeatureSection,
    MonitorSection,
    OutboundSection,
    ReferenceSection,
    RetentionSection,
    RootSection,
    RuleSection,
    SourceSection,
    StoreSection,
)

SectionT = TypeVar("SectionT", bound=Section)


def load(path: Path | str, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a file; raises ConfigError. `environ` is the process's own where not given."""
    path = Path(path)
    return parse(read_text(path), file=path, environ=environ)


def parse(text: str, *, file: Path | str = "config.yaml", environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a text; `file` names it in messages, and its folder is where `_file` keys start."""
    path = Path(file)
    document = parse_document(text, str(file), os.environ if environ is None else environ)
    reading = _Reading(Report(document=document), path.parent)
    reading.check()
    reading.report.finish()
    root = RootSection.model_validate(document.value)
    return Assembly(root=root, secrets=reading.secrets).config(path, tuple(reading.report.notes))


class _Reading:
    """One pass over a document. Sections are read twice, as parts of the whole and alone; a problem is kept once."""

    def __init__(self, report: Report, directory: Path) -> None:
        self.report = report
        self.directory = directory
        self.root: Any = report.document.value
        self.secrets: dict[Path_, SecretStr] = {}

    def check(self) -> None:
        self.report.read(RootSection, self.root, ())
        if not isinstance(self.root, Mapping):
            return
        for key in ("sources", "monitors", "receivers"):
            checks.check_unique_names(self.report, self.root.get(key), (key,))
        self._check_secrets()
        checks.check_rules(self.report, self._drafts(RuleSection, self.root.get("rules"), ("rules",)))
        for monitor in self._drafts(MonitorSection, self.root.get("monitors"), ("monitors",)):
            self._check_monitor(monitor)

    def _drafts(self, model: type[SectionT], items: Any, path: Path_) -> list[Draft[SectionT]]:
        if not isinstance(items, list):
            return []
        drafts = (self.report.read(model, item, (*path, index)) for index, item in enumerate(items))
        return [draft for draft in drafts if draft is not None]

    def _check_secrets(self) -> None:
        store = self.report.read(StoreSection, self.root.get("store", {"url": "sqlite://"}), ("store",))
        if store is not None and store.intact("url_file"):
            self._read_secret((*store.path, "url"), store.section.url_file, check_database_url)
            self._note_password(store)
        for source in self._drafts(SourceSection, self.root.get("sources"), ("sources",)):
            if source.intact("url_file"):
                self._read_secret((*source.path, "url"), source.section.url_file, check_database_url)
            self._note_password(source)
        outbound = self._outbound()
        for receiver in self._drafts(ReceiverSection, self.root.get("receivers"), ("receivers",)):
            self._read_receiver_secrets(receiver)
            checks.check_repeats(self.report, receiver)
            if outbound.allow is not None:
                checks.check_outbound(self.report, receiver, outbound, self.secrets)

    def _outbound(self) -> OutboundConfig:
        """As written; where that is a mistake, nothing is held against it."""
        draft = self.report.read(OutboundSection, self.root.get("outbound", {}), ("outbound",))
        return OutboundConfig(allow=draft.section.allow) if draft and draft.intact("allow") else ANYWHERE

    def _read_receiver_secrets(self, receiver: Draft[ReceiverSection]) -> None:
        written = kind_of(receiver.section)
        if written is None or not receiver.intact(written[0]):
            return
        kind, section = written
        for key, check in section.secret_files.items():
            self._read_secret((*receiver.path, kind, key), getattr(section, f"{key}_file"), check)
        if isinstance(section, EmailSection):
            checks.check_mail(self.report, section, (*receiver.path, kind))

    def _read_secret(self, path: Path_, name: str | None, check: SecretCheck | None) -> None:
        twin: Path_ = (*path[:-1], f"{path[-1]}_file")
        secret = read_secret(self.report, twin, name, self.directory)
        if secret is None:
            return
        try:
            self.secrets[path] = check(secret) if check is not None else secret
        except PydanticCustomError as error:
            context = error.context or {}
            self.report.add(twin, f"the content of the file {context['message']}", context["hint"])

    def _note_password(self, section: Draft[SourceSection] | Draft[StoreSection]) -> None:
        path = (*section.path, "url")
        written = self.report.document.places.get(path)
        if section.section.url is not None and written is not None and _holds_password(written.text or ""):
            self.report.note(path, "a password stands in the configuration", "use url_file or a ${VARIABLE}")

    def _check_monitor(self, monitor: Draft[MonitorSection]) -> None:
        report, path, section = self.report, monitor.path, monitor.section
        written = _at(self.root, path)
        sources = checks.names_of(self.root.get("sources"))
        if monitor.intact("source"):
            checks.check_reference_name(report, section.source, (*path, "source"), "source", sources)
        checks.check_receivers(report, monitor, checks.names_of(self.root.get("receivers")))
        checks.check_unique_names(report, written.get("features"), (*path, "features"))
        features = self._drafts(FeatureSection, written.get("features"), (*path, "features"))
        checks.check_features(report, monitor, features)
        checks.check_rules(report, self._drafts(RuleSection, written.get("rules"), (*path, "rules")))
        self._check_reference(monitor, written, sources)

    def _check_reference(self, monitor: Draft[MonitorSection], written: Mapping[str, Any], sources: list[str]) -> None:
        report, path = self.report, (*monitor.path, "reference")
        grid = timing.check_panes(report, monitor)
        reference = report.read(ReferenceSection, written["reference"], path) if "reference" in written else None
        if reference is None:
            return
        checks.check_reference_keys(report, reference, written["reference"])
        checks.check_reference_name(report, reference.section.source, (*path, "source"), "source", sources)
        timing.check_reference_times(report, monitor, reference, grid)
        retention = self._retention()
        if retention is not None:
            timing.check_retention(report, retention, monitor, reference)

    def _retention(self) -> RetentionSection | None:
        store = self.root.get("store")
        written = store.get("retention", {}) if isinstance(store, Mapping) else {}
        draft = self.report.read(RetentionSection, written, ("store", "retention"))
        return draft.section if draft is not None and draft.intact("panes") else None


def _at(value: Any, path: Path_) -> Any:
    for part in path:
        value = value[part]
    return value


def _holds_password(written: str) -> bool:
    """Whether a URL as written has a literal password between its user and its host."""
    authority = written.partition("://")[2].partition("/")[0]
    user, at, _ = authority.rpartition("@")
    _, colon, password = user.partition(":")
    return bool(at and colon and password and not password.startswith("${"))


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
