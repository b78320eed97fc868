"""Mails about an event that did not happen, which an operator asks for: sent by the backend that sends all mail.

So a test takes the way of every other mail, from the same machine and with the same files. Only the newest one counts;
one that nobody sent for minutes, because no backend ran, is not sent any more.
"""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy.orm import Session

from smartproxy.backend.alert_tables import MailTestRow
from smartproxy.backend.alerts.mail import MailFailed, Mailing
from smartproxy.backend.alerts.results import MailTrial, mail_to_try
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.rounds import STORE_LOOK_SECONDS, StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause

SENT_WITHIN: Final = timedelta(minutes=5)
"""An older one is not sent any more."""


class MailTests(StoreRounds):
    """Sends what was asked for, between :meth:`start` and :meth:`stop`."""

    busy_seconds = STORE_LOOK_SECONDS

    def __init__(self, store: Store, runner: Runner, events: Events, reactor: Any) -> None:
        super().__init__(store, runner, events, reactor)
        self._reactor = reactor

    async def look(self) -> float:
        """Send the one that waits, if there is one, and keep what came of it."""
        try:
            trial = await self._runner.run(self._waiting)
            if trial is not None:
                sender = await self._runner.run(trial.prepared)
                refused = await Mailing(self._reactor, sender, trial.message).send()
                self._events.emit("mail.sent", count=1, host=trial.mail.host, port=trial.mail.port)
                said = f"the mail server refused {', '.join(refused)}" if refused else None
                await self._runner.run(self._ended, Cause.MAIL_REFUSED if refused else None, said)
        except MailFailed as failed:
            answer = f"; it says: {' '.join(failed.answer.split())[:200]}" if failed.answer else ""
            await self._runner.run(self._ended, failed.cause, f"{failed}{answer}")
        except ChangeRefused as refused_change:
            await self._runner.run(self._ended, Cause.MAIL_SETTINGS, str(refused_change))
        return STORE_LOOK_SECONDS

    def _waiting(self) -> MailTrial | None:
        with self._store.reading() as session:
            row, present = newest(session), now(self._clock)
            if row is None or row.ended is not None or row.asked <= present - SENT_WITHIN:
                return None
            return mail_to_try(session, present)

    def _ended(self, cause: Cause | None, message: str | None) -> None:
        with self._store.writing() as session:
            if (row := newest(session)) is not None:
                row.ended, row.cause, row.message = now(self._clock), None if cause is None else cause.value, message


def newest(session: Session) -> MailTestRow | None:
    """The test that was asked for last."""
    return session.get(MailTestRow, 1)
