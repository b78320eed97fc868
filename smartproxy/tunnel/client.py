"""The client's end of one tunnel: dials the server, keeps the tunnel up, and tells why when it is down.

Duty: one control connection, dialled again for as long as the service runs, after a wait that doubles from 1 to 30
seconds, with jitter so that a restarted server is not met by all clients at once. Names are resolved anew each time. No
octet of AMP goes to a server whose key does not match one of the Proxy IDs. Trusts its caller for credential and Proxy
IDs.
"""

import random
from collections.abc import Callable, Collection
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy import __version__
from smartproxy.logs.emit import Events
from smartproxy.net.transport.error_words import connection_words
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import TunnelLost
from smartproxy.policy.versions import Part
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.client_control import ClientControl, ClientUser
from smartproxy.tunnel.contexts import ClientContext, PeerRefused, VerifiedServer
from smartproxy.tunnel.credential import ClientCredential, challenge_of
from smartproxy.tunnel.dialling import STOPPED, dial
from smartproxy.tunnel.entrance import Entrance
from smartproxy.tunnel.faults import Closing, NameTaken, QuestionExpired, TunnelFault, VersionsIncompatible
from smartproxy.tunnel.kinds import SMART, TunnelKind
from smartproxy.tunnel.lane import Lane


class ClientTunnel(Service):
    """The tunnel to one server.

    :param clock: ``callLater``'s owner.
    :param endpoint: how to dial the server.
    :param server: the server's name for logs, such as ``dmz.example:2878``.
    :param credential: what this client shows.
    :param proxy_ids: the servers that may be spoken to.
    :param user: the daemon.
    :param events: where everything is told.
    :param lane: the data connections to the server.
    :param version: this program's version.
    :param jitter: a random number from 0 to 1.
    :param kind: which kind of tunnel it is.
    :param wait: seconds until the server is dialled first.
    :ivar control: the control connection while the tunnel is up.
    :ivar lane: the data connections.
    :ivar tries: how often the server was dialled to the end, whatever came of it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        server: str,
        *,
        credential: ClientCredential,
        proxy_ids: Collection[str],
        user: ClientUser,
        events: Events,
        lane: Lane,
        version: str = __version__,
        jitter: Callable[[], float] = random.random,
        kind: TunnelKind = SMART,
        wait: float = 0.0,
    ) -> None:
        self._kind = kind
        self._wait = wait
        self.control: ClientControl | None = None
        self.tries = 0
        self.server = server
        self.lane = lane
        self._clock = clock
        self._endpoint = endpoint
        self._user = user
        self._events = events
        self._jitter = jitter
        self._part = Part(program=kind.client, version=version)
        self._task: Deferred[None] | None = None
        self._down: Deferred[Closing] | None = None
        self._trouble: tuple[object, float] | None = None
        self._gone: Callable[[], object] | None = None
        self._shown: tuple[ClientCredential, frozenset[str]] | None = None
        self.renew(credential, proxy_ids)

    def renew(self, credential: ClientCredential, proxy_ids: Collection[str]) -> None:
        """Use this credential and these Proxy IDs for connections dialled from now on."""
        shown = credential, frozenset(proxy_ids)
        if self._shown != shown:
            self._shown = shown
            self._control_context = ClientContext(credential, proxy_ids, self._kind.control)
            if self.control is not None:
                Deferred.fromCoroutine(self._introduce(self.control))
        self.lane.renew(credential, proxy_ids)

    def startService(self) -> None:
        """Dial."""
        Service.startService(self)
        self._task = Deferred.fromCoroutine(self._keep_up())
        self._task.addErrback(self._stopped)

    def stopService(self, why: Closing = STOPPED) -> Deferred[None]:
        """Close the tunnel and stop dialling."""
        Service.stopService(self)
        if self.control is not None:
            self.control.close(why)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        return succeed(None)

    def retire(self, gone: Callable[[], object]) -> None:
        """Keep the tunnel that is up for its sessions, and stop dialling.

        :param gone: told when it is down, in the place of the daemon.
        """
        self._gone = gone

    @property
    def retired(self) -> bool:
        """Whether the server has a newer process, with a tunnel of its own."""
        return self._gone is not None

    # The control connection.

    async def _keep_up(self) -> None:
        wait = limits.RECONNECT_SECONDS_FIRST
        if self._wait:
            await deferLater(self._clock, self._wait)
        while True:
            try:
                await self._bring_up()
            except (PeerRefused, TunnelFault, TunnelLost) as fault:
                self._tell_trouble(fault)
            except CancelledError:
                raise
            except Exception:
                self._unreachable(Failure())
            else:
                wait = limits.RECONNECT_SECONDS_FIRST
                await self._lost()
                if self._gone is not None:
                    self._call(self._gone)
                    return
            self.tries += 1
            # From half the wait to all of it.
            await deferLater(self._clock, wait * (1 + self._jitter()) / 2)
            wait = min(wait * 2, limits.RECONNECT_SECONDS_MOST)

    async def _bring_up(self) -> None:
        context = self._control_context
        control = await dial(self._clock, self._endpoint, context, self._build_control)
        try:
            if context is self._control_context:
                self.lane.bind(control.bond)
            await control.greet(self._part, self._kind.server, self.lane)
        except Exception:
            control.close(Closing(Cause.TUNNEL_HELLO, "the tunnel did not come up"))
            raise
        self.control = control
        self._down = Deferred()
        self._trouble = None
        self._events.emit(
            "tunnel.up",
            host=self.server,
            peer=control.peer,
            version=self._part.version,
            theirs=control.version,
            proxy_id=control.proxy_id,
        )
        self._call(self._user.tunnel_up, control)
        if context is not self._control_context:
            await self._introduce(control)

    async def _introduce(self, control: ClientControl) -> None:
        """Show the server what is newer than the control connection; until it knows, data connections show it."""
        assert self._shown is not None
        shown = credential, proxy_ids = self._shown
        try:
            await control.renewed(credential.der, credential.proof(control.challenge))
        except (TunnelFault, TunnelLost, ValueError):
            # When the certificate of the control connection ends, the server ends it, and it is dialled again.
            return
        if self.control is control and self._shown == shown and control.proxy_id in proxy_ids:
            self.lane.bind(control.bond)

    def _build_control(self, entrance: Entrance, server: VerifiedServer) -> ClientControl:
        control = ClientControl(
            self._control_down, self._user, server.proxy_id, entrance.peer, self._clock, self._events
        )
        control.bond = Bond.of(entrance.connection, server.proxy_id)
        control.challenge = challenge_of(entrance.connection)
        return control

    async def _lost(self) -> None:
        """Wait for the end of the tunnel."""
        if self._down is not None:
            await self._down

    def _control_down(self, control: ClientControl, why: Closing) -> None:
        if self.control is not control:
            return
        self.control = None
        self._events.emit("tunnel.down", host=self.server, peer=control.peer, cause=why.cause, message=why.message)
        if self._gone is None:
            self._call(self._user.tunnel_down, why)
        down, self._down = self._down, None
        if down is not None:
            down.callback(why)

    # Trouble is told once, and again when it changes or lasts.

    def _unreachable(self, failure: Failure) -> None:
        message = connection_words(failure.value)
        if self._worth_telling(message):
            self._events.emit(
                "tunnel.failed",
                cause=Cause.TUNNEL_CONNECT,
                message=message,
                host=self.server,
                advice="check that the server runs, and that this machine can reach its port",
            )

    def _tell_trouble(self, fault: PeerRefused | TunnelFault | TunnelLost) -> None:
        facts: dict[str, object]
        match fault:
            case PeerRefused():
                facts = fault.fields()
            case VersionsIncompatible():
                facts = {"cause": Cause.TUNNEL_VERSIONS, "message": str(fault), "ours": self._part.version}
            case NameTaken():
                facts = {"cause": Cause.TUNNEL_NAME_TAKEN, "message": str(fault)}
            case QuestionExpired():
                facts = {"cause": Cause.TUNNEL_SILENT, "message": str(fault)}
            case _:
                # The server judges the certificate after this end's handshake is over: its alert is the detail.
                facts = {
                    "cause": Cause.TUNNEL_REFUSED,
                    "message": Cause.TUNNEL_REFUSED.meaning,
                    "detail": str(fault),
                    "advice": "see the server's log for the reason",
                }
        if self._worth_telling(facts):
            self._events.emit("tunnel.refused", host=self.server, **facts)

    def _worth_telling(self, what: object) -> bool:
        now = self._clock.seconds()
        if self._trouble is not None:
            told, at = self._trouble
            if told == what and now - at < limits.TROUBLE_AGAIN_SECONDS:
                return False
        self._trouble = (what, now)
        return True

    def _stopped(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._events.failure("smartproxy.tunnel.client", failure)

    def _call(self, call: Callable[..., Any], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            self._events.failure("smartproxy.tunnel.client", Failure())
