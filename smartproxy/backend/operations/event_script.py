"""Operations on the runs of the event script, and on mails about events.

The event script's program is set on the backend's machine only; a test runs the one that is set.
"""

import threading
from datetime import datetime
from typing import Any, Final

import attrs

from smartproxy.backend.alert_tables import MailTestRow
from smartproxy.backend.alerts import mail_tests, results
from smartproxy.backend.alerts.intake import AlertChannel, AlertState
from smartproxy.backend.alerts.results import AlertResult
from smartproxy.backend.alerts.script import EventScripts
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyJson, AnyText, Instantaneous, Nothing
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import Member, Whole

EVENT_SCRIPT = Family("event-script", "event-script", key="event")

_NUMBER = Whole(limits.EVENT_NUMBER)
_TEXT = Optional(AnyText())
_TIME = Optional(Instantaneous())


@attrs.frozen(kw_only=True)
class RunsWanted:
    """Which runs.

    :ivar channel: of the event script, or of mail.
    :ivar limit: how many, the newest.
    """

    channel: AlertChannel = attrs.field(
        default=AlertChannel.SCRIPT,
        metadata=kind(Member(AlertChannel), people=ForPeople(help="what the events started")),
    )
    limit: int = attrs.field(
        default=limits.EVENTS_PAGE.default,
        metadata=kind(Whole(limits.EVENTS_PAGE), people=ForPeople(help="how many, the newest")),
    )


@attrs.frozen(kw_only=True)
class RunWanted:
    """Which run.

    :ivar event: the number of the event that started it.
    """

    event: int = attrs.field(metadata=kind(_NUMBER))


@attrs.frozen(kw_only=True)
class KnownRun:
    """What an event started, and how far it is.

    :ivar event: the event's number.
    :ivar name: the event's name; ``None`` if it was deleted.
    :ivar cause: why it failed, as a code.
    """

    event: int = attrs.field(metadata=kind(_NUMBER))
    name: str | None = attrs.field(metadata=kind(_TEXT))
    state: AlertState = attrs.field(metadata=kind(Member(AlertState)))
    received: datetime = attrs.field(metadata=kind(Instantaneous()))
    ended: datetime | None = attrs.field(metadata=kind(_TIME))
    attempts: int = attrs.field(metadata=kind(_NUMBER))
    cause: str | None = attrs.field(metadata=kind(_TEXT))
    exit_status: int | None = attrs.field(metadata=kind(Optional(Whole(limits.EXIT_STATUS))))
    output: str | None = attrs.field(metadata=kind(_TEXT))


@attrs.frozen(kw_only=True)
class KnownRuns:
    """Runs, oldest first."""

    items: tuple[KnownRun, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownRun))))


@attrs.frozen(kw_only=True)
class ScriptTestWanted:
    """With what the event script is run.

    :ivar event: the number of a stored event; ``None``: an example.
    """

    event: int | None = attrs.field(
        default=None, metadata=kind(Optional(_NUMBER), people=ForPeople(help="the number of a stored event"))
    )

    @property
    def spoken(self) -> str:
        """What the audit trail says after the operation's name."""
        return "" if self.event is None else str(self.event)


