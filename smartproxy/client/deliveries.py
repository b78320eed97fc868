"""Bringing the generation in force to each server, until it holds it.

Trusts a server's word that it holds a generation only after it was told of it, and gives up on none but the server that
declines it.
"""

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import Configuration, dump
from smartproxy.policy.faults import TunnelLost
from smartproxy.policy.limits import RETRY_SECONDS_FIRST, RETRY_SECONDS_MOST
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.faults import ConfigurationDeclined, QuestionExpired, TunnelFault


@attrs.frozen
class Holding:
    """What a server goes by, as far as this client knows.

    :ivar delivered: the configuration of this client that it accepted last; ``None``: none yet.
    :ivar is_certain: whether it holds that one: it says so, and the backend has no later one that another client could
        have brought.
    """

    delivered: Configuration | None
    is_certain: bool


class Deliveries:
    """What is on its way to the servers, and what each of them accepted last.

    :param configuration: the generation in force, if there is one.
    :param licence: the licence of a server, by its Proxy ID.
    :param confirmed: whether the backend has said that this is the generation in force, since calls of it failed.
    :ivar declined: the generation that a connected server could not put in force.
    """

    def __init__(
        self,
        reactor: Any,
        events: Events,
        *,
        configuration: Callable[[], Configuration | None],
        licence: Callable[[str], str | None],
        confirmed: Callable[[], bool],
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._configuration = configuration
        self._licence = licence
        self._confirmed = confirmed
        self._bringing: dict[ClientControl, Deferred[None]] = {}
        self.declined: dict[ClientControl, int] = {}
        self._accepted: dict[str, Configuration] = {}

    def stop(self) -> None:
        """Give up what is under way."""
        for bringing in list(self._bringing.values()):
            bringing.cancel()

    def forget_lost(self) -> None:
        """Forget the servers that are connected no longer."""
        self.declined = {each: number for each, number in self.declined.items() if each.lost is None}

    def holding(self, control: ClientControl) -> Holding:
        """What a server goes by; a server that was connected before has kept what it accepted then."""
        delivered = self._accepted.get(control.proxy_id)
        says = control.held.store is None or delivered is None or control.held.store == delivered.id.store
        says = says and delivered is not None and control.held.number == delivered.generation
        return Holding(delivered, says and self._confirmed())

    def bring(self, control: ClientControl) -> None:
        """Deliver the generation in force to a server, unless that is under way."""
        if control in self._bringing:
            return
        bringing = self._bringing[control] = Deferred.fromCoroutine(self._deliver(control))
        bringing.addErrback(self._not_brought, control).addBoth(lambda _: self._bringing.pop(control, None))

    async def _deliver(self, control: ClientControl) -> None:
        """Deliver to a server its part of the generation in force, with its own licence, until the server holds it.

        Gives up when the server declines it, which the server reports, and when the tunnel is down: it is delivered
        again when the tunnel is up again. Until the backend has said whether it is still the one, it is not brought to
        a server that has one: that may be a later one, of another store.
        """
        if control.held.number and not self._confirmed():
            return
        seconds = RETRY_SECONDS_FIRST
        while (configuration := self._configuration()) is not None and configuration.id.replaces(control.held):
            part = configuration.server_part
            part = attrs.evolve(part, server=attrs.evolve(part.server, licence=self._licence(control.proxy_id)))
            try:
                await control.configure(configuration.id, dump(part))
                # Another client may have brought a later one meanwhile.
                if control.held == configuration.id:
                    self._accepted[control.proxy_id] = configuration
                if not configuration.id.replaces(control.held):
                    self.declined.pop(control, None)
                    continue
                cause, message = Cause.TUNNEL_QUESTION, "the server does not hold the configuration that it accepted"
            except ConfigurationDeclined:
                # Else a newer one came meanwhile, and that is tried.
                if configuration is self._configuration():
                    self.declined[control] = configuration.generation
                    return
                continue
            except TunnelLost:
                return
            except TunnelFault as fault:
                cause = Cause.TUNNEL_SILENT if isinstance(fault, QuestionExpired) else Cause.TUNNEL_QUESTION
                message = str(fault)
            self._events.emit(
                "configuration.undelivered",
                generation=configuration.generation,
                cause=cause,
                message=message,
                peer=control.peer,
                seconds=seconds,
            )
            await deferLater(self._reactor, seconds)
            if control.lost is not None:
                return
            seconds = min(seconds * 2, RETRY_SECONDS_MOST)

    def _not_brought(self, failure: Failure, control: ClientControl) -> None:
        """Only a bug ends a delivery with an exception; the server does not have the generation then."""
        if failure.check(CancelledError) is None:
            self._events.failure("smartproxy.client.deliveries", failure)
            configuration = self._configuration()
            if configuration is not None:
                self.declined[control] = configuration.generation
