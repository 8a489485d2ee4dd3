"""Walks the models: every key a configuration may hold, with the path of sections that leads to it."""

from collections.abc import Iterator

from drift_monitor.config.report import keys_of, section_of
from drift_monitor.config.section import Section


def all_keys(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, field in keys_of(model).items():
        yield path, key
        inner = section_of(field.annotation)
        if inner is not None:
            yield from all_keys(inner, (*path, key))