@attrs.frozen(kw_only=True)
class TestedScript:
    """A run of the event script with an example, or with a stored event.

    :ivar program: what was run.
    :ivar event: what it was told.
    :ivar cause: why it failed, as a code; ``None`` if it did not.
    :ivar message: the cause in a sentence.
    :ivar output: what it wrote, cut and escaped.
    :ivar milliseconds: how long it ran.
    """

    program: str = attrs.field(metadata=kind(AnyText()))
    event: dict[str, Any] = attrs.field(metadata=kind(AnyJson()))
    seconds_most: int = attrs.field(metadata=kind(Whole(limits.SCRIPT_SECONDS)))
    cause: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    message: str = attrs.field(default="", metadata=kind(AnyText()))
    exit_status: int | None = attrs.field(default=None, metadata=kind(Optional(Whole(limits.EXIT_STATUS))))
    output: str = attrs.field(default="", metadata=kind(AnyText()))
    milliseconds: int = attrs.field(default=0, metadata=kind(_NUMBER))

    def completed(self) -> "TestedScript":
        """Run it, outside of the transaction.

        :raises ChangeRefused: when another test is running.
        """
        if not _TESTING.acquire(blocking=False):
            raise ChangeRefused("a test of the event script is running already; try again when it has ended")
        try:
            run = EventScripts().run(self.program, self.event, float(self.seconds_most))
        finally:
            _TESTING.release()
        return attrs.evolve(
            self,
            cause=None if run.cause is None else str(run.cause),
            message=run.message,
            exit_status=run.exit_status,
            output=run.output,
            milliseconds=round(run.seconds * 1000),
        )


_TESTING: Final = threading.Lock()
"""One test at a time: each takes one of the threads that calls are answered in."""


@EVENT_SCRIPT.reading("list", "List for which events the event script was started or mail was sent, and how it ended.")
def runs(look: Transaction, wanted: RunsWanted) -> KnownRuns:
    """The newest runs."""
    return KnownRuns(items=tuple(map(_run, results.listed(look.session, wanted.channel, wanted.limit))))


@EVENT_SCRIPT.reading("show", "Show what the event script wrote for an event.")
def run_of(look: Transaction, wanted: RunWanted) -> KnownRun:
    """One run."""
    return _run(results.script_for(look.session, wanted.event))


@EVENT_SCRIPT.acting("test", "Run the event script with an example, or with a stored event.", path="POST :test")
def test(work: Transaction, wanted: ScriptTestWanted) -> TestedScript:
    """Say what is to be run; it is run when the transaction is over."""
    script, document = results.script_to_try(work.session, work.now, event=wanted.event)
    return TestedScript(program=str(script.program), event=document, seconds_most=script.seconds)


@attrs.frozen(kw_only=True)
class MailTest:
    """The mail that was asked for last to try the settings.

    :ivar asked: when; ``None`` if none was.
    :ivar ended: when it was known what came of it; ``None`` before that.
    :ivar cause: why it was not sent, or not to all; ``None`` if it was.
    """

    asked: datetime | None = attrs.field(default=None, metadata=kind(_TIME))
    by: str | None = attrs.field(default=None, metadata=kind(Optional(AnyText())))
    ended: datetime | None = attrs.field(default=None, metadata=kind(_TIME))
    cause: str | None = attrs.field(default=None, metadata=kind(Optional(AnyText())))
    message: str | None = attrs.field(default=None, metadata=kind(Optional(AnyText())))


@EVENT_SCRIPT.acting("ask-mail", "Have the backend send a mail about an event that did not happen.", path="POST :mail")
def ask_mail(work: Transaction, wanted: Nothing) -> MailTest:
    """Ask for it; it is sent within seconds."""
    results.mail_to_try(work.session, work.now)
    row = MailTestRow(number=1, asked=work.now, by=work.by, ended=None, cause=None, message=None)
    work.session.merge(row)
    return MailTest(asked=row.asked, by=row.by)


@EVENT_SCRIPT.reading("mail", "Show what came of the mail that was asked for last.", path="GET :mail")
def mail_test(look: Transaction, wanted: Nothing) -> MailTest:
    """The newest test."""
    row = mail_tests.newest(look.session)
    if row is None:
        return MailTest()
    return MailTest(asked=row.asked, by=row.by, ended=row.ended, cause=row.cause, message=row.message)


def _run(result: AlertResult) -> KnownRun:
    return KnownRun(
        event=result.event,
        name=result.name,
        state=result.state,
        received=result.received,
        ended=result.ended,
        attempts=result.attempts,
        cause=result.cause,
        exit_status=result.exit_status,
        output=result.output,
    )
