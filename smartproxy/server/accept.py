"""The decision whether a connection is accepted, before any TLS work, and whether a partner may be called.

Duty: check bans and limits, report why a connection is refused, count faults against addresses and called partners, and
report the begin and end of bans of addresses. Policy decides; this module adds the time and the log. Refusals that
repeat are reported now and then only: a flood must not hide other events, nor fill the backend's store.
"""

from collections.abc import Callable, Collection
from typing import Final, Protocol

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.connection import end_of
from smartproxy.net.deadline import Deadline
from smartproxy.net.hello import Spoken
from smartproxy.policy.addresses import prefix_of
from smartproxy.policy.admission import Admission, Denied, Sparing, Visit
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.admittance import forgivable
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.penalties import CalledPenalties, Fault, Penalties


@attrs.frozen
class _Plain:
    """What to say to a caller without TLS."""

    cause: Cause
    message: str
    advice: str


_WITHOUT_TLS: Final = {
    Spoken.OFTP: _Plain(
        Cause.HANDSHAKE_PLAIN_OFTP,
        "the caller speaks OFTP without TLS",
        "have the partner switch TLS on for this connection, as the port for OFTP2 over TLS needs it",
    ),
    Spoken.HTTP: _Plain(
        Cause.HANDSHAKE_PLAIN_HTTP,
        "the caller speaks HTTP: a browser, a scanner, or monitoring that is set up wrongly",
        "if it is your monitoring, let it only check that the port is open",
    ),
    Spoken.SSH: _Plain(
        Cause.HANDSHAKE_PLAIN_SSH,
        "the caller speaks SSH: a scanner, or a program with the wrong port",
        "if it is the partner, have it call with OFTP2 over TLS",
    ),
    Spoken.BALANCER: _Plain(
        Cause.HANDSHAKE_BALANCER,
        "the caller sends a header of the PROXY protocol, and is no balancer of this site",
        "if it is your balancer: smartproxy settings set server.balancers NETWORK",
    ),
    Spoken.OTHER: _Plain(
        Cause.HANDSHAKE_NOT_TLS, "what the peer sent is not TLS", "The partner has to connect with TLS."
    ),
}


class SilentDoor(Protocol):
    """A connection that was accepted and has not begun TLS.

    :ivar accepted: when it was accepted, by the clock.
    """

    accepted: float

    @property
    def peer(self) -> str:
        """The far end, as text for logs."""


