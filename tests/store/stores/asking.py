"""What a store is asked, on 7e1daeb when it was made and by the test ever after: views, command line, API, next window.

Only what users have is asked. Nothing in an answer depends on the time at which it is asked: silences have ended long
ago or begin far ahead, and windows are named.
"""

import gzip
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import httpx
import psycopg
from click.testing import CliRunner
from starlette.applications import Starlette

from drift_monitor.app import open_services
from drift_monitor.cli.main import main
from drift_monitor.config.loading import load
from drift_monitor.web.api.routes import api_routes
from tests.postgresql import PLAIN
from tests.store.stores.rows import HOURS, hour

FOLDER = Path(__file__).parent
VIEW_KEYS = {
    "drift_measurements": ("monitor", "feature", "segment", "window_end", "revision"),
    "drift_histograms": ("monitor", "feature", "segment", "window_end", "revision", "bin"),
    "drift_episodes": ("id",),
    "drift_evaluations": ("monitor", "window_end", "revision"),
    "drift_monitors": ("monitor",),
}
MONITORS = ("orders", "visits_trailing", "visits_periods", "visits_range", "visits_daily", "refunds", "sleeper")
NEXT_MONITORS = ("orders", "visits_trailing", "visits_periods", "visits_range", "sleeper")
NEXT = hour(HOURS + 1)  # the end of the first window that is not stored

Rows = Mapping[str, Any]  # `columns`, and `rows` in the order of the view's key


def view_rows(url: str, view: str, columns: Sequence[str] = ()) -> Rows:
    """The columns of a view (all, if none are named), times as text, rows by the view's key."""
    statement = f"SELECT {', '.join(columns) or '*'} FROM {view}"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            cursor = file.execute(statement)
            names, rows = [column[0] for column in cursor.description or ()], cursor.fetchall()
    else:
        with psycopg.connect(url.replace("+psycopg", ""), options=PLAIN) as server:
            found = server.execute(statement.encode())
            names, rows = [column.name for column in found.description or ()], found.fetchall()
    texts = [[_text(value) for value in row] for row in rows]
    places = [names.index(key) for key in VIEW_KEYS[view]]
    return {"columns": names, "rows": sorted(texts, key=lambda row: [row[place] for place in places])}


@dataclass(frozen=True)
class Asked:
    """A store with the source, the configuration and the receivers that questions need."""

    store_url: str
    source: Path
    hook: str = "http://127.0.0.1:9"
    config: Path = FOLDER / "drift.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {"STORES_STORE": self.store_url, "STORES_SOURCE": str(self.source), "STORES_HOOK": self.hook}

    def run(self, command: str, *arguments: str) -> Any:
        """The program with these arguments; `command` may be of two words."""
        given = [*command.split(), f"--config.file={self.config}", *arguments]
        return CliRunner().invoke(main, given, env=self.environment)

    def document(self, command: str, *arguments: str) -> Any:
        """What it prints with `--format=json`; it may find drift, and nothing else is wrong."""
        result = self.run(command, *arguments, "--format=json")
        assert result.exit_code in (0, 1), result.stderr
        return json.loads(result.stdout)

    def views(self) -> dict[str, Rows]:
        return {view: view_rows(self.store_url, view) for view in VIEW_KEYS}

    def answers(self) -> dict[str, Any]:
        """What is read in the store, by question."""
        return {
            "alert list": self.document("alert list"),
            "silence list": self.document("silence list", "--expired"),
            **{f"history {name}": self.document("history", f"--monitor={name}") for name in MONITORS},
            **self._api_answers(),
        }

    def evaluate_next(self) -> Any:
        """What `evaluate` says of the next window, but when it did so; all that waits for receivers is sent."""
        monitors = [f"--monitor={name}" for name in NEXT_MONITORS]
        document = self.document("evaluate", f"--at={NEXT.isoformat()}", *monitors)
        for evaluation in document["evaluations"]:
            del evaluation["started_at"], evaluation["finished_at"]
        return document

    def notifications_of_next(self) -> Any:
        """What is told of the next window and what is kept back: ends go to whom the log knows to be told."""
        kept = ("id", "monitor", "receiver", "part", "status", "alerts", "state", "reason")
        found = self._api_answers()["api notifications"]
        told = [
            {key: item[key] for key in kept} for item in found if datetime.fromisoformat(item["window_end"]) == NEXT
        ]
        return sorted(told, key=lambda item: str(item["id"]))

    def _api_answers(self) -> dict[str, Any]:
        runner = CliRunner(env=self.environment)
        with runner.isolation(), open_services(load(self.config)) as services:
            api = Starlette(routes=api_routes(lambda: services, may_change=False))
            return {f"api {name}": anyio.run(_listed, api, name) for name in ("episodes", "notifications", "silences")}


async def _listed(api: Starlette, name: str) -> list[Any]:
    """Everything in a list of the API, page by page."""
    found: list[Any] = []
    place: dict[str, str] | None = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://store") as client:
        while place is not None:
            answer = await client.get(f"/api/v1/{name}", params={"limit": "100", **place})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page[name]
            place = None if page["next"] is None else {"cursor": page["next"]}
    return found


@dataclass
class Hook:
    """Receivers on one local port, one a path: they answer with the status that is set, and remember what came."""

    url: str = ""
    statuses: dict[str, int] = field(default_factory=dict)
    posts: list[tuple[str, str, Any]] = field(default_factory=list)

    def accepted(self) -> list[list[Any]]:
        """(path, notification id, body) of each webhook post, in order by receiver."""
        return sorted(([*post] for post in self.posts), key=lambda post: post[0])


@contextmanager
def listening() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = hook.statuses.get(self.path, 200)
            if status == 200 and "webhook-id" in self.headers:
                hook.posts.append((self.path, self.headers["webhook-id"], body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()


def recorded(engine: str) -> Any:
    """What 7e1daeb gave for the store of an engine."""
    return json.loads(gzip.decompress((FOLDER / f"{engine}.json.gz").read_bytes()))


def unpack_sqlite(path: Path) -> None:
    path.write_bytes(gzip.decompress((FOLDER / "sqlite.db.gz").read_bytes()))


def load_postgresql(url: str) -> None:
    """Into a fresh database."""
    dump = gzip.decompress((FOLDER / "postgresql.sql.gz").read_bytes())
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True, options=PLAIN) as server:
        server.execute(dump)


def _text(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
