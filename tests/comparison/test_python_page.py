"""The examples of docs/python.md are typed in and must answer as printed."""

import doctest
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
FENCE = re.compile(r"^```pycon\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_example_answers_as_printed() -> None:
    """One session for the whole page, as a reader would have it."""
    text = PAGE.read_text(encoding="utf-8")
    examples = [
        example
        for fence in FENCE.finditer(text)
        for example in doctest.DocTestParser().get_examples(fence["body"], name=str(PAGE))
    ]
    test = doctest.DocTest(examples, {"__name__": "__main__"}, PAGE.name, str(PAGE), 0, text)
    printed: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)

    runner.run(test, out=printed.append)

    assert examples
    if runner.failures:
        pytest.fail("".join(printed), pytrace=False)
