"""The decision whether a connection is accepted, before any TLS work.

Duty: check bans and limits for every connection, report why one is refused, count faults against addresses, and report
the begin and end of bans. Policy decides; this module adds the time and the log. Refusals that repeat are reported now
and then only: a flood must not hide other events, nor fill the backend's store.
"""

import random
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.policy.admission import Admission, Denied, Sparing, Visit
from smartproxy.policy.causes import Cause
from smartproxy.policy.penalties import Fault, Penalties

_RANDOM = random.SystemRandom()


class Gate:
    """Admits connections to the partners' listeners.

    :param clock: tells the time of faults and bans.
    :param events: where refusals and bans are told.
    :param admission: counts connections and sessions.
    :param penalties: counts faults of addresses.
    :param chance: a random number from 0 to 1; decides who is refused while nearly all places are taken.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        admission: Admission,
        penalties: Penalties,
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self.admission = admission
        self.penalties = penalties
        self._clock = clock
        self._events = events
        self._lifting = Deadline(clock, self._lift)
        self._sparing = Sparing()
        self._chance = chance

    def enter(self, host: str, peer: str) -> Visit | None:
        """Admit a connection; if it is refused, report why and return ``None``.

        :param host: its address.
        :param peer: its address and port, for the log.
        """
        seconds = self.penalties.banned(host, self._clock.seconds())
        if seconds:
            message = f"the address is banned for {seconds:.0f} more seconds"
            self.turn_away(host, peer, Cause.PENALTY_BANNED, message, "ban")
            return None
        try:
            return self.admission.enter(host, self._chance())
        except Denied as denied:
            self.turn_away(host, peer, denied.rule, denied.message, denied.limit, denied.value)
            return None

    def turn_away(
        self, host: str, peer: str, cause: str, message: str, limit: str | None = None, most: int | None = None
    ) -> None:
        """Report that a connection is refused, unless that was reported for its address a moment ago."""
        left_out = self._sparing.tell(host, limit or cause, self._clock.seconds())
        if left_out is not None:
            facts = {"not_written_before": left_out} if left_out else None
            self._events.emit(
                "connection.refused", peer=peer, cause=cause, message=message, limit=limit, most=most, facts=facts
            )

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

    def pardon_certificates(self) -> None:
        """End the bans for refused certificates: a new generation may accept them."""
        for prefix in self.penalties.pardon(Fault.CERTIFICATE, self._clock.seconds()):
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
            self._events.emit("penalty.lifted", network=prefix, cause=Cause.PENALTY_OVER, message="The ban is over.")
        self._await_end()
