"""Mistakes, collected and told in one form.

A `Report` belongs to one document. It reads sections through their models, turns what pydantic says into our own
words, and knows the place of every value. A value whose mistake is known already gets no second one. What stands in a
secret's place is never shown; elsewhere values are shown as they are written, before variables are expanded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from drift_monitor.config.document import Document, Path_, Place
from drift_monitor.config.section import Section
from drift_monitor.errors import ConfigError, Problem

SectionT = TypeVar("SectionT", bound=Section)

_SECRET_KEYS = frozenset({"url", "urls", "webhook_url", "secret", "auth_password", "routing_key", "basic_auth_users"})
_LONGEST_SHOWN = 60
# Keys of later versions. Those of `_PLANNED_KINDS` stand in for what a section would need otherwise.
_PLANNED_KINDS = frozenset({"false_alarms"})
_PLANNED = frozenset({"segments", "coarse_panes"}) | _PLANNED_KINDS
_SHORT = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "dict_type": "must be a mapping (key: value)",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "union_tag_invalid": "must be a list of features, or all",
}


@dataclass(frozen=True, kw_only=True)
class Draft(Generic[SectionT]):
    """A section as far as it could be read: `broken` keys hold placeholders or defaults, not what is written."""

    section: SectionT
    path: Path_
    broken: frozenset[str]

    def intact(self, *keys: str) -> bool:
        return self.broken.isdisjoint(keys)


@dataclass(kw_only=True)
class Report:
    """What is wrong with one document, and what is worth a note though it is not wrong."""

    document: Document
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.problems.extend(self.document.problems)

    def add(self, path: Path_, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """A mistake at a path; one without a place of its own stands at the nearest value around it."""
        if any(path[:length] in self.document.broken for length in range(len(path) + 1)):
            return
        self.problems.append(self._problem(path, message, hint, at_key=at_key))

    def note(self, path: Path_, message: str, hint: str = "") -> None:
        self.notes.append(self._problem(path, message, hint, at_key=False))

    def finish(self) -> None:
        """Raises ConfigError with all problems in the order of the file, if there are any."""
        if self.problems:
            unique = dict.fromkeys(sorted(self.problems, key=lambda one: (one.line, one.column, one.message)))
            raise ConfigError(tuple(unique))

    def read(self, model: type[SectionT], value: Any, path: Path_) -> Draft[SectionT] | None:
        """One section. A broken one comes back with its sound keys; None where nothing can be made of it."""
        broken = {str(one[len(path)]) for one in self.document.broken if one[: len(path)] == path and one != path}
        self._check_exclusions(model, value, path)
        try:
            return Draft(section=model.model_validate(value), path=path, broken=frozenset(broken))
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        for detail in details:
            self._add_detail(model, detail, path)
            broken |= {str(part) for part in detail["loc"][:1]}
        if not isinstance(value, Mapping):
            return None
        sound = {key: one for key, one in value.items() if key not in broken and key in keys_of(model)}
        try:
            section = model.model_validate(dict(model.placeholders) | sound)
        except ValidationError:
            return None
        return Draft(section=section, path=path, broken=frozenset(broken))

    def _check_exclusions(self, model: type[Section], value: Any, path: Path_) -> None:
        if not isinstance(value, Mapping):
            return
        meant = _meant(model, value)
        for group in model.exactly_one:
            if meant.isdisjoint(group) and not _PLANNED_KINDS.intersection(value):
                self.add(path, f"needs one of {', '.join(group)}", at_key=True)
        for group in (*model.exactly_one, *model.at_most_one):
            present = [key for key in group if key in value]
            if len(present) > 1:
                self.add((*path, present[1]), f"excludes {present[0]}", f"keep one of {', '.join(group)}", at_key=True)
        for key, model_field in keys_of(model).items():
            nested = section_of(model_field.annotation)
            if nested is not None and key in value:
                for below, item in _items(value[key], (*path, key)):
                    self._check_exclusions(nested, item, below)

    def _add_detail(self, model: type[Section], detail: ErrorDetails, base: Path_) -> None:
        path = self._known(base, detail["loc"])
        owner = _owner(model, detail["loc"])
        last = str(detail["loc"][-1]) if detail["loc"] else ""
        context = detail.get("ctx") or {}
        if last == "[key]":
            self.add(path, str(context.get("message", detail["msg"])), str(context.get("hint", "")), at_key=True)
            return
        match detail["type"]:
            case "missing":
                written = self._written(path)
                if last not in _meant(owner, written) and not _PLANNED_KINDS.intersection(written):
                    self.add((*path, last), "is missing", keys_of(owner)[last].description or "", at_key=True)
            case "extra_forbidden":
                self._add_unknown(path, last, owner)
            case "mistake":
                self.add(path, str(context["message"]) + self._found(path), str(context["hint"]))
            case "enum" | "literal_error":
                self._add_choice(path, str(context["expected"]))
            case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
                self.add(path, _bound(context) + self._found(path))
            case "too_short" | "too_long" | "string_too_short":
                self._add_length(path, context)
            case kind:
                quotes = "put it in quotes" if kind == "string_type" and self._is_scalar(path) else ""
                self.add(path, _SHORT.get(kind, detail["msg"]) + self._found(path), quotes)

    def _add_unknown(self, path: Path_, key: str, owner: type[Section]) -> None:
        place = self.place(path)
        subject = self.subject(path[:-1])
        message = f"{subject}: unknown key {key!r}" if subject else f"unknown key {key!r}"
        self.problems.append(
            Problem(self.document.file, place.key_line, place.key_column, message, _key_hint(key, owner))
        )

    def _add_length(self, path: Path_, context: Mapping[str, Any]) -> None:
        """A list's length, unless it only seems short because items of it are broken."""
        written, least, most = self._at(path), context.get("min_length"), context.get("max_length")
        length = len(written) if isinstance(written, list) else 0
        if isinstance(written, str):
            self.add(path, "must not be empty")
        elif least is not None and length < least:
            self.add(path, f"must hold {least} or more, found {length}")
        elif most is not None and length > most:
            self.add(path, f"must hold {most:,} at most, found {length:,}")

    def _add_choice(self, path: Path_, expected: str) -> None:
        choices = [choice.strip().strip("'") for choice in expected.replace(" or ", ", ").split(", ")]
        text = self.place(path).text
        self.add(path, f"must be one of {', '.join(choices)}{self._found(path)}", close_match(text or "", choices))

    def _problem(self, path: Path_, message: str, hint: str, *, at_key: bool) -> Problem:
        place = self.place(path)
        line, column = (place.key_line, place.key_column) if at_key else (place.line, place.column)
        subject = self.subject(path)
        return Problem(self.document.file, line, column, f"{subject}: {message}" if subject else message, hint)

    def place(self, path: Path_) -> Place:
        while path not in self.document.places:
            path = path[:-1]
        return self.document.places[path]

    def subject(self, path: Path_) -> str:
        """The path as people say it, items of lists by their name: monitors[credit].features[age].bins."""
        value, said = self.document.value, ""
        hidden = bool(_SECRET_KEYS.intersection(str(part) for part in path))
        for part in path:
            value = _below(value, part)
            if isinstance(part, str):
                said += f".{part}" if said else part
            else:
                is_secret = hidden and not isinstance(value, Mapping)
                said += f"[{part if is_secret else _item_name(value, part)}]"
        return said

    def _at(self, path: Path_) -> Any:
        value = self.document.value
        for part in path:
            value = _below(value, part)
        return value

    def _written(self, path: Path_) -> Mapping[str, Any]:
        value = self._at(path)
        return value if isinstance(value, Mapping) else {}

    def _known(self, base: Path_, loc: tuple[str | int, ...]) -> Path_:
        path = base
        for part in loc:
            path = (*path, part) if (*path, part) in self.document.places else path
        return path

    def _is_scalar(self, path: Path_) -> bool:
        return self.place(path).text is not None

    def _found(self, path: Path_) -> str:
        place = self.place(path)
        if place.text is None:
            return f", found {place.kind}"
        if _SECRET_KEYS.intersection(str(part) for part in path):
            return ""
        return f", found {_shown(place.text)!r}"


