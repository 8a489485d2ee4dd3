"""A real PostgreSQL server for the tests, started from whatever binaries this machine has.

Binaries come from `DRIFT_MONITOR_TEST_POSTGRESQL_BIN` where it is set, else from Debian's folders, else from `PATH`,
else from the package `pgserver`. PostgreSQL refuses to run as root, so a test run by root drops to an unprivileged
user, with the data in a folder which that user can reach.
"""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from tests.ports import lasting_port, wait_for_port
from tests.programs import find_program

SUPERUSER = "postgres"
PASSWORD = "postgres"  # of a server that listens on loopback and lives as long as the tests
UNPRIVILEGED_USERS = ("postgres", "nobody")
ATTEMPTS_AT_A_PORT = 5
START_SECONDS = 120

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
port = {port}
fsync = off
full_page_writes = off
max_connections = 100
shared_buffers = 128MB
max_wal_size = 4GB
autovacuum_naptime = 10min
log_statement = all
log_line_prefix = '%m|%p|%a|%u|%d|'
log_timezone = 'UTC'
"""
# As adverse as servers are found: whatever of this the service does not set itself, some test will miss.
ADVERSE = """
timezone = 'America/St_Johns'
datestyle = 'SQL, DMY'
intervalstyle = 'sql_standard'
extra_float_digits = -15
client_encoding = 'LATIN1'
bytea_output = 'escape'
lc_monetary = 'C'
standard_conforming_strings = off
escape_string_warning = off
backslash_quote = on
transform_null_equals = on
array_nulls = off
default_transaction_isolation = 'serializable'
default_transaction_deferrable = on
"""


# What a connection of a test's own needs against that: as the texts in the tests are written, and as a driver reads.
PLAIN = (
    "-c client_encoding=UTF8 -c standard_conforming_strings=on -c datestyle=ISO"
    " -c intervalstyle=postgres -c extra_float_digits=3"
)
POOLER = """
[databases]
* = host=127.0.0.1 port={server} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""


@dataclass(frozen=True, kw_only=True)
class LoggedStatement:
    """One statement as the server's own log has it."""

    application: str
    user: str
    database: str
    text: str


class PostgresqlServer:
    """One server with its own data folder; `close` stops it and removes everything."""

    def __init__(self, binaries: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="drift-monitor-pg-"))
        self.log_path = self.folder / "server.log"
        self._user = _unprivileged_user()
        self._binaries = self._reachable(binaries)
        self.port = 0
        self._give_away(self.folder)
        self._initialise()
        self._configure_and_start()

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str = PASSWORD) -> str:
        """A SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> "psycopg.Connection[tuple[object, ...]]":
        """An autocommit connection of the test's own."""
        login = {"host": "127.0.0.1", "port": self.port, "user": user, "password": PASSWORD, "dbname": database}
        return psycopg.connect(**login, autocommit=True, options=PLAIN)

    def create_database(self, template: str = "template1") -> str:
        """A fresh database, empty or like another one in which nobody works; its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self.connect() as connection:
            connection.execute(create)
        return name

    def drop_database(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def statements(self, database: str) -> list[LoggedStatement]:
        """Every statement the server has logged for a database, oldest first."""
        return [one for one in _logged(self.log_path.read_text("utf-8", "replace")) if one.database == database]

    def start(self) -> None:
        self._control("start", "-w", "-t", str(START_SECONDS), "-l", str(self.log_path))

    def stop(self) -> None:
        """Stop in order: sessions are ended, transactions rolled back."""
        self._control("stop", "-m", "fast", "-w")

    def stop_immediate(self) -> None:
        """Stop as a crash does: nothing is flushed, the next start recovers."""
        self._control("stop", "-m", "immediate", "-w")

    def restart(self, mode: str = "fast") -> None:
        self._control("restart", "-m", mode, "-w", "-t", str(START_SECONDS), "-l", str(self.log_path))

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it already
            self.stop_immediate()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD)
        self._give_away(password_file)
        self._run(
            "initdb",
            *("--pgdata", str(self._data), "--username", SUPERUSER, "--pwfile", str(password_file)),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            "--no-sync",
        )

    def _configure_and_start(self) -> None:
        """Another program may take the port between our look and the server's; then look again."""
        settings = (self._data / "postgresql.conf").read_text()
        for attempt in range(1, ATTEMPTS_AT_A_PORT + 1):
            self.port = lasting_port()
            own = SETTINGS.format(folder=self.folder, port=self.port)
            (self._data / "postgresql.conf").write_text(settings + own + ADVERSE)
            try:
                return self.start()
            except subprocess.CalledProcessError:
                if attempt == ATTEMPTS_AT_A_PORT:
                    shutil.rmtree(self.folder, ignore_errors=True)
                    raise
        return None

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "--pgdata", str(self._data), "--silent", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs; its output goes to a file, which a started server may keep open."""
        output = self.folder / "control.log"
        with output.open("a") as sink:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                **_as_user(self._user),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, program, output.read_text("utf-8", "replace"))

    def _give_away(self, path: Path) -> None:
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _reachable(self, binaries: Path) -> Path:
        """The binaries, copied if the unprivileged user can't reach where they are."""
        if not self._user:
            return binaries
        self.folder.chmod(0o755)
        with contextlib.suppress(OSError):
            subprocess.run(
                [str(binaries / "postgres"), "--version"], **_as_user(self._user), check=True, capture_output=True
            )
            return binaries
        installation = binaries.parent
        copy = self.folder / "installation" / installation.parent.name / installation.name
        shutil.copytree(installation, copy, symlinks=True)
        libraries = installation.parent.parent / "pgserver.libs"  # the wheel's shared libraries, found by relative path
        if libraries.is_dir():
            shutil.copytree(libraries, copy.parent.parent / libraries.name)
        return copy / "bin"


