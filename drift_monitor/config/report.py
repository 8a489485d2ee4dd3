"""Mistakes, collected and told in one form.

A `Report` belongs to one document and reads it through the model of its root. It turns what pydantic says into our own
words and knows the place of every value. A value whose mistake is known already gets no second one. What stands in a
secret's place is never shown; elsewhere values are shown as they are written, before variables are expanded.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any, Generic, TypeVar, get_args

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from drift_monitor.config.document import Document, Path_
from drift_monitor.config.fields import Section, WrittenAs
from drift_monitor.errors import ConfigError, Problem

T = TypeVar("T")
RootT = TypeVar("RootT", bound=Section)
Sections = tuple[type[Section], ...]  # of a key that has several forms all of them, else one

# Not the scheme of a URL: its user and password, wherever it stands.
_CREDENTIALS = re.compile(r"(?<![^\s'\"/(\[])[^\s/:'\"]*:(?!//)[^\s'\"]*@")
_LONGEST_SHOWN = 60  # characters: a value is named, not printed
_PLANNED = frozenset({"segments", "coarse_panes"})  # keys of later versions
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
}
_BOUNDS = {"ge": "must be at least", "gt": "must be more than", "le": "must be at most", "lt": "must be less than"}


@dataclass(frozen=True, kw_only=True)
class Draft(Generic[T]):
    """A section as far as it could be read: `broken` keys hold placeholders or defaults, not what is written."""

    section: T
    path: Path_
    written: Mapping[str, Any]
    broken: frozenset[str]

    def intact(self, *keys: str) -> bool:
        return self.broken.isdisjoint(keys)


@dataclass(kw_only=True)
class Report(Generic[RootT]):
    """What is wrong with one document, and what is worth a note though it is not wrong.

    `root` is the whole document, None where there are mistakes in it; `draft` gives its sections in both cases.
    `secrets` were read from files and are checked in place of the keys they stand for.
    """

    document: Document
    model: type[RootT]
    root: RootT | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    secrets: dict[Path_, SecretStr] = field(default_factory=dict)
    _value: Any = None
    _broken: dict[Path_, set[str]] = field(default_factory=dict)  # section -> its keys with a mistake in or below them

    def __post_init__(self) -> None:
        self.problems.extend(self.document.problems)
        self._value = self.document.value
        for path in self.document.broken:
            self._break(path)

    def add(self, path: Path_, message: str, hint: str | None = None, *, at_key: bool = False) -> None:
        """A mistake at a path; one without a place of its own stands at the nearest value around it."""
        if any(path[:length] in self.document.broken for length in range(len(path) + 1)):
            return
        self.problems.append(self._problem(path, message, hint, at_key=at_key))

    def note(self, path: Path_, message: str, hint: str | None = None) -> None:
        self.notes.append(self._problem(path, message, hint, at_key=False))

    def finish(self) -> RootT:
        """The root; raises ConfigError with all problems in the order of the file, if there are any."""
        if self.problems or self.root is None:
            ordered = sorted(self.problems, key=lambda problem: (problem.line, problem.column, problem.message))
            raise ConfigError(tuple(dict.fromkeys(ordered)))
        return self.root

    def sections(self) -> Iterator[tuple[Path_, Sections, Mapping[str, Any]]]:
        """Every section that is written, from the outside in."""
        if isinstance(self.document.value, Mapping):
            yield from _sections((self.model,), self.document.value, ())

    def read(self) -> None:
        """Read the whole document, once, and note what is wrong with each key by itself."""
        for path, sections, written in self.sections():
            # What pydantic can't say: keys that exclude each other, or that the service itself sets.
            known, section = keys_of(sections), sections[0]
            for key in section.filled_in.intersection(written):
                self._add_unknown((*path, key), known)
            files = [
                ((key, f"{key}_file"), field.is_required()) for key, field in known.items() if f"{key}_file" in known
            ]
            needed = (*section.exactly_one, *(pair for pair, is_required in files if is_required))
            for group in needed:
                if _meant(written, known).isdisjoint(group):
                    self.add(path, f"needs one of {', '.join(group)}", at_key=True)
            for group in (*needed, *section.at_most_one, *(pair for pair, is_required in files if not is_required)):
                present = [key for key in group if key in written]
                if len(present) > 1:
                    self.add(
                        (*path, present[1]), f"excludes {present[0]}", f"keep one of {', '.join(group)}", at_key=True
                    )
                # Not `_break`: the section and whatever holds it can still be checked without these keys.
                self._broken.setdefault(path, set()).update(present[1:])
        if self.secrets:
            self._value = copy.deepcopy(self.document.value)
            for path, secret in self.secrets.items():
                self.at(path[:-1])[path[-1]] = secret
        try:
            self.root = self.model.model_validate(self._value)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                self._add_detail(detail)

    def at(self, path: Path_) -> Any:
        """The value at a path as it is written, with secrets in their places; None where there is none."""
        value = self._value
        for part in path:
            value = _below(value, part)
        return value

    def draft(self, model: type[Section], path: Path_) -> Draft[Any] | None:
        """One section, or what the program uses in its place. Of a broken one the sound keys; None where none are."""
        written, broken = self.at(path), frozenset(self._broken.get(path, ()))
        if self.root is not None:
            section = _attribute(self.root, path)
        else:
            sound = {} if written is None else written
            if isinstance(written, Mapping):
                sound = {key: written[key] for key in keys_of((model,)) if key in written and key not in broken}
                unmet = (group for group in model.exactly_one if sound.keys().isdisjoint(group))
                absent = broken.union(*unmet)
                sound |= {key: value for key, value in model.placeholders.items() if key in absent}
            try:
                section = model.model_validate(sound).used()
            except ValidationError:
                return None
        keys_written = written if isinstance(written, Mapping) else {}
        return Draft(section=section, path=path, written=keys_written, broken=broken)

    def drafts(self, model: type[Section], path: Path_) -> list[Draft[Any]]:
        """The sections of a list, without those of which nothing can be made."""
        items = self.at(path)
        length = len(items) if isinstance(items, list) else 0
        found = (self.draft(model, (*path, index)) for index in range(length))
        return [draft for draft in found if draft is not None]

    def _break(self, path: Path_) -> None:
        for length, part in enumerate(path):
            self._broken.setdefault(path[:length], set()).add(str(part))

    def _add_detail(self, detail: ErrorDetails) -> None:
        """One of pydantic's mistakes in our words."""
        path: Path_ = ()
        for part in detail["loc"]:
            if (*path, part) in self.document.places or (*path, part) in self.secrets:
                path = (*path, part)
        owner = self._owner(detail["loc"])
        last = str(detail["loc"][-1]) if detail["loc"] else ""
        self._break((*path, last) if detail["type"] == "missing" else path)
        context = detail.get("ctx") or {}
        secret = next((path[:length] for length in range(len(path) + 1) if path[:length] in self.secrets), None)
        if secret is not None:
            if detail["type"] == "mistake":
                twin: Path_ = (*secret[:-1], f"{secret[-1]}_file")
                self.add(twin, f"the content of the file {context['message']}", str(context["hint"]))
            return
        if last == "[key]":
            self.add(path, str(context.get("message", detail["msg"])), str(context.get("hint", "")), at_key=True)
            return
        match detail["type"]:
            case "told":
                pass
            case "extra_forbidden":
                if last not in keys_of(owner):  # else a key of another form, which `checks` explains
                    self._add_unknown(path, keys_of(owner))
            case "missing":
                self._add_missing(path, last, owner)
            case "no_date":
                self.add(path, str(context["message"]))
            case "mistake":
                self.add(path, str(context["message"]) + self._found(path), str(context["hint"]))
            case "enum" | "literal_error":
                expected = str(context["expected"]).replace(" or ", ", ").split(", ")
                choices = [choice.strip().strip("'") for choice in expected]
                hint = close_match(self.document.place(path).text or "", choices)
                self.add(path, f"must be one of {', '.join(choices)}{self._found(path)}", hint)
            case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
                key, bound = next((key, value) for key, value in context.items() if key in _BOUNDS)
                limit = f"{bound:g}" if isinstance(bound, float) else str(bound)
                self.add(path, f"{_BOUNDS[key]} {limit}{self._found(path)}")
            case "too_short" | "too_long" | "string_too_short":
                self._add_length(path, context)
            case kind:
                is_scalar = self.document.place(path).text is not None
                quotes = "put it in quotes" if kind == "string_type" and is_scalar else ""
                self.add(path, _SHORT.get(kind, detail["msg"]) + self._found(path), quotes)

    def _add_unknown(self, path: Path_, known: Mapping[str, Any]) -> None:
        key, subject, place = str(path[-1]), self.subject(path[:-1]), self.document.place(path)
        hint = close_match(key, list(known)) or (f"known here: {', '.join(known)}" if known else "no key is known here")
        if key in _PLANNED:
            hint = "not available in this version"
        message = f"{subject}: unknown key {key!r}" if subject else f"unknown key {key!r}"
        self.problems.append(Problem(self.document.file, place.key_line, place.key_column, message, hint))

    def _add_missing(self, path: Path_, key: str, owner: Sections) -> None:
        """A key that is needed, unless a misspelt one stands for it or `_check_keys` has asked for it."""
        written, known = self.at(path), keys_of(owner)
        written = written if isinstance(written, Mapping) else {}
        if f"{key}_file" in known or key in _meant(written, known):
            return
        description = known[key].description or ""
        needing = next((first for section in owner for first, second in section.needs.items() if second == key), None)
        if needing is not None:
            self.add((*path, needing), f"needs {key}, {description}", at_key=True)
        else:
            self.add((*path, key), "is missing", description, at_key=True)

    def _add_length(self, path: Path_, context: Mapping[str, Any]) -> None:
        """A list's length, unless it only seems short because items of it are broken."""
        written, least, most = self.at(path), context.get("min_length"), context.get("max_length")
        length = len(written) if isinstance(written, list) else 0
        if isinstance(written, str):
            self.add(path, "must not be empty")
        elif least is not None and length < least:
            self.add(path, f"must hold {least} or more, found {length}")
        elif most is not None and length > most:
            self.add(path, f"must hold {most:,} at most, found {length:,}")

    def _problem(self, path: Path_, message: str, hint: str | None, *, at_key: bool) -> Problem:
        place = self.document.place(path)
        line, column = (place.key_line, place.key_column) if at_key else (place.line, place.column)
        subject = self.subject(path)
        said = f"{subject}: {message}" if subject else message
        return Problem(self.document.file, line, column, without_passwords(said), without_passwords(hint or ""))

    def subject(self, path: Path_) -> str:
        """The path as people say it, items of lists by their name: monitors[credit].features[age].bins."""
        value, said = self.document.value, ""
        for part in path:
            value = _below(value, part)
            if isinstance(part, str):
                said += f".{part}" if said else part
            else:
                is_secret = (not secret_keys(self.model).isdisjoint(map(str, path))) and not isinstance(value, Mapping)
                said += f"[{part if is_secret else _item_name(value, part)}]"
        return said

    def _owner(self, loc: tuple[str | int, ...]) -> Sections:
        owner: Sections = (self.model,)
        for part in loc[:-1]:
            key = keys_of(owner).get(str(part))
            owner = (sections_of(key) if key is not None else ()) or owner
        return owner

    def _found(self, path: Path_) -> str:
        place = self.document.place(path)
        if place.text is None:
            return f", found {place.kind}"
        if not secret_keys(self.model).isdisjoint(map(str, path)):
            return ""
        # Of a URL only its scheme, since it may hold a password.
        scheme, separator, _ = place.text.partition("://")
        text = f"{scheme}://..." if separator else place.text
        return f", found {text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + '...'!r}"


