"""`drift-monitor run`: the daemon; and the flags of commands that serve, with Prometheus' names for the listener."""

import functools
import socket
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from drift_monitor.app import ServeOptions, Service
from drift_monitor.cli.flags import decorated, log_flags
from drift_monitor.config.loading import load
from drift_monitor.config.web import WebConfig, load_web
from drift_monitor.web.access import parse_address
from drift_monitor.web.metrics.exposition import DEFAULT_MAX_SERIES

DEFAULT_ADDRESS = "127.0.0.1:8765"


@dataclass(frozen=True, kw_only=True)
class WebFlags:
    """The `--web.*` flags as given."""

    listen_address: str
    web_config_file: Path | None
    external_url: str
    enable_lifecycle: bool
    enable_admin_api: bool
    allow_unauthenticated: bool
    max_series: int

    @property
    def url(self) -> str:
        """Where users reach the pages."""
        scheme = "https" if self.web_config_file and self.web_config.tls else "http"
        try:
            address = parse_address(self.listen_address)
        except ValueError as error:
            raise click.UsageError(f"--web.listen-address: {error}") from error
        host = socket.getfqdn() if address.is_wildcard else self.listen_address.rpartition(":")[0]
        return self.external_url or f"{scheme}://{host}:{address.port}"

    @property
    def web_config(self) -> WebConfig:
        return load_web(self.web_config_file) if self.web_config_file else WebConfig()

    def options(self) -> ServeOptions:
        return ServeOptions(
            listen_address=self.listen_address,
            web_config=self.web_config,
            web_config_file=self.web_config_file,
            external_url=self.url,
            enable_lifecycle=self.enable_lifecycle,
            enable_admin_api=self.enable_admin_api,
            allow_unauthenticated=self.allow_unauthenticated,
            max_series=self.max_series,
        )


_WEB_FLAGS = (
    click.option(
        "--web.listen-address",
        "listen_address",
        default=DEFAULT_ADDRESS,
        show_default=True,
        metavar="HOST:PORT",
        help="Where pages, /metrics and health are served.",
    ),
    click.option(
        "--web.config.file",
        "web_config_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="TLS and basic authentication, in the format of Prometheus' exporters.",
    ),
    click.option(
        "--web.external-url", "external_url", default="", metavar="URL", help="Where users reach the pages; in alerts."
    ),
    click.option("--web.enable-lifecycle", "enable_lifecycle", is_flag=True, help="Allow a reload by POST /-/reload."),
    click.option(
        "--web.enable-admin-api",
        "enable_admin_api",
        is_flag=True,
        help="Allow changes over /api without authentication.",
    ),
    click.option(
        "--web.allow-unauthenticated",
        "allow_unauthenticated",
        is_flag=True,
        help="Serve on other addresses than loopback without authentication.",
    ),
    click.option(
        "--web.max-series",
        "max_series",
        type=click.IntRange(min=1),
        default=DEFAULT_MAX_SERIES,
        show_default=True,
        help="Series of results that /metrics shows at most; the worst features stay.",
    ),
)


def web_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the `--web.*` flags; the command gets them as `flags`."""

    @functools.wraps(command)
    def with_flags(*args: Any, **given: Any) -> Any:
        names = [field.name for field in fields(WebFlags)]
        flags = WebFlags(**{name: given.pop(name) for name in names})
        return command(*args, flags=flags, **given)

    return decorated(with_flags, _WEB_FLAGS)


@click.command()
@click.option(
    "--config.file",
    "config_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration.",
)
@click.option("--store.migrate", "migrate_store", is_flag=True, help="Bring a PostgreSQL store up to date at start.")
@web_flags
@log_flags
@click.pass_context
def run(context: click.Context, config_file: Path, migrate_store: bool, flags: WebFlags) -> None:
    """Watch the configured monitors until told to stop.

    SIGTERM finishes running evaluations and ends; SIGHUP loads the configuration anew.
    """
    options = replace(flags.options(), migrate_store=migrate_store)
    context.exit(Service(load(config_file), options).run())
