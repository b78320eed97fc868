"""A leg: one connection as a session sees it.

Duty: the few calls that the partner's TLS connection, the station's TCP connection and the tunnel's data connection
have in common, so that a session does not know which of them it holds; and the one place that keeps what comes before
there is a session. Trusts each implementation to say ``leg_lost`` exactly once and last.

Theory of operation. A session has two legs, and what comes in by one goes out by the other::

    far end ──octets──▶ leg A ──octets_received──▶ session ──send──▶ leg B ──octets──▶ far end

Nothing between them is a queue without a bound. Leg B says ``leg_full`` when its transport holds more than it likes to;
the session then calls ``pause`` on leg A, A's transport reads no more, and TCP's window holds A's far end. When B's
transport has sent what waited, ``leg_drained`` comes, and the session calls ``resume`` on A. Each leg is paused by the
other one alone: a leg never pauses itself once it has a receiver.

Before a leg has a receiver, its :class:`Inbox` keeps what comes, in order, and the leg stops reading when too much is
kept. It is delivered in the turn of the reactor after the receiver was set, never from within the assignment.

A leg ends in one of two ways. ``finish`` delivers what was sent before and closes by the connection's own rules;
``abort`` closes at once. Either way, and when the far end closes, ``leg_lost`` is the leg's last word. While a leg
closes it always reads, so that it sees the far end go, and delivers nothing of what it reads; an abort timer bounds it.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IReactorTime
from zope.interface import Attribute, Interface

from smartproxy.policy.addresses import HostPort, plain_host
from smartproxy.policy.callbacks import nothing
from smartproxy.relay.events import SharedEnd

Why = Callable[[], SharedEnd | None]
"""How a session ended whose leg is not needed any more; it is known before the opening of the leg is canceled."""


@attrs.frozen
class LegEnd:
    """How a leg ended.

    :ivar message: how, in words for people that hold no octet of the peer.
    :ivar in_order: whether it was closed in order: everything that was sent to us was delivered before.
    """

    message: str
    in_order: bool = False


class ILeg(Interface):
    """What a session asks of a connection."""

    receiver = Attribute("The :class:`ILegReceiver` that is told what happens; what comes before it is set is kept.")
    worked = Attribute("The seconds that working on what the far end sent has taken so far, where they are measured.")
    peer = Attribute("The far end, as text for logs, such as ``192.0.2.7:40112``.")

    def send(octets: bytes) -> None:
        """Queue octets for delivery, in order. After ``finish`` or ``abort``, or on a lost leg, nothing happens."""

    def finish(end: SharedEnd | None = None) -> None:
        """Deliver what was sent, then end the leg by its own rules: close_notify, FIN, or the tunnel's end mark.

        :param end: how the session ended; travels in the tunnel's end mark.

        The leg arms its own abort timer; ``leg_lost`` (or, for a data connection, ``leg_ended``) follows in any case.
        """

    def abort() -> None:
        """End the leg now, throwing away what was not delivered."""

    def pause() -> None:
        """Deliver no more octets until ``resume``; the far end is held back by its transport's flow control."""

    def resume() -> None:
        """Go on delivering octets."""


class ILegReceiver(Interface):
    """What a connection tells its session."""

    def octets_received(leg: ILeg, octets: bytes) -> None:
        """Octets arrived, cut anywhere."""

    def leg_ended(leg: ILeg, end: SharedEnd | None) -> None:
        """The far daemon ended its direction with the tunnel's end mark; TCP and TLS legs never say so.

        :param end: how the session ended, as the far daemon says, if it does.
        """

    def leg_lost(leg: ILeg, end: LegEnd) -> None:
        """The leg is gone, or handed back to its pool; nothing more is said about it."""

    def leg_full(leg: ILeg) -> None:
        """More octets wait to be sent than the leg's high-water mark: hold the other leg back."""

    def leg_drained(leg: ILeg) -> None:
        """The waiting octets are delivered: let the other leg go on."""


class Inbox:
    """What a leg has to tell its receiver, kept in order until there is one.

    :param leg: the leg that it belongs to.
    :param clock: gives the turn of the reactor in which what was kept is delivered.
    :param emptied: called when nothing is kept any more: the leg may read on.
    :ivar octets: how many are kept.
    """

    __slots__ = ("_clock", "_emptied", "_full", "_kept", "_leg", "_receiver", "_told_full", "octets")

    def __init__(self, leg: ILeg, clock: IReactorTime, emptied: Callable[[], object]) -> None:
        self.octets = 0
        self._leg = leg
        self._clock = clock
        self._emptied = emptied
        self._receiver: ILegReceiver | None = None
        self._kept: deque[Callable[[ILegReceiver], None]] | None = deque()
        self._full = False
        self._told_full = False

    @property
    def keeps(self) -> bool:
        """Whether what comes is kept and not delivered."""
        return self._kept is not None

    @property
    def receiver(self) -> ILegReceiver | None:
        """The receiver; ``None`` after there was one means that octets are thrown away and not kept."""
        return self._receiver

    @receiver.setter
    def receiver(self, receiver: ILegReceiver | None) -> None:
        first = self._receiver is None and receiver is not None
        self._receiver = receiver
        if first and self._kept is not None:
            if self._kept or self._full:
                # Not from within the assignment: the receiver may not be complete yet.
                self._clock.callLater(0, self._deliver)
            else:
                self._deliver()

    def received(self, octets: bytes) -> bool:
        """Octets arrived; whether they are kept."""
        if self._kept is not None:
            self.octets += len(octets)
            self._kept.append(lambda receiver: receiver.octets_received(self._leg, octets))
            return True
        if self._receiver is not None:
            self._receiver.octets_received(self._leg, octets)
        return False

    def ended(self, end: SharedEnd | None) -> None:
        """The far daemon ended its direction, and said how the session ended, if it did."""
        self._tell(lambda receiver: receiver.leg_ended(self._leg, end))

    def lost(self, end: LegEnd) -> None:
        """The leg is gone; the last word."""
        self._tell(partial(self._last, end))

    def fill(self, full: bool) -> None:
        """Tell at once that the transport is full, or no longer full: a sender in the same turn has to know."""
        self._full = full
        if self._receiver is None or full is self._told_full:
            return
        self._told_full = full
        if full:
            self._receiver.leg_full(self._leg)
        else:
            self._receiver.leg_drained(self._leg)

    def _tell(self, call: Callable[[ILegReceiver], None]) -> None:
        if self._kept is not None:
            self._kept.append(call)
        elif self._receiver is not None:
            call(self._receiver)

    def _last(self, end: LegEnd, receiver: ILegReceiver) -> None:
        self._receiver = None
        receiver.leg_lost(self._leg, end)

    def _deliver(self) -> None:
        self.fill(self._full)
        kept = self._kept
        while kept and self._receiver is not None:
            kept.popleft()(self._receiver)
        self._kept = None
        self.octets = 0
        emptied, self._emptied = self._emptied, nothing
        emptied()


def peer_of(address: object) -> HostPort | None:
    """The address and port of a peer; ``None`` if it has none, as on a Unix socket.

    A port that listens on ``::`` sees IPv4 peers as ``::ffff:192.0.2.7``. They are ``192.0.2.7`` here, and so wherever
    a peer is shown, stored, counted or banned.
    """
    if not isinstance(address, IPv4Address | IPv6Address):
        return None
    return HostPort(plain_host(address.host), address.port)


def address_text(address: object) -> str:
    """An address as logs show it: ``192.0.2.7:40112``, ``[2001:db8::7]:40112``; ``unknown`` if there is none."""
    peer = peer_of(address)
    return "unknown" if peer is None else str(peer)
