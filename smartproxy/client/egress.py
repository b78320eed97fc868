"""The daemon's side of calls to partners: the ports on which callers are awaited, and the servers that call.

Duty: listen for the station on the outbound listener and on the ports of single partners, find the partner that a
caller wants, and have a server call that partner. Only configured partners can be called. Reads nothing that a caller
sends: that is done where its session lives (:mod:`smartproxy.client.local_callers`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocolFactory

from smartproxy.client.desk import SessionDesk
from smartproxy.client.local_callers import fault_of_call
from smartproxy.client.wanted_calls import CallDenied, GrantedCall, WantedCall
from smartproxy.logs.emit import Events
from smartproxy.net.listeners import Listeners
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import Configuration
from smartproxy.policy.faults import PartnerUnreachable, Step
from smartproxy.policy.outbound import EgressRefused, choose, reachable
from smartproxy.policy.partners import Partner
from smartproxy.policy.settings import Listener
from smartproxy.relay.openings import CallWish
from smartproxy.tunnel.client_control import ClientControl

_ANY: Final = ""
"""Stands, among the names of partners, for the listener whose callers name the partner."""
_CONFIGURED: Final = "the configuration"
"""Why ports are closed while the client runs."""


class StationCalls:
    """All calls of the station.

    :param reactor: listens.
    :param events: where everything is told.
    :param configuration: tells the configuration in force, if there is one.
    :param controls: tells the servers that take sessions, by their numbers.
    :param desk: counts the sessions.
    :param factory: makes what takes the callers of a partner's port, or with the empty name those that name it.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        events: Events,
        configuration: Callable[[], Configuration | None],
        controls: Callable[[], Mapping[int, ClientControl]],
        desk: SessionDesk,
        factory: Callable[[str], IProtocolFactory],
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._configuration = configuration
        self._controls = controls
        self._desk = desk
        self._factory = factory
        self._listeners: dict[str, Listeners] = {}
        self._wanted: dict[str, Listener] = {}
        self._closing = 0
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
        before, self._wanted = self._wanted, wanted
        self._close([name for name in self._listeners if wanted.get(name) != before.get(name)])
        self._open_wanted()

    @property
    def ports(self) -> dict[str, HostPort | None]:
        """Address and port of the listener of each partner, and of the one for any partner under the empty name.

        ``None`` where a port could not be opened.
        """
        opened = {name: listeners.ports for name, listeners in self._listeners.items()}
        return {name: next(iter(opened.get(name, ())), None) for name in self._wanted}

    def close(self, message: str) -> Deferred[None]:
        """Close all ports."""
        self._wanted = {}
        return self._close(list(self._listeners), message)

    def _close(self, names: Sequence[str], message: str = _CONFIGURED) -> Deferred[None]:
        """Close the ports of these; what is wanted is opened once they are closed."""
        leaving = [self._listeners[name].have((), message) for name in names]
        self._closing += len(leaving)
        return gatherResults([each.addCallback(self._closed) for each in leaving]).addCallback(lambda _: None)

    def _closed(self, _: None) -> None:
        self._closing -= 1
        self._open_wanted()

    def _open_wanted(self) -> None:
        """Open what is wanted now, once nothing is being closed: a port may move from one partner to another."""
        if self._closing:
            return
        for name, listener in self._wanted.items():
            self._listeners_of(name).have((listener,), _CONFIGURED)

    def _listeners_of(self, name: str) -> Listeners:
        if name not in self._listeners:
            mode = f"calls to {name}" if name else "calls to partners"
            factory = self._factory(name)
            self._listeners[name] = Listeners(self._reactor, lambda: factory, self._events, mode=mode)
        return self._listeners[name]

    # Calls.

    def call(self, session: str, wanted: WantedCall) -> Deferred[GrantedCall]:
        """Have a server call a partner.

        The session has a place from then on, whatever comes of it, until :meth:`over`.

        :return: fails with :class:`~smartproxy.client.wanted_calls.CallDenied`; canceling it gives the call up.
        """
        return Deferred.fromCoroutine(self._call(session, wanted))

    def over(self, session: str) -> None:
        """A call failed, or its session is over."""
        self._carrying.pop(session, None)

    async def _call(self, session: str, wanted: WantedCall) -> GrantedCall:
        partner: Partner | None = None
        try:
            configuration = self._in_force()
            partner = _meant(configuration, wanted)
            number, control = self._carrier()
            self._desk.hold(session)
            self._carrying[session] = control
            wish = CallWish(way=wanted.way, caller=wanted.caller)
            seconds = configuration.server.deadlines.opening + limits.CALL_PATIENCE_SECONDS
            ticket = await control.call(session, partner.name, wish, seconds=seconds)
        except (SessionFault, EgressRefused) as error:
            self.over(session)
            if partner is None:
                raise CallDenied(_fault(error)) from error
            raise CallDenied(_fault(error), partner.name, partner.profile) from error
        return GrantedCall(partner=partner.name, profile=partner.profile, server=number, ticket=ticket)

    def _in_force(self) -> Configuration:
        """The configuration.

        :raises PartnerUnreachable: if there is none.
        """
        configuration = self._configuration()
        if configuration is None:
            message = "the client has no configuration yet"
            raise PartnerUnreachable.at(Step.CONNECT, message, Cause.CONFIGURATION_NONE)
        return configuration

    def _carrier(self) -> tuple[int, ClientControl]:
        """The server that carries the fewest calls, with its number.

        :raises PartnerUnreachable: if there is none, or the client carries as many sessions as it may.
        """
        if (refusal := self._desk.refusal()) is not None:
            raise PartnerUnreachable.at(Step.CONNECT, refusal, Cause.QUOTA_SESSIONS)
        carried = list(self._carrying.values())
        found = min(self._controls().items(), key=lambda each: carried.count(each[1]), default=None)
        if found is None:
            raise PartnerUnreachable.at(Step.CONNECT, "no server is connected", Cause.TUNNEL_NONE)
        return found


def _meant(configuration: Configuration, wanted: WantedCall) -> Partner:
    """The partner that a caller wants.

    :raises EgressRefused: if no single partner that may be called fits.
    """
    partners = configuration.server.partners
    return choose(partners, wanted.name if wanted.host is None else wanted.host, wanted.port)


def _fault(error: SessionFault | EgressRefused) -> PartnerUnreachable:
    """The fault of a call, as the station is told of it."""
    if isinstance(error, EgressRefused):
        return PartnerUnreachable.at(Step.POLICY, error.cause, Cause.REQUEST_UNKNOWN)
    return fault_of_call(error)