@contextlib.contextmanager
def pooler(server: PostgresqlServer) -> Iterator[int]:
    """PgBouncer in transaction mode before a server: each transaction gets one of two sessions. Its port."""
    port, user = lasting_port(), _unprivileged_user()
    program = find_program("pgbouncer", "/usr/sbin/pgbouncer", package="pgbouncer")
    with tempfile.TemporaryDirectory(prefix="drift-monitor-pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text(POOLER.format(server=server.port, port=port, user=SUPERUSER, password=PASSWORD))
        process = subprocess.Popen(
            [program, str(settings)], **_as_user(user), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for_port(port)
            yield port
        finally:
            process.kill()
            process.wait()


def find_binaries() -> Path | None:
    """The folder of `postgres`, `initdb` and `pg_ctl`; None when this machine has none."""
    named = os.environ.get("DRIFT_MONITOR_TEST_POSTGRESQL_BIN")
    if named:
        return Path(named)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for folder in (*debian, *on_path, *_packaged_binaries()):
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


def _packaged_binaries() -> tuple[Path, ...]:
    package = find_spec("pgserver")
    return (Path(package.origin).parent / "pginstall" / "bin",) if package and package.origin else ()


def _unprivileged_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    for name in UNPRIVILEGED_USERS:
        if name in known:
            return known[name]
    raise RuntimeError(f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED_USERS)}")


def _as_user(user: pwd.struct_passwd | None) -> dict[str, object]:
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


_ENTRY = re.compile(
    r"^\d{4}-\d\d-\d\d [\d:.]+ UTC\|\d+\|(?P<application>.*?)\|(?P<user>.*?)\|(?P<database>.*?)\|(?P<rest>.*)$"
)
_STATEMENT = re.compile(r"^LOG:  (?:statement|execute [^:]*): (.*)$", re.DOTALL)


def _logged(log: str) -> Iterator[LoggedStatement]:
    """Entries begin with the prefix; their further lines begin with a tab."""
    current: tuple[re.Match[str], list[str]] | None = None
    for line in log.split("\n"):
        entry = _ENTRY.match(line)
        if entry:
            yield from _statement(current)
            current = (entry, [entry["rest"]])
        elif current and line.startswith("\t"):
            current[1].append(line[1:])
    yield from _statement(current)


def _statement(entry: "tuple[re.Match[str], list[str]] | None") -> Iterator[LoggedStatement]:
    if entry is None:
        return
    head, lines = entry
    statement = _STATEMENT.match("\n".join(lines))
    if statement:
        yield LoggedStatement(
            application=head["application"], user=head["user"], database=head["database"], text=statement[1]
        )
