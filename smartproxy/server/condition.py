"""The state of the server, for ``smartproxy ctl``: ports, tunnels, configuration, sessions, and whether all is well.

Reads, and ends a session on request; changes nothing else. Shows no key, no certificate and no password.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime

from smartproxy.ctl.answers import Licences
from smartproxy.ctl.daemon import in_force, killed
from smartproxy.ctl.licences import told
from smartproxy.ctl.statuses import InForce, ServerStatus, fields_of, judged
from smartproxy.net.tls.expiries import expiries
from smartproxy.policy.health import WORKERS_DOWN, Diagnosis, Expiry, Finding, Health, judge
from smartproxy.server.service import ServerService
from smartproxy.tunnel.condition import licence_remedy, load_facts, outside_facts

BANS_SHOWN_MOST = 100


class ServerCondition:
    """The state of a server.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(
        self, clock: IReactorTime, service: ServerService, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.events = service.events
        self._clock = clock
        self._service = service
        self._now = now

    def status(self) -> ServerStatus:
        """Everything about the daemon, with the verdict and what to do about it."""
        service = self._service
        internal = service.awaits_clients
        configuration, admission = service.configuration, service.gate.admission
        bans = service.gate.penalties.bans(self._clock.seconds())
        limits = admission.limits
        wanted = () if configuration is None else configuration.listeners
        return ServerStatus(
            **judged(self._verdict()),
            **outside_facts(
                service.licence.present,
                internal=internal,
                open_at=service.listeners.ports,
                missing=[each for each in wanted if each not in service.listeners.open],
                controls=service.tunnel.controls,
            ),
            **load_facts(len(service.sessions.live), limits.sessions),
            workers=() if service.crew is None else service.crew.condition(),
            **fields_of(self.generation()),
            connections=admission.connections,
            connections_most=limits.connections,
            bans=len(bans),
            banned={network: round(seconds) for network, seconds in list(bans.items())[:BANS_SHOWN_MOST]},
        )

    def _verdict(self) -> Diagnosis:
        """How it is: what is wrong, the worst first, and what runs out."""
        licence, configuration = self._service.licence.present, self._service.configuration
        ends = [Expiry("the licence", licence.valid_until)] if licence.in_force(self._now()) else []
        return judge(
            self._findings(), [*ends, *(() if configuration is None else expiries(configuration))], self._now()
        )

    def _findings(self) -> Iterator[Finding]:
        service, configuration = self._service, self._service.configuration
        if service.draining:
            yield Finding("draining", Health.DEGRADED, "the server stops when its sessions are over")
            return
        if service.crew is not None and service.crew.lacks_workers:
            yield WORKERS_DOWN
        if (fault := service.licence.fault()) is not None:
            remedy = licence_remedy(fault, "extend the licence in the backend: smartproxy licence extend")
            yield Finding("unlicensed", Health.DOWN, f"no session can begin: {fault.message}: {remedy}")
        if not service.tunnel.controls:
            words = "no client is connected: start smartproxy-client, or check its log"
            yield Finding("no-client", Health.DOWN, words)
            return
        if service.refused is not None:
            words = f"generation {service.refused} could not be put in force, the one before still is: "
            yield Finding("generation-refused", Health.DEGRADED, f"{words}see configuration.refused in the log")
        if configuration is None or service.sessions.generation is None:
            words = "finish the configuration in the backend: smartproxy identity, smartproxy settings"
            yield Finding("unconfigured", Health.DOWN, words)
            return
        if missing := [each for each in configuration.listeners if each not in service.listeners.open]:
            ports = ", ".join(str(each.port) for each in missing)
            health = Health.DEGRADED if service.listeners.open else Health.DOWN
            words = f"nobody can connect to port {ports}: see listener.failed in the log"
            yield Finding("listener-down", health, words)
        for address, partners in service.sources.missing().items():
            who = f"{', '.join(partners)} cannot" if partners else "no partner can"
            words = f"this host does not have the address {address}: {who} be called from it"
            yield Finding("source-missing", Health.DEGRADED, words)

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions, with the client that carries each."""
        return [
            {**portrait, "client": self._service.carrier(str(portrait["session"]))}
            for portrait in self._service.sessions.portraits()
        ]

    def partners(self) -> frozenset[str]:
        """The names of the partners in the configuration in force."""
        configuration = self._service.configuration
        return frozenset() if configuration is None else frozenset(each.name for each in configuration.partners)

    def generation(self) -> InForce:
        """The configuration in force."""
        return in_force(self._service.held)

    def licence(self) -> Licences:
        """The licence in force."""
        return Licences(licences=(told(self._service.licence.present, self._now()),))

    def kill(self, session: str) -> bool:
        """End a session; whether it was there."""
        return bool(self._service.sessions.close(session, killed()))