def keys_of(model: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section as they are written."""
    return {one.alias or name: one for name, one in model.model_fields.items()}


def section_of(annotation: Any) -> type[Section] | None:
    """The section a key holds, alone or in a list; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for inner in get_args(annotation):
        found = section_of(inner)
        if found is not None:
            return found
    return None


def close_match(found: str, choices: list[str]) -> str:
    """`did you mean 'x'?` where one of the choices is near, else nothing."""
    matches = get_close_matches(found, choices, n=1)
    return f"did you mean {matches[0]!r}?" if matches else ""


def _meant(model: type[Section], written: Mapping[str, Any]) -> frozenset[str]:
    """The keys that are written, and those that misspelt ones stand for: they need no second complaint."""
    known = list(keys_of(model))
    near = (match for key in written if key not in known for match in get_close_matches(key, known, n=1))
    return frozenset(written) | frozenset(near)


def _owner(model: type[Section], loc: tuple[str | int, ...]) -> type[Section]:
    for part in loc[:-1]:
        model_field = keys_of(model).get(str(part))
        if model_field is not None:
            model = section_of(model_field.annotation) or model
    return model


def _key_hint(key: str, owner: type[Section]) -> str:
    if key in _PLANNED:
        return "not available in this version"
    known = list(keys_of(owner))
    return close_match(key, known) or (f"known here: {', '.join(known)}" if known else "no key is known here")


def _bound(context: Mapping[str, Any]) -> str:
    words = {"ge": "must be at least", "gt": "must be more than", "le": "must be at most", "lt": "must be less than"}
    key, bound = next((key, value) for key, value in context.items() if key in words)
    return f"{words[key]} {bound:g}" if isinstance(bound, float) else f"{words[key]} {bound}"


def _items(value: Any, path: Path_) -> Iterator[tuple[Path_, Any]]:
    if isinstance(value, list):
        yield from (((*path, index), item) for index, item in enumerate(value))
    else:
        yield path, value


def _below(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(str(part))
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _item_name(value: Any, index: int) -> str:
    name = value.get("name") if isinstance(value, Mapping) else value
    if isinstance(name, str) and 0 < len(name) <= _LONGEST_SHOWN and name.isprintable() and "://" not in name:
        return name
    return str(index)


def _shown(text: str) -> str:
    """The text, shortened; of a URL only its scheme, since it may hold a password."""
    scheme, separator, _ = text.partition("://")
    text = f"{scheme}://..." if separator else text
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
