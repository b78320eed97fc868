"""The state of the client, for ``smartproxy ctl``: tunnels, configuration, sessions, and a verdict in one word.

Reads only; the one change that it makes is to end a session on request. Shows no token, no key and no certificate.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from smartproxy import __version__
from smartproxy.client.service import ClientService
from smartproxy.ctl.daemon import Facts, host_port, instant, killed, licence_facts, written
from smartproxy.policy.licence import LicenceRefused, read
from smartproxy.tunnel.client import ClientTunnel

ANY = "any partner"
"""Names the port on which callers say which partner they want."""


class ClientCondition:
    """The state of a client.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, service: ClientService, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.events = service.events
        self._service = service
        self._now = now

    def status(self) -> Facts:
        """Everything about the daemon, with the verdict and what to do about it."""
        service, configuration = self._service, self._service.configuration
        verdict, advice = self._verdict()
        most = None if configuration is None else configuration.limits.sessions
        station = None if configuration is None else configuration.station
        live = len(service.sessions.live)
        return {
            "verdict": verdict,
            "advice": advice,
            "program": "smartproxy-client",
            "version": __version__,
            "backend": service.backend_url,
            "station": None if station is None else host_port(station.host, station.port),
            "servers": list(service.servers),
            "outbound_listeners": {
                name or ANY: None if port is None else host_port(*port) for name, port in service.calls.ports.items()
            },
            "tunnels": [_tunnel(tunnel) for tunnel in service.tunnels],
            **self.generation(),
            "sessions": live,
            "sessions_most": most,
            "load": None if most is None else round(100 * live / most, 1),
        }

    def _verdict(self) -> tuple[str, str]:
        """The verdict in one word, and what to do about it; empty if all is well."""
        service = self._service
        up = sum(tunnel.control is not None for tunnel in service.tunnels)
        if service.draining:
            return "draining", "the client stops when its sessions are over"
        if not service.tunnels or service.configuration is None:
            return "unconfigured", "the backend has not answered yet: check backend.unreachable in the log"
        if not up:
            return "no-server", "no server is connected: check tunnel.failed and tunnel.refused in the log"
        if up < len(service.tunnels):
            return "partial", f"{len(service.tunnels) - up} of {len(service.tunnels)} servers are not connected"
        if down := [name or ANY for name, port in service.calls.ports.items() if port is None]:
            return "listener-down", f"nobody can call {', '.join(down)}: see listener.failed in the log"
        return "ok", ""

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions."""
        return self._service.sessions.portraits()

    def generation(self) -> Facts:
        """The configuration in force."""
        return written(self._service.held)

    def licence(self) -> Facts:
        """The licences that are carried to servers."""
        now = self._now()
        found: list[Facts] = []
        for proxy_id, text in self._service.licences.items():
            try:
                found.append(licence_facts(read(text, proxy_id, now), now))
            except LicenceRefused as refused:
                found.append({"proxy_id": proxy_id, "in_force": False, "refused": str(refused)})
        return {"licences": found}

    def kill(self, session: str) -> bool:
        """End a session; whether it was there."""
        return self._service.sessions.close(session, killed())


def _tunnel(tunnel: ClientTunnel) -> Facts:
    control = tunnel.control
    if control is None:
        return {"server": tunnel.server, "up": False}
    return {
        "server": tunnel.server,
        "up": True,
        "peer": control.peer,
        "version": control.version,
        "since": instant(control.since),
        "proxy_id": control.proxy_id,
        "generation": control.held,
        "data_connections": 0 if control.pool is None else len(control.pool),
    }
