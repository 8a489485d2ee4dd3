"""How many examples a property test tries, in the measure of the profile that is loaded (`tests/conftest.py`)."""

from hypothesis import settings

_USUAL = 100


def examples(number: int) -> settings:
    """So many, or that part of them by which the profile differs from the usual hundred."""
    return settings(max_examples=max(1, number * settings.default.max_examples // _USUAL))
