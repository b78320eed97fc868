"""The client's side of calls to partners: callers inside, and the sessions that they begin.

Duty: listen for the station on the outbound listener and on the ports of single partners, find the partner that it
wants, have a server call that partner, and relay between the two, judging every octet a second time. Only configured
partners can be called. A call that fails is answered in the caller's protocol: an HTTP status, a SOCKS reply, or, on
the port of a single partner, SSRM and ESID 08 with the cause. Being inside earns a caller no trust.

Standards: RFC 5024 sections 4.2 (start of a session) and 5.3.11 (ESID).
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg
from smartproxy.net.listeners import Listeners
from smartproxy.net.proxying.requester import RequesterFactory, RequesterLeg, either_way
from smartproxy.net.proxying.ways import ConnectFailure, Target
from smartproxy.net.sessions import LiveSessions
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import Configuration
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.policy.outbound import EgressRefused, choose, reachable
from smartproxy.policy.partners import Partner
from smartproxy.policy.settings import Listener
from smartproxy.relay.openings import CallWish, Opening, SessionFacts, Way, client_excuse, client_outbound
from smartproxy.tunnel.client_control import ClientControl

_ANY: Final = ""
"""Stands, among the names of partners, for the listener whose callers name the partner."""

_FAILURES: Final[Mapping[Cause | Step, ConnectFailure]] = {
    Cause.CALL_NO_ANSWER: ConnectFailure.TIMED_OUT,
    Cause.CALL_REFUSED: ConnectFailure.REFUSED,
    Cause.CALL_NO_ROUTE: ConnectFailure.NO_ROUTE,
    Step.POLICY: ConnectFailure.NOT_ALLOWED,
    Step.NAME: ConnectFailure.NO_NAME,
    Step.TLS: ConnectFailure.NOT_ACCEPTABLE,
    Step.SSRM: ConnectFailure.NOT_ACCEPTABLE,
}


def connect_failure(fault: PartnerUnreachable) -> ConnectFailure:
    """The reply of HTTP CONNECT or SOCKS that fits the failure of a call."""
    return _FAILURES.get(fault.cause) or _FAILURES.get(fault.step, ConnectFailure.NOT_READY)


@attrs.define(eq=False)
class _Host:
    """The callers of one listener.

    :ivar partner: the partner that they want; empty where they name it themselves.
    """

    calls: "StationCalls"
    partner: str

    def requested(self, leg: RequesterLeg, target: Target | None) -> None:
        """A caller named its partner, or its port did."""
        self.calls.requested(leg, target, self.partner)

    def malformed(self, leg: RequesterLeg, cause: str) -> None:
        """A caller's request is malformed."""
        self.calls.tell_refusal(leg, Cause.REQUEST_MALFORMED, cause, None)

    def left(self, leg: RequesterLeg, cause: str) -> None:
        """A caller did not wait for the answer."""
        self.calls.left(leg)


