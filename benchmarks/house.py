"""The figures of the house: how many pieces the code has, and what is typed or named twice.

Run as `python -m benchmarks.house [--list] [CHECKOUT ...]`, by default on this checkout; several stand side by side.
`--list` prints what stands behind each figure. All but one come from the syntax trees:

files, lines      Python files of `drift_monitor/`, and all their lines.
files entered     by one `evaluate`: see `benchmarks/entered.py`.
function lines    From `def` to the last line: without decorators, with the docstring; methods and inner ones, too.
used once         Functions of at most four such lines whose name is used exactly once: private ones in their own
                  file, public ones in the whole package. Imports are no use; decorated public ones don't count.
a divergence      Files in which `hellinger` is typed, in any spelling, outside comments and docstrings; all migrations
                  are one file, as a new divergence needs one new migration.
a key             Files of `config/` in which a key of a monitor is typed: the mean of four keys.
a receiver        Files in which `pagerduty` is typed; examples and documents not counted.
defaults          A parameter or field of one name, with the same default written out in more than one file, also in
                  `Field(default=...)`. None doesn't count; a second line leaves out False, what is empty, and
                  constants by their name.
public twins      Names without underscore of classes in more than one file.
two-way pairs     Folders that import each other, wherever the import stands. A file beside the rooms is a room, too;
                  `__init__` and `__main__` of the package are not.
comments          Those that are more than a pragma for a linter.
"""

import argparse
import ast
import io
import math
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.entered import entered_files

PACKAGE = "drift_monitor"
KEYS = ("settle", "revise", "catch_up", "min_rows")
SHORT = 4
NEUTRAL = {"False", "''", "()", "[]", "{}", "frozenset()", "tuple()", "..."}
PRAGMA = re.compile(r"#\s*(type:|noqa|pragma|fmt:|ruff:)")

Places = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """One line of the table, and what stands behind it."""

    name: str
    value: str
    wanted: str = ""
    behind: Sequence[str] = ()


@dataclass(frozen=True)
class House:
    """The package of a checkout: its texts and syntax trees, by path inside the package."""

    checkout: Path
    texts: Mapping[Path, str]
    trees: Mapping[Path, ast.Module]

    @property
    def lines(self) -> int:
        return sum(text.count("\n") for text in self.texts.values())


def read_house(checkout: Path) -> House:
    package = checkout.resolve() / PACKAGE
    texts = {file.relative_to(package): file.read_text(encoding="utf-8") for file in sorted(package.rglob("*.py"))}
    return House(checkout.resolve(), texts, {file: ast.parse(text) for file, text in texts.items()})


def public_twins(house: House) -> Places:
    """Public class names with two meanings, and their files."""
    places = defaultdict(set)
    for file, tree in house.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(str(file))
    return _in_two_files(places)


def double_defaults(house: House, *, neutral: bool = True) -> Places:
    """Defaults that stand in more than one file, and these files; with or without those that choose nothing."""
    places = defaultdict(set)
    for file, tree in house.trees.items():
        for name, default in _defaults(tree):
            written = ast.unparse(default)
            is_neutral = written in NEUTRAL or isinstance(default, ast.Name)
            if written != "None" and (neutral or not is_neutral):
                places[f"{name} = {written}"].add(str(file))
    return _in_two_files(places)


def two_way_pairs(house: House) -> Places:
    """Pairs of rooms and folders that import each other, with one import for each direction."""
    arrows: dict[tuple[str, str], str] = {}
    for file, tree in house.trees.items():
        for module in _imported(house, file, tree):
            inner, outer = _room(file), _room(module)
            if inner != outer and "" not in (inner, outer):
                arrows.setdefault((inner, outer), f"{file} imports {module}")
    return {
        f"{inner} <> {outer}": [example, arrows[outer, inner]]
        for (inner, outer), example in sorted(arrows.items())
        if inner < outer and (outer, inner) in arrows
    }


def _in_two_files(places: Mapping[str, Iterable[str]]) -> Places:
    sorted_places = {name: sorted(files) for name, files in sorted(places.items())}
    return {name: files for name, files in sorted_places.items() if len(files) > 1}


def _defaults(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            positional = [*node.args.posonlyargs, *node.args.args]
            with_default = positional[len(positional) - len(node.args.defaults) :]
            for argument, default in zip(with_default, node.args.defaults, strict=True):
                yield argument.arg, default
            for argument, keyword_default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                if keyword_default is not None:
                    yield argument.arg, keyword_default
        elif isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value:
                    yield field.target.id, _unwrapped(field.value)


def _unwrapped(value: ast.expr) -> ast.expr:
    """What `Field(default=...)` or `field(default_factory=...)` says; a field without a default has None."""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func).lower().endswith("field")):
        return value
    keywords = {keyword.arg: keyword.value for keyword in value.keywords}
    given = keywords.get("default") or keywords.get("default_factory") or (value.args[0] if value.args else None)
    return given or ast.Constant(None)


