"""The sessions of both daemons, joined by a tunnel that is a queue: pure functions on both sides of it."""

from collections import deque

from smartproxy.logs.catalogue import look_up
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.relay import events
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.ending import Summary
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.intents import (
    Abort,
    Arm,
    Disarm,
    Done,
    Finish,
    Intent,
    NotReady,
    Open,
    Pause,
    Ready,
    Resume,
    Send,
    Tell,
)
from smartproxy.relay.openings import Opening, client_outbound, server_inbound, server_outbound
from smartproxy.relay.session import Session
from tests.unit.playbook import (
    DEADLINES,
    FACTS,
    INITIATOR,
    PARTNER_SSID,
    RESPONDER,
    STATION_SSID,
    accept,
    client,
)


class Daemon:
    """One daemon's session, and what it asked for.

    :ivar outside: the role of the leg that leads out of the pair: to the partner, or to the station.
    :ivar said: what the far end of that leg sent.
    :ivar received: what it was sent.
    :ivar given_up: whether it waits for its leg no longer.
    """

    def __init__(self, session: Session, outside: Role) -> None:
        self.session = session
        self.outside = outside
        self.said = b""
        self.received = b""
        self.armed: set[Timer] = set()
        self.closed: dict[Role, str] = {}
        self.finished = False
        self.given_up = False
        self.reports: list[Tell] = []
        self.done: list[Summary] = []

    @property
    def tunnel(self) -> Role:
        """The role of the leg in the tunnel."""
        return self.outside.other


def session(opening: Opening) -> Session:
    """A session that begins in this way."""
    return Session("0123456789abcdef", opening, Monitor(), DEADLINES)