class StationCalls:
    """All calls of the station.

    :param reactor: listens and runs every deadline.
    :param events: where everything is told.
    :param configuration: tells the configuration in force, if there is one.
    :param controls: tells the servers that take sessions.
    :param sessions: the daemon's live sessions; those that begin here are among them.
    :param new_id: makes the id of a session.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        configuration: Callable[[], Configuration | None],
        controls: Callable[[], Iterable[ClientControl]],
        sessions: LiveSessions,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._configuration = configuration
        self._controls = controls
        self._sessions = sessions
        self._new_id = new_id
        self._listeners: dict[str, Listeners] = {}
        self._wanted: dict[str, Listener] = {}
        self._waiting: dict[RequesterLeg, Deferred[None]] = {}
        self._carrying: dict[str, ClientControl] = {}

    # Listening.

    def adopt(self, configuration: Configuration) -> None:
        """Open the ports that a generation names: none while no partner can be called."""
        outbound = configuration.client.outbound
        able = reachable(configuration.server.partners)
        wanted = {
            each.name: Listener(address=outbound.address, port=each.outbound.listener)
            for each in able
            if each.outbound is not None and each.outbound.listener is not None
        }
        if able and outbound.enabled:
            wanted[_ANY] = Listener(address=outbound.address, port=outbound.port)
        self._wanted = wanted
        # Close before opening: a port may move from one partner to another.
        for name in sorted(self._listeners, key=lambda each: each in wanted):
            self._listeners[name].have((wanted[name],) if name in wanted else (), "the configuration")
        for name in wanted:
            self._listeners_of(name).have((wanted[name],), "the configuration")

    @property
    def ports(self) -> dict[str, tuple[str, int] | None]:
        """Address and port of the listener of each partner, and of the one for any partner under the empty name.

        ``None`` where a port could not be opened.
        """
        return {name: next(iter(self._listeners[name].ports), None) for name in self._wanted}

    def close(self, cause: str) -> Deferred[None]:
        """Close all ports."""
        self._wanted = {}
        closing = [listeners.have((), cause) for listeners in self._listeners.values()]
        return gatherResults(closing).addCallback(lambda _: None)

    def _listeners_of(self, name: str) -> Listeners:
        if name not in self._listeners:
            factory = RequesterFactory(
                self._reactor,
                _Host(self, name),
                seconds=limits.CALLER_SECONDS,
                closing=self._closing,
                dialogue=None if name else either_way,
            )
            mode = f"calls to {name}" if name else "calls to partners"
            self._listeners[name] = Listeners(self._reactor, lambda: factory, self._events, mode=mode)
        return self._listeners[name]

    def _closing(self) -> float:
        configuration = self._configuration()
        return limits.CLOSING.default if configuration is None else configuration.client.deadlines.closing

    # Callers.

    def requested(self, leg: RequesterLeg, target: Target | None, name: str) -> None:
        """A caller wants a partner.

        :param target: host and port that it asked for, if any.
        :param name: the partner's, on the port of a single partner.
        """
        session = self._new_id()
        calling = Deferred.fromCoroutine(self._call(session, leg, target, name))
        if not calling.called:
            self._waiting[leg] = calling
        calling.addErrback(self._crashed, leg)

    def left(self, leg: RequesterLeg) -> None:
        """A caller did not wait for the answer: give the call up."""
        waiting = self._waiting.get(leg)
        if waiting is not None:
            waiting.cancel()

    def tell_refusal(
        self, leg: RequesterLeg, cause: Cause, message: str, target: Target | None, **fields: object
    ) -> None:
        """Report that a caller's request is refused."""
        asked = {} if target is None else {"host": target.host, "port": target.port}
        told = {"peer": leg.peer, "way": leg.way, "cause": cause, "message": message}
        self._events.emit("outbound.refused", **{**told, **asked, **fields})

    async def try_partner(self, session: str, name: str) -> None:
        """Have a partner called up to its greeting, as an operator asked; the server reports the result."""
        try:
            configuration = self._in_force()
            partner = choose(configuration.server.partners, name, None)
            wish = CallWish(way=Way.TRIAL)
            control = self._carrier(configuration)
            self._sessions.coming.add(session)
            data = await self._ask(configuration, control, session, partner, wish)
        except (SessionFault, EgressRefused) as error:
            fault = _fault(error)
            self._events.emit(
                "outbound.refused",
                session=session,
                partner=name,
                way=Way.TRIAL,
                cause=fault.cause,
                message=fault.message,
                step=fault.step.value,
            )
        else:
            data.finish()
        finally:
            self._sessions.coming.discard(session)

    async def _call(self, session: str, leg: RequesterLeg, target: Target | None, name: str) -> None:
        partner: Partner | None = None
        try:
            configuration = self._in_force()
            partner = _meant(configuration, target, name)
            control = self._carrying[session] = self._carrier(configuration)
            self._sessions.coming.add(session)
            wish = CallWish(way=Way(leg.way), caller=leg.peer)
            data = await self._ask(configuration, control, session, partner, wish)
        except (SessionFault, EgressRefused) as error:
            self._done(session, leg)
            self._refuse(session, leg, _fault(error), partner, target)
            return
        except Exception:
            self._done(session, leg)
            raise
        self._waiting.pop(leg, None)
        leg.accept()
        self._run(session, leg, client_outbound(_facts(leg, partner), configuration.client.station.profile), data)

    def _in_force(self) -> Configuration:
        """The configuration.

        :raises PartnerUnreachable: if there is none.
        """
        configuration = self._configuration()
        if configuration is None:
            message = "the client has no configuration yet"
            raise PartnerUnreachable.at(Step.CONNECT, message, Cause.CONFIGURATION_NONE)
        return configuration

    def _carrier(self, configuration: Configuration) -> ClientControl:
        """The server that carries the fewest calls.

        :raises PartnerUnreachable: if there is none, or the client carries as many sessions as it may.
        """
        most = configuration.client.limits.sessions
        if self._sessions.count >= most:
            message = f"the client's limit of {most} sessions is reached"
            raise PartnerUnreachable.at(Step.CONNECT, message, Cause.QUOTA_SESSIONS)
        carried = list(self._carrying.values())
        control = min(self._controls(), key=carried.count, default=None)
        if control is None:
            raise PartnerUnreachable.at(Step.CONNECT, "no server is connected", Cause.TUNNEL_NONE)
        return control

    def _ask(
        self, configuration: Configuration, control: ClientControl, session: str, partner: Partner, wish: CallWish
    ) -> Deferred[ILeg]:
        """Have a server call a partner."""
        seconds = configuration.server.deadlines.opening + limits.CALL_PATIENCE_SECONDS
        return control.open_outbound(session, partner.name, wish, seconds=seconds)

    def _run(self, session: str, leg: RequesterLeg, opening: Opening, data: ILeg) -> None:
        client = self._in_force().client
        self._sessions.prepare(
            session,
            opening,
            leg,
            deadlines=client.deadlines,
            command_octets=client.limits.command_octets,
            open_leg=lambda facts: succeed(data),
            over=lambda summary: self._done(session, leg),
        ).begin()

    def _done(self, session: str, leg: RequesterLeg) -> None:
        """A call failed, or its session is over: give its place back."""
        self._carrying.pop(session, None)
        self._sessions.coming.discard(session)
        self._waiting.pop(leg, None)

    def _refuse(
        self, session: str, leg: RequesterLeg, fault: PartnerUnreachable, partner: Partner | None, target: Target | None
    ) -> None:
        named = None if partner is None else partner.name
        self.tell_refusal(
            leg, fault.cause, fault.message, target, session=session, partner=named, step=fault.step.value
        )
        if leg.way != Way.PORT or partner is None:
            leg.refuse(connect_failure(fault), fault.message)
            return
        leg.accept()
        # The second leg is never asked for: the excuse ends with the station's SSID.
        station = self._in_force().client.station.profile
        self._run(session, leg, client_excuse(fault, _facts(leg, partner), station), leg)

    def _crashed(self, failure: Failure, leg: RequesterLeg) -> None:
        if failure.check(CancelledError) is None:
            self._events.failure("smartproxy.client.egress", failure, peer=leg.peer)
            leg.refuse(ConnectFailure.NOT_READY, "an internal error ended the call")


def _meant(configuration: Configuration, target: Target | None, name: str) -> Partner:
    """The partner that a caller wants.

    :raises EgressRefused: if no single partner that may be called fits.
    """
    partners = configuration.server.partners
    return choose(partners, name, None) if target is None else choose(partners, target.host, target.port)


def _facts(leg: RequesterLeg, partner: Partner) -> SessionFacts:
    return SessionFacts(peer=leg.peer, partner=partner.name, profile=partner.profile)


def _fault(error: SessionFault | EgressRefused) -> PartnerUnreachable:
    """The fault of a call, as the station is told of it."""
    match error:
        case PartnerUnreachable():
            return error
        case EgressRefused():
            return PartnerUnreachable.at(Step.POLICY, error.cause, Cause.REQUEST_UNKNOWN)
    known = next((cause for cause in Cause if cause == error.rule), None)
    return PartnerUnreachable.at(Step.CONNECT, error.message, known)
