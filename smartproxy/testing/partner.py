"""A partner: dials, and is the Initiator of every session.

It stands for a company on the internet: TLS with its own certificate, or plain TCP towards a station.
"""

from collections.abc import Callable
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from smartproxy.oftp2.roles import Role
from smartproxy.testing.entity import Entity
from smartproxy.testing.events import Event, SessionOver, unobserved
from smartproxy.testing.session import Closed, SessionProtocol
from smartproxy.testing.settings import Settings
from smartproxy.testing.tls import TestContext
from smartproxy.testing.user_monitor import UserMonitor

E = TypeVar("E", bound=Event)


@attrs.frozen(kw_only=True)
class PartnerCall:
    """One call, as the partner saw it.

    :ivar closed: how the connection ended: TLS version, alert, cause.
    :ivar ended: how the session ended.
    :ivar events: all that was reported.
    :ivar seconds: how long it took, from dialling on.
    """

    closed: Closed
    ended: SessionOver | None
    events: tuple[Event, ...]
    seconds: float

    def reported(self, kind: type[E]) -> list[E]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


class TestPartner:
    """A partner that can call.

    :param endpoint: whom to call.
    :param context: speak TLS with it; plain TCP without.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        settings: Settings,
        monitor: UserMonitor,
        *,
        observe: Callable[[Event], None] = unobserved,
        context: TestContext | None = None,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint if context is None else wrapClientTLS(context, endpoint)
        self._settings = settings
        self._monitor = monitor
        self._observe = observe

    def call(self) -> Deferred[PartnerCall]:
        """Call once, send and receive all there is.

        Fires when the connection is gone; fails if there never was one.
        """
        events: list[Event] = []
        begun = self._clock.seconds()
        outcome: Deferred[PartnerCall] = Deferred()

        def observe(event: Event) -> None:
            events.append(event)
            self._observe(event)

        def gone(end: Closed) -> None:
            outcome.callback(
                PartnerCall(
                    closed=end,
                    ended=entity.ended,
                    events=tuple(events),
                    seconds=self._clock.seconds() - begun,
                )
            )

        entity = Entity(Role.INITIATOR, self._settings, self._monitor, observe)
        factory = Factory.forProtocol(lambda: SessionProtocol(entity, self._clock, gone))
        factory.noisy = False
        return self._endpoint.connect(factory).addCallback(lambda _session: outcome)
