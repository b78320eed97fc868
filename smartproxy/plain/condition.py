"""The state of the plain pair's daemons, for ``smartproxy ctl``: ports, tunnel, sessions, and whether all is well.

Reads only; the one change that they make is to end a session on request. Show no key and no certificate.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from smartproxy import __version__
from smartproxy.ctl.daemon import Facts, host_port, instant, killed, licence_facts, verdict_facts, written
from smartproxy.net.tls.context import load_certificates
from smartproxy.plain.client import PlainClientService
from smartproxy.plain.server import PlainServerService
from smartproxy.plain.sessions import PlainSessions
from smartproxy.policy.health import Diagnosis, Expiry, Finding, Health, judge


class _PlainCondition:
    """What both have."""

    def __init__(
        self,
        service: PlainServerService | PlainClientService,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.events = service.events
        self._now = now
        self._sessions: PlainSessions = service.sessions

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions."""
        return self._sessions.portraits()

    def partners(self) -> frozenset[str]:
        """None: the plain pair knows no partners."""
        return frozenset()

    def generation(self) -> Facts:
        """None: the plain pair is configured by its command line."""
        return written(None)

    def kill(self, session: str) -> bool:
        """End a session; whether it was there."""
        there = session in self._sessions.live
        self._sessions.close(session, killed())
        return there

    def _load(self) -> Facts:
        live, most = len(self._sessions.live), self._sessions.most
        return {"sessions": live, "sessions_most": most, "load": round(100 * live / most, 1)}


class PlainServerCondition(_PlainCondition):
    """The state of a plain server.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, service: PlainServerService, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(service, now)
        self._service = service

    def status(self) -> Facts:
        """Everything about the daemon, with the verdict and what to do about it."""
        service, licence = self._service, self._service.licence.present
        internal = service.awaits_clients
        return {
            **verdict_facts(self._verdict()),
            "program": "smartproxy-plain-server",
            "version": __version__,
            "site": licence.site,
            "proxy_id": licence.proxy_id,
            "internal_listener": None if internal is None else host_port(*internal),
            "external_listeners": [host_port(*port) for port in service.listeners.ports],
            "external_listeners_missing": [host_port(each.address, each.port) for each in service.missing],
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
            "licence_until": instant(licence.valid_until),
            **self._load(),
        }

    def _verdict(self) -> Diagnosis:
        """How it is: what is wrong, the worst first, and what runs out."""
        licence = self._service.licence.present
        ends = [Expiry("the licence", licence.valid_until)] if licence.in_force(self._now()) else []
        clients = [
            Expiry(f"the credential of the client {control.client_name}", control.client.not_after)
            for control in self._service.tunnel.controls
        ]
        return judge(self._findings(), [*ends, *clients], self._now())

    def _findings(self) -> Iterator[Finding]:
        service = self._service
        if service.draining:
            yield Finding("draining", Health.DEGRADED, "the plain server stops when its sessions are over")
            return
        if not service.licence.present.in_force(self._now()):
            words = "the licence has ended: issue another in the backend, and put it into its file here"
            yield Finding("unlicensed", Health.DOWN, words)
        if not service.tunnel.controls:
            words = "no client is connected: start smartproxy-plain-client inside, and see tunnel.refused in the log"
            yield Finding("no-client", Health.DOWN, words)
        elif service.missing:
            ports = ", ".join(str(each.port) for each in service.missing)
            words = f"nobody can connect to port {ports}: see listener.failed in the log"
            yield Finding("listener-down", Health.DOWN, words)

    def licence(self) -> Facts:
        """The licence in force."""
        return {"licences": [licence_facts(self._service.licence.present, self._now())]}


class PlainClientCondition(_PlainCondition):
    """The state of a plain client.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, service: PlainClientService, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(service, now)
        self._service = service

    def status(self) -> Facts:
        """Everything about the daemon, with the verdict and what to do about it."""
        service = self._service
        control = service.tunnel.control
        tunnel: dict[str, object] = {"server": service.tunnel.server, "up": control is not None}
        if control is not None:
            tunnel |= {
                "peer": control.peer,
                "version": control.version,
                "since": instant(control.since),
                "proxy_id": control.proxy_id,
                "generation": None,
                "data_connections": 0 if control.pool is None else len(control.pool),
            }
        return {
            **verdict_facts(self._verdict()),
            "program": "smartproxy-plain-client",
            "version": __version__,
            "station": str(service.target),
            "servers": [service.tunnel.server],
            "outbound_listeners": {
                "any destination" if to is None else str(to): host_port(*port) for to, port in service.ports
            },
            "tunnels": [tunnel],
            **self.generation(),
            **self._load(),
        }

    def _verdict(self) -> Diagnosis:
        """How it is: what is wrong, the worst first, and what runs out."""
        credential = self._service.credential
        leaf = load_certificates(credential.certificate, "credential")[0]
        ends = [Expiry(f"the credential of this client, {credential.name}", leaf.not_valid_after_utc)]
        return judge(self._findings(), ends, self._now())

    def _findings(self) -> Iterator[Finding]:
        service = self._service
        if not service.running:
            yield Finding("draining", Health.DEGRADED, "the plain client stops when its sessions are over")
            return
        if service.tunnel.control is None:
            words = "the server is not connected: check tunnel.failed and tunnel.refused in the log"
            yield Finding("no-server", Health.DOWN, words)
        if (failed := service.target_failure) is not None:
            words = f"the target {service.target} could not be reached when it was last dialled: {failed}"
            yield Finding("target-down", Health.DOWN, f"{words}; check that the program there runs and listens")

    def licence(self) -> Facts:
        """None: the licence is the server's."""
        return {"licences": []}
