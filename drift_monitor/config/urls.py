"""URLs of databases: which ones we can read, and what people write in them that means something to another program.

A message never shows more of a URL than its dialect, its driver and the names of its options.
"""

import re
from difflib import get_close_matches
from urllib.parse import parse_qsl

_DIALECT = re.compile(r"(?P<dialect>[A-Za-z][A-Za-z0-9_]*)(?:\+(?P<driver>[A-Za-z0-9_]+))?://(?P<rest>.*)", re.DOTALL)
DIALECTS = ("sqlite", "postgresql")
DRIVERS = {"sqlite": (None, "pysqlite"), "postgresql": (None, "psycopg")}

# Of libpq, as PostgreSQL 17 has them.
_OPTIONS = """
application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle
keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version options
passfile password port require_auth requirepeer requiressl service ssl_max_protocol_version
ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslmode sslnegotiation
sslpassword sslrootcert sslsni target_session_attrs tcp_user_timeout user
""".split()  # noqa: SIM905 a list of forty lines otherwise
_SCHEMA = "write options=-csearch_path=NAME, or put the schema before the table's name"
_POOL = "leave it out; a source has `max_connections`"
_PREPARED = "leave it out: no statement is prepared by name, so that a pooler needs no care"
_TIME_OUT = "a source has `statement_timeout`; to wait for a connection, write connect_timeout=SECONDS"
# Options of JDBC, asyncpg, Prisma, node-postgres and others.
_FOREIGN = {
    **dict.fromkeys(("schema", "currentschema", "current_schema", "search_path", "searchpath"), _SCHEMA),
    **dict.fromkeys(("ssl", "usessl", "sslaccept", "sslfactory", "tls"), "write sslmode=require, or sslmode=disable"),
    **dict.fromkeys(("connection_limit", "pool_size", "max_overflow", "pool_max", "maximumpoolsize"), _POOL),
    **dict.fromkeys(("pgbouncer", "prepared_statements", "statement_cache_size", "preparethreshold"), _PREPARED),
    **dict.fromkeys(("prepared_statement_cache_size", "prefer_simple_protocol", "preferquerymode"), _PREPARED),
    **dict.fromkeys(("timeout", "command_timeout", "sockettimeout", "pool_timeout", "statement_timeout"), _TIME_OUT),
    **dict.fromkeys(("logintimeout", "connecttimeout"), "write connect_timeout=SECONDS"),
    **dict.fromkeys(("charset", "encoding", "characterencoding"), "leave it out: texts are read as UTF-8"),
    "applicationname": "write application_name=NAME",
    "timezone": "leave it out; what times without a zone mean is the source's `time_zone`",
}


def url_mistake(url: str) -> tuple[str, str] | None:
    """What is wrong with the URL of a source or store, and what to do; None where nothing is."""
    match = _DIALECT.fullmatch(url)
    if match is None:
        example = "sqlite:///data.db or postgresql+psycopg://user@host/database"
        return f"must be a database URL such as {example}", ""
    dialect, driver = match["dialect"], match["driver"]
    if dialect == "postgres":
        return "the dialect 'postgres' is spelled 'postgresql'", "write postgresql://"
    if dialect not in DIALECTS:
        supported = " and ".join(DIALECTS)
        return f"databases of the dialect {dialect!r} are not supported yet", f"supported now: {supported}"
    if driver not in DRIVERS[dialect]:
        known = DRIVERS[dialect][1]
        return f"the driver {driver!r} is not supported", f"write {dialect}:// or {dialect}+{known}://"
    return _address_mistake(match["rest"]) if dialect == "postgresql" else _file_mistake(match["rest"])


def _file_mistake(rest: str) -> tuple[str, str] | None:
    path, asked, options = rest.partition("?")
    if asked and parse_qsl(options):
        return f"a SQLite file takes no options, and this URL has {_names(options)}", "end it with the file's name"
    if path and not path.startswith("/"):
        return "a SQLite URL has three slashes before a file's name, four before an absolute one", "sqlite:///data.db"
    return None


def _address_mistake(rest: str) -> tuple[str, str] | None:
    # The first @ ends a password, so that one which holds another is cut there; / and # before it do no harm.
    user, at, address = rest.partition("@")
    address, _, options = (address if at else user).partition("?")
    host, _, _ = address.partition("/")
    if "@" in address:
        return "an '@' within the password ends it", "write %40 for '@' in a user or password"
    if at and "/" in user.partition(":")[0]:
        return "a '/' in the user's name ends the host", "write %2F for '/' in a user"
    if "," in host:
        return "several hosts can't stand before the database", "write ?host=HOST:PORT&host=HOST:PORT after it"
    ports = re.sub(r"\[[^]]*\]", "", host).split(":")[1:]
    if any(not (port.isascii() and port.isdigit() and 0 < int(port) < 65536) for port in ports):
        special = "write %2F for '/', %3F for '?', %23 for '#' and %3A for ':' in a password"
        return "what follows the host is no port", f"ports go from 1 to 65535; {special}"
    for name, value in parse_qsl(options, keep_blank_values=True):
        if name in _OPTIONS:
            continue
        hint = _FOREIGN.get(name.lower(), "")
        if hint is _SCHEMA and re.fullmatch(r"\w+", value):
            hint = hint.replace("NAME", value)
        near = get_close_matches(name, _OPTIONS, n=1)
        hint = hint or (f"did you mean {near[0]!r}?" if near else "known are the connection options of libpq")
        return f"there is no connection option {name!r}", hint
    return None


def _names(options: str) -> str:
    return ", ".join(repr(name) for name, _ in parse_qsl(options, keep_blank_values=True))
