"""The warning of revocation lists that are out of date, within their grace too: at once, and every hour."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.policy.configuration import ServerConfiguration

STALE_LIST_SECONDS: Final = 3600.0
"""After that long it is told again."""


class StaleLists:
    """The lists of the generation in force.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, clock: IReactorTime, events: Events, now: Callable[[], datetime]) -> None:
        self._events = events
        self._now = now
        self._server = ServerConfiguration()
        self._next = Deadline(clock, self._tell)

    def watch(self, server: ServerConfiguration) -> None:
        """Warn of the lists of this generation from now on."""
        self._server = server
        self._tell()

    def stop(self) -> None:
        """Stop warning."""
        self._server = ServerConfiguration()
        self._next.stop()

    def _tell(self) -> None:
        self._next.start(STALE_LIST_SECONDS)
        now = self._now()
        for revocation in self._server.revocation:
            if revocation.fresh_until < now:
                self._events.emit(
                    "crl.stale",
                    issuer=revocation.issuer_name or revocation.issuer_key_sha256,
                    list_part=revocation.scope.part,
                    next_update=revocation.next_update,
                    age=(now - revocation.this_update).total_seconds(),
                    advice="load a newer list: smartproxy crl load FILE",
                )