class Gate:
    """Admits connections to the partners' listeners.

    :param clock: tells the time of faults and bans.
    :param events: where refusals and bans are told.
    :param admission: counts connections and sessions.
    :param penalties: counts faults of addresses.
    :ivar called: counts faults of partners that are called.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        admission: Admission,
        penalties: Penalties,
    ) -> None:
        self.admission = admission
        self.penalties = penalties
        self.called = CalledPenalties(penalties.settings)
        self._clock = clock
        self._events = events
        self._lifting = Deadline(clock, self._lift)
        self._sparing = Sparing()
        self._server: ServerConfiguration | None = None

    def enter(self, host: str, peer: str, hasty: Callable[[str], bool] = lambda prefix: False) -> Visit | None:
        """Admit a connection; if it is refused, report why and return ``None``.

        :param host: its address.
        :param peer: its address and port, for the log.
        :param hasty: whether a network connects too often for what is going on; asked of those that proved nothing.
        """
        now = self._clock.seconds()
        seconds = self.penalties.banned(host, now)
        if seconds:
            message = f"the address is banned for {seconds:.0f} more seconds"
            self.turn_away(host, peer, Cause.PENALTY_BANNED, message, "ban")
            return None
        prefix = prefix_of(host)
        if hasty(prefix) and not self.admission.knows(prefix, now):
            self.too_hasty(peer)
            return None
        try:
            return self.admission.enter(host, now)
        except Denied as denied:
            self.turn_away(host, peer, denied.rule, denied.message, denied.limit, denied.value)
            return None

    def begin_call(self, partner: str) -> None:
        """Reserve a place for a session with a partner that is called, until :meth:`end_call`.

        :raises Denied: if there are too many sessions, or the partner is not called for a while.
        """
        seconds = round(self.called.banned(partner, self._clock.seconds()))
        if seconds:
            message = f"the partner is not called for {seconds} more seconds, because of what sessions with it cost"
            raise Denied(rule=Cause.CALL_BANNED, message=message, limit="ban", value=seconds)
        self.admission.begin_call(partner)

    def end_call(self, partner: str, fault: Fault | None = None) -> None:
        """Release the place.

        :param fault: what the partner did in the session.
        """
        self.admission.end_call(partner)
        if fault is not None:
            self.called.fault(partner, fault, self._clock.seconds())

    def turn_away(
        self,
        host: str,
        peer: str,
        cause: str,
        message: str,
        limit: str | None = None,
        most: int | None = None,
        advice: str | None = None,
    ) -> None:
        """Report that a connection is refused, unless that was reported for its address a moment ago."""
        left_out = self._sparing.tell(host, limit or cause, self._clock.seconds())
        if left_out is not None:
            told = {"limit": limit, "most": most, "advice": advice}
            self._events.emit(
                "connection.refused", peer=peer, cause=cause, message=message, facts=left_out.facts, **told
            )

    def unconfigured(self, host: str, peer: str) -> None:
        """Report that nobody can be admitted, since there is no configuration."""
        self.turn_away(host, peer, Cause.CONFIGURATION_NONE, "the server has no configuration")

    def too_hasty(self, peer: str) -> None:
        """Report now and then that a network connects too often for what is going on."""
        # Of no address: a flood comes from so many that a report for each would be a flood, too.
        self.turn_away("", peer, Cause.QUOTA_HASTE, Cause.QUOTA_HASTE.meaning)

    def displaced(self, peer: str) -> None:
        """Report now and then that connections that had proved nothing made room for others."""
        self.turn_away("", peer, Cause.QUOTA_DISPLACED, Cause.QUOTA_DISPLACED.meaning)

    def unspoken(self, host: str, door: SilentDoor, spoken: Spoken, reason: Failure | None) -> None:
        """Report a connection that ended before TLS began, and count its fault.

        :param reason: why it ended; ``None`` if the deadline of the handshake passed.
        """
        if spoken is Spoken.TLS and reason is None:
            # No fault of the caller: it waited for our answer.
            self.displaced(door.peer)
            return
        event, fault, advice = "handshake.failed", Fault.HANDSHAKE, None
        seconds = self._clock.seconds() - door.accepted
        if (plain := _WITHOUT_TLS.get(spoken)) is not None:
            cause, message, advice, fault = plain.cause, plain.message, plain.advice, Fault.TLS_GARBAGE
        elif reason is None:
            cause, message, fault = Cause.HANDSHAKE_TIMEOUT, f"no TLS handshake within {seconds:.0f} s", Fault.SILENCE
            if spoken is Spoken.NOTHING:
                cause, message = Cause.HANDSHAKE_SILENT, f"{message}: the caller sent nothing"
                advice = "a program without TLS waits for our greeting: have the partner switch TLS on"
        elif spoken is Spoken.NOTHING:
            # No fault: monitoring that checks whether the port is open does this.
            message = f"{end_of(reason).message} before the peer sent anything"
            self._events.emit("connection.closed", peer=door.peer, cause=Cause.CONNECTION_SILENT, message=message)
            return
        else:
            cause, message = Cause.HANDSHAKE_ENDED, f"{end_of(reason).message} before TLS was established"
        self._events.emit(event, peer=door.peer, cause=cause, message=message, advice=advice, duration=seconds)
        self.fault(host, fault)

    def adopt(self, server: ServerConfiguration) -> None:
        """Use the limits and penalties of a generation; bans end for certificates that it may let in."""
        self.admission.limits = server.limits
        self._events.limit_strangers(server.limits.strangers_events)
        # A fault of a connection that a balancer made is the balancer's only if nobody is named for it.
        exempt = (*server.penalties.exempt, *server.balancers)
        self.penalties.settings = attrs.evolve(server.penalties, exempt=exempt)
        self.called.settings = server.penalties
        self._pardon(forgivable(self._server, server))
        self._server = server

    def fault(self, host: str, fault: Fault) -> None:
        """Count a fault against an address, and report the ban if one begins."""
        ban = self.penalties.fault(host, fault, self._clock.seconds())
        if ban is not None:
            self._events.emit(
                "penalty.banned",
                network=ban.prefix,
                seconds=ban.seconds,
                cause=fault.cause,
                message=fault.cause.meaning,
            )
            self._await_end()

    def _pardon(self, faults: Collection[Fault]) -> None:
        """End the bans for faults that a new generation may not see as such."""
        for prefix in self.penalties.pardon(faults, self._clock.seconds()):
            cause = Cause.PENALTY_PARDONED
            self._events.emit("penalty.lifted", network=prefix, cause=cause, message=cause.meaning)
        self._await_end()

    def stop(self) -> None:
        """Report no further ends of bans."""
        self._lifting.stop()

    def _await_end(self) -> None:
        self._lifting.stop()
        end = self.penalties.next_end()
        if end is not None:
            self._lifting.start(max(0.0, end - self._clock.seconds()))

    def _lift(self) -> None:
        for prefix in self.penalties.lifted(self._clock.seconds()):
            over = Cause.PENALTY_OVER
            self._events.emit("penalty.lifted", network=prefix, cause=over, message=over.meaning)
        self._await_end()
