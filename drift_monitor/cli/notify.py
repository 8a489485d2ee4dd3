"""`drift-monitor notify test`: does a message arrive?"""

from pathlib import Path

import click

from drift_monitor.app import secrets_of
from drift_monitor.cli.flags import config_flag, quiet_log_flags
from drift_monitor.cli.printing import emit, escape_lines
from drift_monitor.clock import SystemClock
from drift_monitor.config.loading import load
from drift_monitor.config.outbound import OutboundConfig
from drift_monitor.config.receivers import ReceiverConfig
from drift_monitor.errors import DeliveryError
from drift_monitor.notify.factory import make_sender, sample_messages
from drift_monitor.telemetry.logs import learn_secrets

ARRIVED, FAILED = 0, 1


@click.group()
def notify() -> None:
    """Receivers: try one out."""


@notify.command()
@click.argument("receiver", metavar="RECEIVER")
@config_flag
@quiet_log_flags
@click.pass_context
def test(context: click.Context, receiver: str, config_file: Path) -> None:
    """Send a sample alert that fires, and the same one resolved, and say what came of it.

    One try each, at once: nothing is stored and nothing is tried again. Exit code 1 if one was not accepted.
    """
    config = load(config_file)
    learn_secrets(secrets_of(config))
    context.exit(ARRIVED if _send(config.receiver(receiver), config.outbound) else FAILED)


def _send(receiver: ReceiverConfig, outbound: OutboundConfig) -> bool:
    sender, clock = make_sender(receiver, outbound), SystemClock()
    for message in sample_messages(receiver.name, clock.now()):
        status = message.body["status"]
        try:
            sender.send(message.id, message.body, clock.now())
        except DeliveryError as error:
            again = "the daemon would try again" if error.retryable else "the daemon would give it up"
            emit(escape_lines(f"{receiver.name} ({receiver.integration}): {status} not accepted: {error}; {again}"))
            return False
        emit(escape_lines(f"{receiver.name} ({receiver.integration}): {status} accepted, id {message.id}"))
    return True
