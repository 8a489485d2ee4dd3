"""What a statement means on PostgreSQL is ours to say: servers, databases, roles and poolers have their own settings.

Everything is set within the transaction (`set_config(..., true)` is SET LOCAL). So it is in force whichever session a
pooler in transaction mode gives us, nothing of it is left in there for others, and nothing of theirs reaches us.
"""

from collections.abc import Mapping
from typing import Any, Final

SEARCH_PATH: Final = "search_path"  # the one setting that the URL or the role decides; read once with every connection
PINNED: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",  # a float as text is the same float
    "client_encoding": "UTF8",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "transform_null_equals": "off",
}


def prepare(connection: Any, *, read_only: bool) -> str:
    """Make each transaction of a driver's new connection one of our kind; its search path."""
    connection.read_only, connection.deferrable = read_only, False
    (search_path,) = connection.execute("SELECT current_setting('search_path')").fetchone()
    connection.rollback()
    return str(search_path)


def set_local(settings: Mapping[str, str]) -> str:
    """One statement that sets all of these for the rest of the transaction."""
    return "SELECT " + ", ".join(f"set_config('{name}', {_quoted(value)}, true)" for name, value in settings.items())


def _quoted(text: str) -> str:
    """As a literal that means the same whatever `standard_conforming_strings` is."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
