"""The state of the server, for ``smartproxy ctl``: ports, tunnels, configuration, sessions, and a verdict in one word.

Reads only; the one change that it makes is to end a session on request. Shows no key, no certificate and no password.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime

from smartproxy import __version__
from smartproxy.ctl.daemon import Facts, host_port, instant, killed, licence_facts, written
from smartproxy.server.service import ServerService

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

    def status(self) -> Facts:
        """Everything about the daemon, with the verdict and what to do about it."""
        service = self._service
        verdict, advice = self._verdict()
        internal = service.awaits_clients
        configuration, admission = service.configuration, service.gate.admission
        bans = service.gate.penalties.bans(self._clock.seconds())
        limits = admission.limits
        return {
            "verdict": verdict,
            "advice": advice,
            "program": "smartproxy-server",
            "version": __version__,
            "site": service.licence.present.site,
            "proxy_id": service.licence.present.proxy_id,
            "internal_listener": None if internal is None else host_port(*internal),
            "external_listeners": [host_port(*port) for port in service.listeners.ports],
            "external_listeners_missing": [
                host_port(each.address, each.port)
                for each in (() if configuration is None else configuration.listeners)
                if each not in service.listeners.open
            ],
            "tunnels": [
                {
                    "client": control.client_name,
                    "peer": control.peer,
                    "version": control.version,
                    "since": instant(control.since),
                    "sessions": control.load,
                    "certificate_until": instant(control.client.not_after),
                }
                for control in service.tunnel.controls
            ],
            **self.generation(),
            "licence_until": instant(service.licence.present.valid_until),
            "sessions": len(service.sessions.live),
            "sessions_most": limits.sessions,
            "load": round(100 * len(service.sessions.live) / limits.sessions, 1),
            "connections": admission.connections,
            "connections_most": limits.connections,
            "bans": len(bans),
            "banned": {network: round(seconds) for network, seconds in list(bans.items())[:BANS_SHOWN_MOST]},
        }

    def _verdict(self) -> tuple[str, str]:
        """The verdict in one word, and what to do about it; empty if all is well."""
        service, configuration = self._service, self._service.configuration
        if service.draining:
            return "draining", "the server stops when its sessions are over"
        if (fault := service.licence.fault()) is not None:
            return "unlicensed", f"{fault.message}: extend it in the backend: smartproxy licence extend"
        if not service.tunnel.controls:
            return "no-client", "no client is connected: start smartproxy-client, or check its log"
        if service.refused is not None:
            return "generation-refused", (
                f"generation {service.refused} could not be put in force, the one before still is: "
                "see configuration.refused in the log"
            )
        if configuration is None or service.sessions.generation is None:
            return "unconfigured", "finish the configuration in the backend: smartproxy identity, smartproxy settings"
        if missing := [each for each in configuration.listeners if each not in service.listeners.open]:
            ports = ", ".join(str(each.port) for each in missing)
            return "listener-down", f"nobody can connect to port {ports}: see listener.failed in the log"
        return "ok", ""

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions, with the client that carries each."""
        return [
            {**portrait, "client": self._service.carrier(str(portrait["session"]))}
            for portrait in self._service.sessions.portraits()
        ]

    def generation(self) -> Facts:
        """The configuration in force."""
        return written(self._service.held)

    def licence(self) -> Facts:
        """The licence in force."""
        return {"licences": [licence_facts(self._service.licence.present, self._now())]}

    def kill(self, session: str) -> bool:
        """End a session; whether it was there."""
        return self._service.sessions.close(session, killed())
