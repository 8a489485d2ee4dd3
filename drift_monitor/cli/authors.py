"""Who says something, and why: the flags of commands that others will read about."""

import getpass

import click

from drift_monitor.errors import InputError

author_flag = click.option("--author", metavar="NAME", help="Who says so; by default the name you are logged in with.")
comment_flag = click.option("--comment", required=True, metavar="TEXT", help="Why; others will read it.")


def login_name(given: str | None) -> str:
    """The given name, else that of the login; raises InputError where there is none, as in many containers."""
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        raise InputError("this login has no name; say who you are with --author NAME") from None
