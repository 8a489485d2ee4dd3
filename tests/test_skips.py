"""The gate for skips, on small runs of its own."""

import pytest

from tests.skips import SkipGate

pytest_plugins = ["pytester"]

SKIPS = """
    import pytest

    def test_this_passes():
        pass

    @pytest.mark.skipif(True, reason="no such program")
    def test_this_is_skipped():
        pass

    @pytest.mark.xfail(reason="known")
    def test_this_fails_as_known():
        assert False
"""


def exit_code(pytester: pytest.Pytester, source: str, gate: SkipGate) -> int:
    pytester.makepyfile(source)
    return int(pytester.inline_run(plugins=[gate]).ret)


def test_a_skip_fails_the_run_where_the_gate_is_closed(pytester: pytest.Pytester) -> None:
    assert exit_code(pytester, SKIPS, SkipGate({"CI": "true"})) == pytest.ExitCode.TESTS_FAILED


def test_a_module_that_skips_itself_fails_the_run_too(pytester: pytest.Pytester) -> None:
    source = 'import pytest\npytest.skip("no such package", allow_module_level=True)\n'
    assert exit_code(pytester, source, SkipGate({"CI": "1"})) == pytest.ExitCode.TESTS_FAILED


def test_an_expected_skip_passes(pytester: pytest.Pytester) -> None:
    gate = SkipGate({"CI": "true"}, frozenset({"no such program"}))
    assert exit_code(pytester, SKIPS, gate) == pytest.ExitCode.OK


def test_skips_pass_where_nobody_set_ci(pytester: pytest.Pytester) -> None:
    assert exit_code(pytester, SKIPS, SkipGate({})) == pytest.ExitCode.OK