@cache
def keys_of(sections: Sections) -> Mapping[str, FieldInfo]:
    """The keys of a section as they are written; of several forms those of all of them."""
    return {
        key.alias or name: key
        for section in sections
        for name, key in section.model_fields.items()
        if name not in section.filled_in
    }


def sections_of(key: FieldInfo) -> Sections:
    """The sections a key may hold, alone or in a list; none for plain values."""
    return tuple(dict.fromkeys(_within((key.annotation, *key.metadata), Section)))


@cache
def secret_keys(section: type[Section]) -> frozenset[str]:
    """The keys below a section that hold secrets."""
    found: set[str] = set()
    for name, key in keys_of((section,)).items():
        if next(_within((key.annotation,), SecretStr), None) is not None:
            found.add(name)
        for nested in sections_of(key):
            found |= secret_keys(nested)
    return frozenset(found)


def _within(annotations: tuple[Any, ...], wanted: type) -> Iterator[Any]:
    """The types of a kind that annotations name."""
    for annotation in annotations:
        if isinstance(annotation, WrittenAs):
            yield from _within((annotation.section,), wanted)
        elif isinstance(annotation, type) and issubclass(annotation, wanted):
            yield annotation
        else:
            yield from _within(get_args(annotation), wanted)


def _sections(sections: Sections, value: Any, path: Path_) -> Iterator[tuple[Path_, Sections, Mapping[str, Any]]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                yield from _sections(sections, item, (*path, index))
    elif isinstance(value, Mapping):
        yield path, sections, value
        for name, key in keys_of(sections).items():
            nested = sections_of(key) if name in value else ()
            if nested:
                yield from _sections(nested, value[name], (*path, name))


def _attribute(section: Any, path: Path_) -> Any:
    """What stands at a path of the document in the sections that were made of it."""
    for part in path:
        if isinstance(part, int):
            section = section[part]
        else:
            fields = type(section).model_fields.items()
            section = getattr(section, next(name for name, key in fields if (key.alias or name) == part))
    return section


def without_passwords(text: str) -> str:
    """A name or host in which somebody wrote credentials, as in `user:password@host`, without these."""
    return _CREDENTIALS.sub("...@", text)


def close_match(found: str, choices: list[str]) -> str:
    """`did you mean 'x'?` where one of the choices is near, else nothing."""
    matches = get_close_matches(found, choices, n=1)
    return f"did you mean {matches[0]!r}?" if matches else ""


def _meant(written: Mapping[str, Any], known: Mapping[str, Any]) -> frozenset[str]:
    """The keys that are written, and those that misspelt ones stand for: they need no second complaint."""
    near = (match for key in written if key not in known for match in get_close_matches(key, list(known), n=1))
    return frozenset(written) | frozenset(near)


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
