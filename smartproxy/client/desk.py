"""What a client knows of its sessions, wherever they live.

Duty: give each session a place before anything is opened for it, within the limit of sessions; count the sessions of
each partner at each server; and know how the station failed when it was last called. Everything here is exact, also
where several processes carry the sessions: nothing begins without a place, and each is given back once.
"""

from collections import Counter
from collections.abc import Callable, Set
from datetime import datetime

import attrs
from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.clock import now
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import StationUnreachable
from smartproxy.policy.settings import Station


@attrs.frozen
class StationFailure:
    """The station failed when it was called.

    :ivar time: when, aware, in UTC.
    :ivar message: how.
    """

    station: Station
    time: datetime
    message: str


class SessionDesk:
    """The places of a client's sessions.

    :ivar elsewhere: how many sessions go on in older processes of this client: they count against its limit.
    :param clock: tells the time.
    :param configuration: tells the configuration in force.
    :param failed: told each time that the station failed.
    :param answered: told once when the station, of which an event tells that it failed, is heard again.
    """

    def __init__(
        self,
        clock: IReactorTime,
        configuration: Callable[[], ClientConfiguration],
        failed: Callable[[], object] = nothing,
        answered: Callable[[Station], object] = nothing,
    ) -> None:
        self._clock = clock
        self._configuration = configuration
        self._places: dict[str, tuple[str, str] | None] = {}
        self._partners: Counter[tuple[str, str]] = Counter()
        self.elsewhere = 0
        self._failed = failed
        self._answered = answered
        self._failure: StationFailure | None = None
        self._failure_told = False

    @property
    def count(self) -> int:
        """How many sessions there are, whoever began them; those that are being opened included."""
        return len(self._places)

    @property
    def sessions(self) -> Set[str]:
        """Those, by their ids."""
        return self._places.keys()

    def sessions_of(self, server: str, partner: str) -> int:
        """How many sessions there are that this partner began at this server.

        :param server: its Proxy ID.
        """
        return self._partners[server, partner]

    def refusal(self) -> str | None:
        """Why there is no place for one more; nothing if there is one."""
        most = self._configuration().limits.sessions
        return f"the client's limit of {most} sessions is reached" if self.count + self.elsewhere >= most else None

    def admit(self, session: str, server: str, partner: str) -> None:
        """Give a place to a session that a partner begins.

        :param server: the Proxy ID of the server at which it begins.
        :raises StationUnreachable: if there is none, or the session has one.
        """
        if (refusal := self.refusal()) is not None:
            raise StationUnreachable(rule=Cause.QUOTA_SESSIONS, message=refusal)
        if session in self._places:
            raise StationUnreachable(rule=Cause.SESSION_OPEN, message="a session with this id is open already")
        self._places[session] = place = (server, partner)
        self._partners[place] += 1

    def hold(self, session: str) -> None:
        """Give a place to a session that the station begins; the caller has looked whether there is one."""
        self._places[session] = None

    def over(self, session: str) -> None:
        """A session is over, or did not begin: take its place back, if it has one."""
        place = self._places.pop(session, None)
        if place is not None:
            self._partners[place] -= 1
            if not self._partners[place]:
                del self._partners[place]

    @property
    def station_failure(self) -> StationFailure | None:
        """How the station that is configured failed when it was last called; ``None`` if it answered, or never was."""
        failure = self._failure
        return failure if failure is not None and failure.station == self._configuration().station else None

    def station_tried(self, station: Station, message: str | None) -> None:
        """Note whether the station answered, as an event tells, if it is still the one that is configured.

        :param message: how it failed; ``None`` if it did not.
        """
        if station == self._configuration().station:
            self._failure_told = message is not None
        self._note(station, message)

    def station_heard(self, station: Station, message: str | None) -> None:
        """The same, of a call of which no event tells: then that the station answers again is to be told.

        :param message: how it failed; ``None`` if it did not.
        """
        self._note(station, message)
        if message is None and self._failure_told and station == self._configuration().station:
            self._failure_told = False
            self._answered(station)

    def _note(self, station: Station, message: str | None) -> None:
        if message is None:
            if self._failure is not None and self._failure.station == station:
                self._failure = None
        elif station == self._configuration().station:
            self._failure = StationFailure(station, now(self._clock), message)
            self._failed()
