"""What people said of alerts that fire, as a page shows it: silenced until when, or looked after by whom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from drift_monitor.monitoring.alerts.documents import Handling


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One silence or acknowledgement; `of` names the rules it is about where it is not about all of them."""

    author: str
    comment: str
    until: datetime | None = None  # a silence's end
    of: str = ""

    @property
    def state(self) -> str:
        return "acknowledged" if self.until is None else "silenced"


def remarks(said: Sequence[tuple[str, Handling]]) -> Sequence[Remark]:
    """Remarks on some alerts by their rules, each once; of several silences the one that ends last."""
    found: dict[Remark, list[str]] = {}
    for rule, handling in said:
        for remark in _remarks(handling):
            found.setdefault(remark, []).append(rule)
    return [
        remark if len(rules) == len(said) else replace(remark, of=", ".join(rules)) for remark, rules in found.items()
    ]


def _remarks(handling: Handling) -> Iterator[Remark]:
    for silence in handling.silenced_by[:1]:
        yield Remark(author=silence.author, comment=silence.comment, until=silence.ends_at)
    if handling.acknowledged is not None:
        yield Remark(author=handling.acknowledged.author, comment=handling.acknowledged.comment)