class Pair:
    """A partner and a station that say what a test lets them say, and the two sessions between them.

    :param server: how the server's session begins, if its policy has objections.
    :ivar outbound: whether the station calls; otherwise the partner does.
    """

    def __init__(self, *, outbound: bool = False, server: Opening | None = None) -> None:
        self.outbound = outbound
        self.client: Daemon | None = None
        self._waiting: deque[tuple[Daemon, events.Event]] = deque()
        if outbound:
            self.server = Daemon(session(server or server_outbound(accept, FACTS)), RESPONDER)
            self.client = Daemon(session(client_outbound(FACTS)), INITIATOR)
        else:
            self.server = Daemon(session(server or server_inbound(accept, FACTS)), INITIATOR)
        for daemon in self.daemons:
            self._perform(daemon, daemon.session.start())
        self.settle()

    @classmethod
    def relaying(cls, *, outbound: bool, server: Opening | None = None) -> "Pair":
        """A pair in which both SSIDs are exchanged, and the Initiator is the Speaker."""
        pair = cls(outbound=outbound, server=server)
        if outbound:
            pair.says(pair.server, SSRM_BUFFER)
            pair.says(pair.client, STATION_SSID)
            pair.says(pair.server, PARTNER_SSID)
        else:
            pair.says(pair.server, PARTNER_SSID)
            pair.says(pair.client, SSRM_BUFFER)
            pair.says(pair.client, STATION_SSID)
        return pair

    @property
    def daemons(self) -> list[Daemon]:
        """Those whose session was begun."""
        return [self.server] if self.client is None else [self.server, self.client]

    def says(self, daemon: Daemon | None, octets: bytes) -> None:
        """The partner (at the server) or the station (at the client) sends, if its connection still stands."""
        if daemon is not None and daemon.outside not in daemon.closed:
            daemon.said += octets
            self.happens(daemon, events.Arrived(daemon.outside, octets))

    def says_meanwhile(self, daemon: Daemon, octets: bytes) -> None:
        """The partner or the station sends at the moment in which the next thing happens."""
        daemon.said += octets
        self._waiting.append((daemon, events.Arrived(daemon.outside, octets)))

    def happens(self, daemon: Daemon, event: events.Event) -> None:
        """Something happens at a daemon, and everything that follows."""
        if isinstance(event, events.TimedOut):
            daemon.armed.discard(event.timer)
        self._waiting.append((daemon, event))
        self.settle()

    def at_once(self, *happen: tuple[Daemon, events.Event]) -> None:
        """Events happen at daemons that have not heard of each other's."""
        for daemon, event in happen:
            if isinstance(event, events.Lost):
                daemon.closed[event.leg] = "lost"
        self._waiting.extend(happen)
        self.settle()

    def happens_first(self, daemon: Daemon) -> None:
        """A daemon's session starts anew."""
        self._perform(daemon, daemon.session.start())
        self.settle()

    def settle(self) -> None:
        """Let everything follow."""
        while self._waiting:
            daemon, event = self._waiting.popleft()
            if daemon.given_up and isinstance(event, events.LegOpened):
                continue
            if not daemon.done:
                self._perform(daemon, daemon.session.receive(event))

    def lose(self, daemon: Daemon, leg: Role) -> None:
        """A connection breaks; in the tunnel both ends notice."""
        self._close(daemon, leg, "lost")
        self.settle()

    def _other(self, daemon: Daemon) -> Daemon | None:
        return self.client if daemon is self.server else self.server

    def _perform(self, daemon: Daemon, intents: list[Intent]) -> None:
        for intent in intents:
            self._carry_out(daemon, intent)

    def _carry_out(self, daemon: Daemon, intent: Intent) -> None:
        match intent:
            case Send(leg, octets) if leg is daemon.outside:
                daemon.received += octets
            case Send(leg, octets):
                other = self._other(daemon)
                assert other is not None
                if other.tunnel not in other.closed:
                    self._waiting.append((other, events.Arrived(other.tunnel, octets)))
            case Finish(leg) if leg is daemon.outside:
                self._close(daemon, leg, "finished")
            case Finish(leg, end):
                self._finish_tunnel(daemon, end)
            case Abort(leg, end) if end is not None and self.client is not None:
                self.server.finished = self.server.given_up = True
                self._waiting.append((self.client, events.Ended(self.client.tunnel, end)))
            case Abort(leg):
                self._close(daemon, leg, "aborted")
            case Open(leg, _) if self.client is None:
                self.client = Daemon(client(), RESPONDER)
                self._perform(self.client, self.client.session.start())
            case Open(leg, _):
                self._waiting.append((daemon, events.LegOpened(leg)))
            case Ready() if self.outbound:
                pass
            case Ready():
                self._waiting.append((self.server, events.LegOpened(RESPONDER)))
            case NotReady(fault):
                self.server.finished = True  # its tunnel answers the client's end mark; its session never had the leg
                self._waiting.append((self.server, events.OpenFailed(RESPONDER, fault)))
            case Arm(timer, _):
                daemon.armed.add(timer)
            case Disarm(timer):
                daemon.armed.discard(timer)
            case Tell(name, fields):
                look_up(name).check(fields)
                daemon.reports.append(intent)
            case Done(summary):
                daemon.done.append(summary)
            case Pause() | Resume():
                pass

    def _close(self, daemon: Daemon, leg: Role, how: str) -> None:
        if leg in daemon.closed:
            return
        daemon.closed[leg] = how
        self._waiting.append((daemon, events.Lost(leg, how)))
        other = self._other(daemon)
        if leg is daemon.tunnel and other is not None:
            self._close(other, other.tunnel, how)

    def _finish_tunnel(self, daemon: Daemon, end: SharedEnd | None) -> None:
        """An end mark; when both have come, the connection goes back to its pool."""
        other = self._other(daemon)
        assert other is not None
        if daemon.closed.get(daemon.tunnel):
            return
        if other.finished:
            self._waiting.append((other, events.Ended(other.tunnel, end)))
            self._close(daemon, daemon.tunnel, "finished")
            return
        daemon.finished = True
        self._waiting.append((other, events.Ended(other.tunnel, end)))
