"""What sends the mails: one for all events that wait, and the next one no sooner than so many seconds later.

The store is the queue, as it is of the event script: the events of a mail are claimed before it is sent, and are noted
as done when the mail server has taken it. A mail that failed is sent again, after longer and longer breaks, together
with what came meanwhile, until its events are too old. So an event stands in at least one mail; it stands in two if the
backend ended, or the connection broke, between the mail server's taking the mail and its word. What fails is an event,
and starts neither mail nor script.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from twisted.internet.defer import Deferred

from smartproxy.backend import authority, journal
from smartproxy.backend.alert_tables import AlertRow
from smartproxy.backend.alerts import intake
from smartproxy.backend.alerts.intake import AlertChannel, AlertState, backend_settings
from smartproxy.backend.alerts.mail import MailDigest, MailFailed, Mailing, MailSender, compose, prepare, shown_answer
from smartproxy.backend.errors import StoreBusy
from smartproxy.backend.rounds import STORE_LOOK_SECONDS, StoreRounds
from smartproxy.backend.schema import EventRow
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.alerts import Mail
from smartproxy.policy.causes import Cause

_CLAIMED: Final = timedelta(seconds=2 * limits.MAIL_SECONDS)
"""After that long a mail counts as lost, whose end was not noted."""
_MINE: Final = AlertRow.channel == AlertChannel.MAIL.value
_WAITING: Final = _MINE & (AlertRow.state == AlertState.WAITING.value)
_DROPPED: Final = _MINE & (AlertRow.state == AlertState.DROPPED.value)


@attrs.frozen(kw_only=True)
class MailToSend:
    """A mail whose events were claimed.

    :ivar until: until when they are, which says which they are.
    """

    mail: Mail
    digest: MailDigest
    until: datetime


class MailRounds(StoreRounds):
    """Work that sends mails, between :meth:`start` and :meth:`stop`.

    :param runner: where the store is asked, and files are read.
    :param reactor: the clock, and where the mail server is called.
    :param mailing: what sends a mail.
    """

    busy_seconds = STORE_LOOK_SECONDS

    def __init__(
        self, store: Store, runner: Runner, events: Events, reactor: Any, mailing: type[Mailing] = Mailing
    ) -> None:
        super().__init__(store, runner, events, reactor)
        self._reactor = reactor
        self._mailing = mailing
        self._sending: Mailing | None = None

    def stop(self) -> Deferred[None]:
        """Stop sending; what was being sent is sent after the next start. Fires when that is noted."""
        ended = super().stop()
        if self._sending is not None:
            self._sending.stop()
        return ended

    async def send(self, sender: MailSender, message: bytes) -> Sequence[str]:
        """Send a mail; returns the addresses that the mail server refused.

        :raises MailFailed: when it was not sent, or nobody knows whether it was.
        """
        self._sending = self._mailing(self._reactor, sender, message)
        if not self._rounds.running:
            self._sending.stop()
        try:
            return await self._sending.send()
        finally:
            self._sending = None


class MailDesk(MailRounds):
    """Sends the mails about events."""

    _failures = 0

    async def look(self) -> float:
        """Send what is to be sent."""
        dropped = await self._runner.run(self._dropped)
        if dropped:
            self._events.emit(
                "mail.dropped",
                count=dropped,
                cause=Cause.MAIL_QUEUE,
                message=f"more than {limits.MAIL_WAITING_MOST} events wait for a mail",
                advice="see mail.failed for why mails wait; if mail works, raise backend.mail.level, or silence known "
                "events: smartproxy ignore add",
            )
        found = await self._runner.run(self._next_mail)
        return STORE_LOOK_SECONDS if found is None else await self._send(found)

    async def _send(self, found: MailToSend) -> float:
        mail = found.mail
        try:
            sender = await self._runner.run(prepare, mail)
            message = compose(mail, found.digest, now(self._reactor))
            refused = await self.send(sender, message)
        except MailFailed as failed:
            return await self._failed(found, failed)
        except BaseException:
            await self._note(found, sent=False)
            raise
        self._failures = 0
        count = found.digest.count
        if refused:
            self._events.emit(
                "mail.failed",
                cause=Cause.MAIL_REFUSED,
                message="the mail server refused some of the addresses; the others have the mail",
                count=count,
                host=mail.host,
                port=mail.port,
                names=refused,
                advice="correct the addresses: smartproxy settings set backend.mail.to ADDRESS,ADDRESS",
            )
        self._events.emit("mail.sent", count=count, host=mail.host, port=mail.port)
        await self._note(found, sent=True)
        return STORE_LOOK_SECONDS

    async def _failed(self, found: MailToSend, failed: MailFailed) -> float:
        await self._note(found, sent=False)
        if not self._rounds.running:
            return STORE_LOOK_SECONDS
        self._failures += 1
        first, most = limits.MAIL_AGAIN_SECONDS
        seconds = min(most, first * 2.0 ** min(self._failures - 1, 16))
        self._events.emit(
            "mail.failed",
            cause=failed.cause,
            message=str(failed),
            count=found.digest.count,
            host=found.mail.host,
            port=found.mail.port,
            seconds=seconds,
            detail=shown_answer(failed),
            advice="it is tried again after so many seconds; try it yourself: smartproxy mail test",
        )
        return seconds

    async def _note(self, found: MailToSend, *, sent: bool) -> None:
        """Note what became of a mail; a store that stays busy has it sent again later."""
        for _ in range(limits.MAIL_NOTED_TRIES):
            try:
                await self._runner.run(self._noted, found, sent)
            except StoreBusy:
                continue
            else:
                return

    def _noted(self, found: MailToSend, sent: bool) -> None:
        present = now(self._reactor)
        values = {"state": AlertState.DONE.value, "ended": present} if sent else {"due": present}
        with self._store.writing() as session:
            session.execute(update(AlertRow).where(_WAITING & (AlertRow.due == found.until)).values(**values))

    def _dropped(self) -> int:
        with self._store.reading() as session:
            if session.scalar(select(AlertRow.id).where(_DROPPED).limit(1)) is None:
                return 0
        with self._store.writing() as session:
            return intake.take_dropped(session, AlertChannel.MAIL)

    def _next_mail(self) -> MailToSend | None:
        """The mail that is to be sent now, if there is one; its events are claimed."""
        present = now(self._reactor)
        due = _WAITING & (AlertRow.due <= present)
        with self._store.reading() as session:
            mail = backend_settings(session).mail
            if session.scalar(select(AlertRow.id).where(due).limit(1)) is None or self._too_soon(session, mail):
                return None
        until = present + _CLAIMED
        with self._store.writing() as session:
            if not mail.is_on:
                session.execute(update(AlertRow).where(due).values(state=AlertState.OLD.value, ended=present))
                return None
            session.execute(update(AlertRow).where(due).values(due=until, attempts=AlertRow.attempts + 1))
            claimed = _WAITING & (AlertRow.due == until)
            _end_old(session, claimed, present - timedelta(hours=mail.hours), present)
            digest = _digest(session, claimed)
        return None if digest is None else MailToSend(mail=mail, digest=digest, until=until)

    def _too_soon(self, session: Session, mail: Mail) -> bool:
        # One that is noted for later was sent while the clock was ahead, and says nothing of now.
        present = now(self._reactor)
        sent = _MINE & (AlertRow.state == AlertState.DONE.value) & (AlertRow.ended <= present)
        last = session.scalar(select(func.max(AlertRow.ended)).where(sent))
        return last is not None and present < last + timedelta(seconds=mail.every_seconds)


def _end_old(session: Session, claimed: Any, oldest: datetime, present: datetime) -> None:
    """Take events out that are too old, or were deleted."""
    fresh = select(EventRow.id).where((EventRow.id == AlertRow.event) & (EventRow.time >= oldest)).exists()
    values = {"state": AlertState.OLD.value, "ended": present}
    session.execute(
        update(AlertRow).where(claimed & ~fresh).values(**values).execution_options(synchronize_session=False)
    )


def _digest(session: Session, claimed: Any) -> MailDigest | None:
    """What the mail tells of the events that were claimed."""
    first = session.scalars(
        select(AlertRow.event).where(claimed).order_by(AlertRow.event).limit(limits.MAIL_EVENTS_MOST)
    ).all()
    if not first:
        return None
    columns = (EventRow.level, EventRow.name, EventRow.partner)
    query = select(*columns, func.count()).join(AlertRow, AlertRow.event == EventRow.id).where(claimed)
    counted = session.execute(query.group_by(*columns)).all()
    events = journal.of_numbers(session, first)
    return MailDigest(
        site=authority.site_row(session).name,
        events=[events[number] for number in first if number in events],
        kinds=Counter({(level, name, partner or ""): count for level, name, partner, count in counted}),
    )
