"""Every `drift-monitor ...` that a message, page, rule or document names can be typed: command, flags, arguments."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from drift_monitor.cli.main import main

ROOT = Path(__file__).parents[2]
PLACES = (
    "drift_monitor/**/*.py",
    "drift_monitor/**/*.html",
    "docs/**/*.md",
    "*.md",
    "config/**/*.y*ml",
    "compose.yaml",
)
QUOTED = re.compile(r"`(?:\S*/)?drift-monitor ([^`]*)`")
LINE = re.compile(r"(?m)^(?:[ #$]*)(?:\S*/)?drift-monitor ((?:-|[a-z])(?:\\\n|[^\n])*)")
NO_COMMAND = re.compile(r"(?:is|does|has|was|can|at|and|in|on|of|for|reads|takes|with|itself|that|[a-z]+ed)\b")


def mentioned() -> Iterator[tuple[Path, str]]:
    for pattern in PLACES:
        for path in sorted(ROOT.glob(pattern)):
            text = path.read_text()
            found = {match[1] for match in QUOTED.finditer(text)}
            if path.suffix == ".md":
                fences = "\n".join(re.findall(r"```(?:\w*)\n(.*?)```", text, re.DOTALL))
                found |= {match[1] for match in LINE.finditer(fences)}
            yield from ((path.relative_to(ROOT), one) for one in sorted(found) if not NO_COMMAND.match(one))


def typed(command: str) -> list[str]:
    """The words that are typed: no output is shown, nothing is optional, and one of several stands for all."""
    text = re.split(r"\s(?:[>|&;#]|2>)|\.\.\.$", command.replace("\\\n", " "))[0]
    words = shlex.split(re.sub(r"\{[^{}]*\}|<[^<>]*>", "X", re.sub(r"[\[\]]", "", text)))
    return [word.replace("\\|", "|").split("|")[0].removesuffix("...") for word in words]


def check(words: list[str]) -> None:
    """Raise AssertionError where a word is none of a command's."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]!r}"
        command, words = found, words[1:]
    flags = {name: parameter for parameter in command.params for name in parameter.opts}
    flags |= dict.fromkeys(("--help", "-h", "--version"), click.Option(["--help"], is_flag=True))
    position, arguments = 0, 0
    while position < len(words):
        name, equals, _ = words[position].partition("=")
        if not name.startswith("-") or name == "-":
            arguments += 1
        else:
            assert name in flags, f"{command.name} has no flag {name}"
            flag = flags[name]
            assert isinstance(flag, click.Option)
            position += not equals and not flag.is_flag
        position += 1
    most = sum(
        1 if parameter.nargs == 1 else 1_000 for parameter in command.params if isinstance(parameter, click.Argument)
    )
    assert arguments <= most, f"{command.name} takes {most} arguments"


MENTIONED = list(mentioned())


def test_many_places_are_looked_at() -> None:
    assert {path.suffix for path, _ in MENTIONED} >= {".py", ".md"} and len(MENTIONED) > 80


@pytest.mark.parametrize(("path", "command"), MENTIONED, ids=[f"{path}: {command}" for path, command in MENTIONED])
def test_what_is_mentioned_parses(path: Path, command: str) -> None:
    check(typed(command))


@pytest.mark.parametrize("command", ["evaluat", "history --monitr=x", "init URL TABLE MORE", "reference rebild"])
def test_what_does_not_parse_is_noticed(command: str) -> None:
    with pytest.raises(AssertionError):
        check(typed(command))
