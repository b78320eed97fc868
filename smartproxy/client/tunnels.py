"""The client's tunnels to its servers: one to each, and for a while others to a server that has newer processes.

Duty: dial the servers, show each the newest credential, and know which tunnel a control connection belongs to and which
of them take sessions. A server says itself that it has a newer process: a hostile one gets so many tunnels and dials by
that as one that closes its tunnel again and again. Trusts its caller for the credential and for the Proxy IDs of the
servers that may be spoken to.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint

from smartproxy.logs.emit import Events
from smartproxy.net.transport.sockets import dialling
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.client_control import ClientControl, ClientUser
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.lane import Lane

TRIES = 2
"""How often a server is dialled before it counts as one that cannot be reached: the first dial may come too soon."""
UNLICENSED: Final = Closing(Cause.TUNNEL_WRONG_SERVER_KEY, "the server's licence was withdrawn in the backend")
"""Why a tunnel ends whose server is not to be spoken to any more."""


class ServerTunnels:
    """The tunnels, by numbers that are never used again.

    :param reactor: connects and tells the time.
    :param events: where everything is told.
    :param servers: host and port of each server.
    :param endpoint: makes the endpoint of a server from the reactor, its host and its port.
    :param user: the daemon.
    :param lane: makes the data connections of a tunnel from its number, host and port.
    :param forget: forgets the data connections of a tunnel that is no more, by its number.
    :param gone: told when the tunnel to a process that has a successor is down.
    :ivar credential: what is shown to servers, once there is something.
    """

    def __init__(
        self,
        reactor: Any,
        events: Events,
        servers: Sequence[HostPort],
        *,
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint],
        user: ClientUser,
        lane: Callable[[int, str, int], Lane],
        forget: Callable[[int], object],
        gone: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._servers = servers
        self._endpoint = endpoint
        self._user = user
        self._lane = lane
        self._forget = forget
        self._gone = gone
        self._tunnels: dict[int, ClientTunnel] = {}
        self._numbers = count()
        self._places: dict[int, HostPort] = {}
        self._owed: dict[int, ClientControl] = {}
        self._succeeded: dict[HostPort, float] = {}
        self._proxy_ids: frozenset[str] = frozenset()
        self.credential: ClientCredential | None = None

    @property
    def all(self) -> Sequence[ClientTunnel]:
        """All of them, up or not."""
        return list(self._tunnels.values())

    @property
    def servers(self) -> Sequence[str]:
        """The servers that are dialled, as host:port."""
        return [str(each) for each in self._servers]

    @property
    def tried(self) -> bool:
        """Whether there are tunnels, and one to each server is up or was dialled in vain, and once more."""
        tried = {
            self._places[number]
            for number, each in self._tunnels.items()
            if each.control is not None or each.tries >= TRIES
        }
        return bool(tried) and tried == set(self._places.values())

    @property
    def controls(self) -> dict[int, ClientControl]:
        """The servers that are connected, by their numbers."""
        return {number: each.control for number, each in self._tunnels.items() if each.control is not None}

    @property
    def taking(self) -> dict[int, ClientControl]:
        """Those that take sessions: a server that has a newer process only as long as that is not connected."""
        connected = self.controls
        newest = {number: each for number, each in connected.items() if not self._tunnels[number].retired}
        return newest or connected

    def number_of(self, control: ClientControl) -> int:
        """The number of a server that is connected; -1 for one that is not any more."""
        return next((number for number, each in self.controls.items() if each is control), -1)

    def show(self, credential: ClientCredential | None, proxy_ids: frozenset[str]) -> None:
        """Use this credential, and speak to these servers only, for what is dialled from now on."""
        self.credential, self._proxy_ids = credential, proxy_ids
        if credential is not None:
            for tunnel in self._tunnels.values():
                tunnel.renew(credential, proxy_ids)

    def end_unlicensed(self) -> None:
        """End the tunnels to servers that are not to be spoken to any more; when dialled, they are refused."""
        for control in self.controls.values():
            if control.proxy_id not in self._proxy_ids:
                control.close(UNLICENSED)

    def dial(self) -> None:
        """Have a tunnel to each server, unless they are dialled already, or there is nothing to show to them."""
        if self._tunnels or self.credential is None:
            return
        for place in self._servers:
            self._dial(place, self.credential)

    def _dial(self, place: HostPort, credential: ClientCredential, wait: float = 0.0) -> None:
        number, host, port = next(self._numbers), place.host, place.port
        self._places[number] = place
        tunnel = self._tunnels[number] = ClientTunnel(
            self._reactor,
            self._endpoint(dialling(self._reactor), host, port),
            str(place),
            credential=credential,
            proxy_ids=self._proxy_ids,
            user=self._user,
            events=self._events,
            lane=self._lane(number, host, port),
            wait=wait,
        )
        tunnel.startService()

    def succeed(self, control: ClientControl) -> None:
        """A newer process of a server listens where it did: have a tunnel to that, too, until its sessions are over."""
        number = self.number_of(control)
        if number < 0 or self.credential is None or self._tunnels[number].retired:
            return
        place, now = self._places[number], self._reactor.seconds()
        if list(self._places.values()).count(place) < limits.SERVER_PROCESSES_MOST:
            self._owed.pop(number, None)
            self._tunnels[number].retire(partial(self._retired, number))
            lately = now - self._succeeded.get(place, -limits.SUCCESSION_SECONDS) < limits.SUCCESSION_SECONDS
            self._succeeded[place] = now
            self._dial(place, self.credential, limits.RECONNECT_SECONDS_FIRST if lately else 0.0)
        elif self._owed.get(number) is not control:
            self._owed[number] = control
            self._events.emit(
                "tunnel.failed",
                cause=Cause.TUNNEL_PROCESSES,
                message=Cause.TUNNEL_PROCESSES.meaning,
                host=str(place),
                advice="nothing to do if its sessions end soon: the newest process is dialled as soon as one of the "
                "older processes is over",
            )

    def _retired(self, number: int) -> None:
        self._drop(number)
        self._gone()
        for control in list(self._owed.values()):
            self.succeed(control)

    def _drop(self, number: int) -> None:
        """Forget a tunnel that is no more."""
        for each in (self._tunnels, self._places, self._owed):
            each.pop(number, None)
        self._forget(number)

    def end(self, why: Closing) -> None:
        """End all; they may be dialled again."""
        self._owed.clear()
        tunnels, self._tunnels = self._tunnels, {}
        for number, tunnel in tunnels.items():
            tunnel.stopService(why)
            self._drop(number)

    async def stop(self) -> None:
        """Close all, one after the other."""
        self._owed.clear()
        for tunnel in self.all:
            await maybeDeferred(tunnel.stopService)
