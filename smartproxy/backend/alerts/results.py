"""What events started and what came of it, for operators; and an example to try it with."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import authority, journal
from smartproxy.backend.alert_tables import AlertRow
from smartproxy.backend.alerts.intake import AlertChannel, AlertState, backend_settings
from smartproxy.backend.alerts.mail import MailSender, compose, digest_of, prepare
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.journal import StoredEvent
from smartproxy.logs.fields import Value
from smartproxy.logs.record import Record
from smartproxy.policy.alerts import EventScript, Mail
from smartproxy.policy.causes import Cause

EXAMPLE: Final = "listener.failed"
"""The event that an example is of."""


@attrs.frozen(kw_only=True)
class AlertResult:
    """What an event started, and how far it is.

    :ivar event: the event's number.
    :ivar name: the event's name; ``None`` if it was deleted.
    :ivar cause: why it failed, as a code.
    """

    event: int
    name: str | None
    channel: AlertChannel
    state: AlertState
    received: datetime
    ended: datetime | None
    attempts: int
    cause: str | None
    exit_status: int | None
    output: str | None


def listed(session: Session, channel: AlertChannel, most: int, event: int | None = None) -> Sequence[AlertResult]:
    """What was started, oldest first.

    :param most: only the newest so many.
    :param event: only for the event of this number.
    """
    query = select(AlertRow).where(AlertRow.channel == channel.value)
    if event is not None:
        query = query.where(AlertRow.event == event)
    rows = list(reversed(session.scalars(query.order_by(AlertRow.id.desc()).limit(most)).all()))
    events = journal.of_numbers(session, sorted({row.event for row in rows}))
    return [
        AlertResult(
            event=row.event,
            name=events[row.event].name if row.event in events else None,
            channel=AlertChannel(row.channel),
            state=AlertState(row.state),
            received=row.received,
            ended=row.ended,
            attempts=row.attempts,
            cause=row.cause,
            exit_status=row.exit_status,
            output=row.output,
        )
        for row in rows
    ]


def script_for(session: Session, event: int) -> AlertResult:
    """How the event script ended that one event started.

    :raises NotFound: when it started none.
    """
    found = listed(session, AlertChannel.SCRIPT, 1, event)
    if not found:
        raise NotFound(
            f"the event {event} did not start the event script; 'smartproxy event-script list' shows which did"
        )
    return found[0]


def example(now: datetime, source: str = "backend") -> StoredEvent:
    """An event that did not happen, with a text as an attacker would like it to be."""
    fields: dict[str, Value] = {
        "port": 6619,
        "cause": Cause.PORT_IN_USE,
        "message": "This is a test: nothing has happened.",
        "detail": "$(echo bad)\n`echo bad`; ' \" \u202e",
    }
    record = Record(EXAMPLE, now, source, 1, fields)
    return journal.shown(record)


def script_to_try(
    session: Session, now: datetime, program: str | None = None, event: int | None = None
) -> tuple[EventScript, dict[str, Value]]:
    """What the event script would be run with: its settings, and an example or an event that is stored.

    :param program: another program than the one that is set.
    :raises NotFound: when there is no such event.
    :raises ChangeRefused: when no program is set, and none is given.
    """
    script = backend_settings(session).event_script
    found = {} if event is None else journal.of_numbers(session, [event])
    if program is None and script.program is None:
        raise ChangeRefused(
            "no event script is set; 'smartproxy settings set backend.event_script.program /PATH' sets it"
        )
    if event is not None and event not in found:
        raise NotFound(f"there is no event {event}; 'smartproxy events' shows their numbers")
    told = example(now) if event is None else found[event]
    return attrs.evolve(script, program=program or script.program), {**told.document(), "attempt": 1, "test": True}


@attrs.frozen(kw_only=True)
class MailTrial:
    """A mail about an event that did not happen."""

    mail: Mail
    message: bytes

    def prepared(self) -> MailSender:
        """What it is sent with. Blocks.

        :raises MailFailed: when a file cannot be used.
        """
        return prepare(self.mail)


def mail_to_try(session: Session, now: datetime) -> MailTrial:
    """A mail to try the settings with.

    :raises ChangeRefused: when they name no mail server.
    """
    mail = backend_settings(session).mail
    if not mail.is_on:
        raise ChangeRefused(
            "no mail server is set; 'smartproxy settings set backend.mail.host HOST backend.mail.from ADDRESS "
            "backend.mail.to ADDRESS' sets it"
        )
    digest = digest_of(f"TEST {authority.site_row(session).name}", [example(now)])
    return MailTrial(mail=mail, message=compose(mail, digest, now))
