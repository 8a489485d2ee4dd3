"""Walks the models: every key a configuration may hold, with the path of sections that leads to it."""

from collections.abc import Iterator

from drift_monitor.config.fields import Section
from drift_monitor.config.report import keys_of, sections_of


def all_keys(*sections: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, field in keys_of(sections).items():
        yield path, key
        nested = sections_of(field)
        if nested:
            yield from all_keys(*nested, path=(*path, key))