def _imported(house: House, importer: Path, tree: ast.Module) -> Iterator[Path]:
    """Files of the package that a file imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = [PACKAGE, *importer.parts][: -node.level] if node.level else []
            module = ".".join([*above, node.module or ""]).rstrip(".")
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == PACKAGE and len(parts) > 1:
                base = Path(*parts[1:])
                yield from (file for file in (base.with_suffix(".py"), base / "__init__.py") if file in house.texts)


def _room(file: Path) -> str:
    if file.parent.name:
        return str(file.parent)
    return "" if file.name.startswith("__") else file.name


def figures(checkout: Path) -> list[Figure]:
    """The whole table of a checkout."""
    house = read_house(checkout)
    entered = entered_files(house.checkout)
    names = Counter(file.name for file in house.texts if file.name != "__init__.py")
    twice = sorted(f"{name}: {count} times" for name, count in names.items() if count > 1)
    return [
        Figure("files", str(len(house.texts)), "<= 175"),
        Figure("lines", str(house.lines), "<= 25,500"),
        Figure("files entered by one evaluate", str(len(entered)), "<= 60", entered),
        *_function_figures(house),
        *_files_to_touch(house),
        _places_figure("defaults typed in two files", double_defaults(house), "0"),
        _places_figure("  without False, empty and constants", double_defaults(house, neutral=False), "0"),
        _places_figure("public class names with two meanings", public_twins(house), "0"),
        _places_figure("pairs of folders that import both ways", two_way_pairs(house), "0"),
        Figure("file names that occur twice", str(len(twice)), "", twice),
        _comments(house),
    ]


def _places_figure(name: str, places: Places, wanted: str) -> Figure:
    return Figure(name, str(len(places)), wanted, [f"{key}: {', '.join(files)}" for key, files in places.items()])


def _function_figures(house: House) -> Iterator[Figure]:
    functions = [
        (file, node)
        for file, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    uses = {file: _uses(tree) for file, tree in house.trees.items()}
    everywhere = sum(uses.values(), Counter[str]())
    lengths = sorted(_length(function) for _, function in functions)
    private, public = [], []
    for file, function in functions:
        name, place = function.name, f"{file}:{function.lineno} {function.name}"
        if _length(function) > SHORT or name.startswith("__"):
            continue
        if name.startswith("_") and uses[file][name] == 1:
            private.append(place)
        elif not name.startswith("_") and everywhere[name] == 1 and not function.decorator_list:
            public.append(place)
    yield Figure("functions", str(len(lengths)))
    yield Figure("function lines, median", str(_quantile(lengths, 0.5)), "8-9")
    yield Figure("function lines, 90th percentile", str(_quantile(lengths, 0.9)), "25-32")
    yield Figure("private functions used once, <= 4 lines", str(len(private)), "<= 40", private)
    yield Figure("public functions used once, <= 4 lines", str(len(public)), "", public)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _uses(tree: ast.Module) -> Counter[str]:
    """How often each name is read or called; a method counts by its name alone."""
    used = (node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute))
    return Counter(node.id if isinstance(node, ast.Name) else node.attr for node in used)


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[math.ceil(share * len(ordered)) - 1]


def _files_to_touch(house: House) -> Iterator[Figure]:
    code = {str(file): _code(tree) for file, tree in house.trees.items()}
    migrations = [
        str(file.relative_to(house.checkout))
        for file in sorted((house.checkout / "migrations").rglob("*.py"))
        if _typed("hellinger", _code(ast.parse(file.read_text(encoding="utf-8"))))
    ]
    divergence = [file for file, text in code.items() if _typed("hellinger", text)] + migrations[:1]
    config = {file: text for file, text in code.items() if file.startswith("config/")}
    keys = {key: [file for file, text in config.items() if _typed(rf"\b{key}\b", text)] for key in KEYS}
    mean = sum(map(len, keys.values())) / len(keys)
    receiver = [file for file, text in code.items() if _typed("pagerduty", text)]
    yield Figure("files to touch for a divergence", str(len(divergence)), "2", divergence)
    yield Figure("files to touch for a key", f"{mean:g}", "1", [f"{key}: {', '.join(keys[key])}" for key in KEYS])
    yield Figure("files to touch for a receiver", str(len(receiver)), "<= 3", receiver)


def _typed(pattern: str, code: str) -> bool:
    return re.search(pattern, code, re.IGNORECASE) is not None


def _code(tree: ast.Module) -> str:
    """The text without comments, docstrings and layout."""
    bare = ast.parse(ast.unparse(tree))
    for node in ast.walk(bare):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body[0] = ast.Pass()
    return ast.unparse(bare)


def _comments(house: House) -> Figure:
    comments = [
        f"{file}:{token.start[0]} {token.string}"
        for file, text in house.texts.items()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not PRAGMA.match(token.string)
    ]
    return Figure("comments in 100 lines", f"{100 * len(comments) / house.lines:.1f}", "3-4", comments)


def main() -> None:
    """Print the table, a column for each checkout."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house", description="The figures of the house.")
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT", default=[Path(__file__).parent.parent])
    parser.add_argument("--list", action="store_true", help="what stands behind each figure")
    arguments = parser.parse_args()
    tables = [figures(checkout) for checkout in arguments.checkouts]
    titles = [checkout.resolve().name[:12] for checkout in arguments.checkouts]
    print(f"{'':42}", *(f"{title:>12}" for title in titles), f"{'wanted':>12}")
    for line in zip(*tables, strict=True):
        print(f"{line[0].name:42}", *(f"{figure.value:>12}" for figure in line), f"{line[0].wanted:>12}")
    if arguments.list:
        for title, table in zip(titles, tables, strict=True):
            for figure in table:
                print(f"\n{title}: {figure.name}: {figure.value}", *figure.behind, sep="\n    ")


if __name__ == "__main__":
    main()
