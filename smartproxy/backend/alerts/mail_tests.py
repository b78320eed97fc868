"""Mails about an event that did not happen, which an operator asks for: sent by the backend that sends all mail.

So a test takes the way of every other mail, from the same machine and with the same files. Only the newest one counts;
one that nobody sent for minutes, because no backend ran, is not sent any more.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from smartproxy.backend.alert_tables import MailTestRow
from smartproxy.backend.alerts.mail import MailFailed
from smartproxy.backend.alerts.mail_desk import MailRounds
from smartproxy.backend.alerts.results import MailTrial, mail_to_try
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.rounds import STORE_LOOK_SECONDS
from smartproxy.logs.clock import now
from smartproxy.policy.causes import Cause

SENT_WITHIN: Final = timedelta(minutes=5)
"""An older one is not sent any more."""


class MailTests(MailRounds):
    """Sends what was asked for."""

    async def look(self) -> float:
        """Send the one that waits, if there is one, and keep what came of it."""
        asked = await self._runner.run(self._waiting)
        if asked is None:
            return STORE_LOOK_SECONDS
        try:
            trial = await self._runner.run(self._trial)
            sender = await self._runner.run(trial.prepared)
            refused = await self.send(sender, trial.message)
            self._events.emit("mail.sent", count=1, host=trial.mail.host, port=trial.mail.port)
            said = f"the mail server refused {', '.join(refused)}" if refused else None
            await self._runner.run(self._ended, asked, Cause.MAIL_REFUSED if refused else None, said)
        except MailFailed as failed:
            if self._rounds.running:
                answer = f"; it says: {' '.join(failed.answer.split())[:200]}" if failed.answer else ""
                await self._runner.run(self._ended, asked, failed.cause, f"{failed}{answer}")
        except ChangeRefused as refused_change:
            await self._runner.run(self._ended, asked, Cause.MAIL_SETTINGS, str(refused_change))
        return STORE_LOOK_SECONDS

    def _waiting(self) -> datetime | None:
        """When the one was asked for that waits, if there is one."""
        with self._store.reading() as session:
            row = newest(session)
            if row is None or row.ended is not None or row.asked <= now(self._clock) - SENT_WITHIN:
                return None
            return row.asked

    def _trial(self) -> MailTrial:
        with self._store.reading() as session:
            return mail_to_try(session, now(self._clock))

    def _ended(self, asked: datetime, cause: Cause | None, message: str | None) -> None:
        """Keep what came of it, unless another one was asked for meanwhile."""
        with self._store.writing() as session:
            if (row := newest(session)) is not None and row.asked == asked:
                row.ended, row.cause, row.message = now(self._clock), None if cause is None else cause.value, message


def newest(session: Session) -> MailTestRow | None:
    """The test that was asked for last."""
    return session.get(MailTestRow, 1)
