"""Ids as people use them: short in tables, and the first characters are enough to say which one is meant."""

from collections.abc import Collection, Mapping
from typing import Final

from drift_monitor.errors import InputError

SHORTEST: Final = 8  # characters of an id in a table


def shortened(ids: Collection[str]) -> Mapping[str, str]:
    """Each id to its first characters, as many as tell all of them apart."""
    longest = max(map(len, ids), default=SHORTEST)
    length = next((n for n in range(SHORTEST, longest) if len({id[:n] for id in ids}) == len(set(ids))), longest)
    return {id: id[:length] for id in ids}


def completed(text: str, ids: Collection[str]) -> str | None:
    """The id that is or begins with a text, None where there is none; raises InputError where there are several."""
    if text in ids:
        return text
    found = sorted({id for id in ids if text and id.startswith(text)})
    if len(found) > 1:
        raise InputError(f"the id {text!r} is that of several: {', '.join(found)}")
    return found[0] if found else None
