"""Addresses of Apprise, asked of Apprise itself: which schemes there are is its knowledge, and it is an extra.

Its logger quotes the addresses it refuses, and these are secrets: it says nothing while it is asked, and nothing below
`critical` afterwards.
"""

import importlib
import importlib.util
import logging

from pydantic import SecretStr

from drift_monitor.config.fields import mistake

EXTRA = 'pip install "drift-monitor[apprise]"'


def check_apprise_url(value: SecretStr) -> SecretStr:
    """An address that Apprise can send to; messages show nothing of it."""
    if importlib.util.find_spec("apprise") is None:
        raise mistake("needs an extra that is not installed", EXTRA)
    if _instance(value.get_secret_value()) is None:
        raise mistake("is no address that Apprise knows, or one with something missing", "see its list of services")
    return value


def check_apprise_urls(value: SecretStr) -> SecretStr:
    """Such addresses, one a line, as a file holds them."""
    lines = value.get_secret_value().split()
    for line in lines:
        check_apprise_url(SecretStr(line))
    if not lines:
        raise mistake("must hold an address a line")
    return value


def _instance(url: str) -> object:
    apprise = importlib.import_module("apprise")
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    return apprise.Apprise.instantiate(url, suppress_exceptions=True)
