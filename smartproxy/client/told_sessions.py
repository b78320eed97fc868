"""What the client tells the backend of its sessions: the record of each that is over, and which ones run.

Duty: keep packed records, in bounds, until the backend has taken them; while sessions run, tell every few seconds how
far they are; and carry out what an operator wants of a live session. Runs beside the data path: records are packed at a
session's end, live sessions are looked at by the clock. Holds no secret: a record has none.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable, Trial
from smartproxy.client.carrying import brought
from smartproxy.client.house import House
from smartproxy.ctl.daemon import killed
from smartproxy.logs.carrier import Carrier
from smartproxy.logs.clock import moment
from smartproxy.logs.emit import Events
from smartproxy.logs.severity import Severity
from smartproxy.net.deadline import Deadline
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import API_RECORDS_OCTETS_SENT
from smartproxy.policy.portraits import TOLD_MOST
from smartproxy.policy.values import Instant

RECORDS_MOST: Final = 5_000
"""Records kept while the backend is away."""
TELL_SECONDS: Final = 3.0
"""How often live sessions are told."""


class ToldSessions:
    """Brings records, and tells of live sessions between :meth:`start` and :meth:`stop`.

    :param house: where the client's sessions live.
    """

    def __init__(self, clock: Any, events: Events, backend: Backend, house: House) -> None:
        self._clock = clock
        self._events = events
        self._backend = backend
        self._house = house
        self._next = Deadline(clock, self._tell)
        self._telling: Deferred[None] | None = None
        self._carried: dict[object, tuple[float, int, int]] = {}
        self._told_none = True
        self._carrier: Carrier[bytes] = Carrier(self._bring, clock, self._dropped, most=RECORDS_MOST)

    def start(self) -> None:
        """Tell which sessions run, again and again."""
        self._next.start(TELL_SECONDS)

    def leave(self) -> None:
        """Leave it to a newer process of this client to tell which sessions run: the backend holds one list of each."""
        self._next.stop()

    def stop(self, seconds: float) -> Deferred[None]:
        """Tell no more of live sessions, and wait so long for the records that are not stored yet."""
        self._next.stop()
        if self._telling is not None:
            self._telling.cancel()
        return self._carrier.flush(seconds).addCallback(lambda _: self._carrier.stop())

    def keep(self, packed: bytes) -> None:
        """Bring the packed record of a session that is over."""
        self._carrier.add(packed)

    async def _bring(self, packed: Sequence[bytes]) -> int:
        octets, count = 0, 0
        for each in packed:
            octets += len(b64encode(each)) + 4
            if count and octets > API_RECORDS_OCTETS_SENT:
                break
            count += 1
        await brought(self._backend.records(packed[:count]))
        return count

    def _dropped(self, count: int) -> None:
        message = "records of sessions were dropped: the backend was unreachable for too long"
        self._events.emit(
            "events.dropped", count=count, cause=Cause.BACKEND_UNAVAILABLE, message=message, daemon="client"
        )

    # Live sessions.

    def _tell(self) -> None:
        self._next.start(TELL_SECONDS)
        if self._telling is None and (self._house.sessions.live or not self._told_none):
            self._telling = Deferred.fromCoroutine(self._tell_once())
            self._telling.addBoth(self._told)

    async def _tell_once(self) -> None:
        await self._house.look()
        portraits = self._house.sessions.portraits()
        await self._backend.live([self._measured(each) for each in portraits[:TOLD_MOST]], len(portraits))
        self._told_none = not portraits
        known = {each["session"] for each in portraits}
        self._carried = {session: each for session, each in self._carried.items() if session in known}

    def _told(self, result: object) -> None:
        self._telling = None
        # That the backend is away is told by whoever needs it; the next report comes in seconds.
        if isinstance(result, Failure) and result.check(BackendRefused, BackendUnavailable, CancelledError) is None:
            self._events.failure("smartproxy.client.told_sessions", result)

    def _measured(self, portrait: Mapping[str, Any]) -> dict[str, Any]:
        """A :class:`~smartproxy.policy.portraits.ToldSession` as it is written, its rates since it was told last."""
        session, present = portrait["session"], self._clock.seconds()
        came, went = portrait["octets_in"], portrait["octets_out"]
        before, came_before, went_before = self._carried.get(session, (portrait["since"], 0, 0))
        self._carried[session] = present, came, went
        seconds = max(present - before, 1.0)
        return {
            # In which process it runs is a matter of this machine.
            **{name: value for name, value in portrait.items() if name != "pid"},
            "since": Instant().write(moment(self._clock, portrait["since"])),
            "rate_in": max(round((came - came_before) / seconds), 0),
            "rate_out": max(round((went - went_before) / seconds), 0),
        }

    def wished(self, wish: Trial) -> None:
        """An operator wants something of a live session; one that is not of this client is another's."""
        sessions = self._house.sessions
        if wish.session not in sessions.live:
            return
        if wish.wish == "end":
            sessions.close(wish.session, killed())
        else:
            self._events.set_level(
                Severity.named(wish.level or ""),
                cause=Cause.OPERATOR_REQUEST,
                message="asked for through the backend",
                session=wish.session,
            )
