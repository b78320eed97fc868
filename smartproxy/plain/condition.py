"""The state of the plain pair's daemons, for ``smartproxy ctl``: ports, tunnel, sessions, and whether all is well.

Read, and end a session on request; change nothing else. Show no key and no certificate.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import attrs

from smartproxy.ctl.answers import Licences
from smartproxy.ctl.daemon import killed
from smartproxy.ctl.licences import told
from smartproxy.ctl.statuses import InForce, PlainClientStatus, PlainServerStatus, judged
from smartproxy.net.tls.context import load_certificates
from smartproxy.plain.client import PlainClientService
from smartproxy.plain.server import PlainServerService
from smartproxy.plain.sessions import PlainSessions
from smartproxy.policy.health import Diagnosis, Expiry, Finding, Health, judge
from smartproxy.tunnel.condition import licence_remedy, load_facts, outside_facts, tunnel_told


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

    def generation(self) -> InForce:
        """None: the plain pair is configured by its command line."""
        return InForce()

    def kill(self, session: str) -> bool:
        """End a session; whether it was there."""
        there = session in self._sessions.live
        self._sessions.close(session, killed())
        return there


class PlainServerCondition(_PlainCondition):
    """The state of a plain server.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, service: PlainServerService, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(service, now)
        self._service = service

    def status(self) -> PlainServerStatus:
        """Everything about the daemon, with the verdict and what to do about it."""
        service = self._service
        return PlainServerStatus(
            **judged(self._verdict()),
            **outside_facts(
                service.licence.present,
                internal=service.awaits_clients,
                open_at=service.listeners.ports,
                missing=service.missing,
                controls=service.tunnel.controls,
            ),
            **load_facts(len(self._sessions.live), self._sessions.most),
        )

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
        if (fault := service.licence.fault()) is not None:
            remedy = licence_remedy(fault, "issue another in the backend, and put it into its file here")
            yield Finding("unlicensed", Health.DOWN, f"no session can begin: {fault.message}: {remedy}")
        if not service.tunnel.controls:
            words = "no client is connected: start smartproxy-plain-client inside, and see tunnel.refused in the log"
            yield Finding("no-client", Health.DOWN, words)
        elif service.missing:
            ports = ", ".join(str(each.port) for each in service.missing)
            words = f"nobody can connect to port {ports}: see listener.failed in the log"
            yield Finding("listener-down", Health.DOWN, words)

    def licence(self) -> Licences:
        """The licence in force."""
        return Licences(licences=(told(self._service.licence.present, self._now()),))


class PlainClientCondition(_PlainCondition):
    """The state of a plain client.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, service: PlainClientService, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(service, now)
        self._service = service

    def status(self) -> PlainClientStatus:
        """Everything about the daemon, with the verdict and what to do about it."""
        service = self._service
        return PlainClientStatus(
            **judged(self._verdict()),
            **load_facts(len(self._sessions.live), self._sessions.most),
            station=str(service.target),
            servers=(service.tunnel.server,),
            outbound_listeners={"any destination" if to is None else str(to): str(port) for to, port in service.ports},
            tunnels=(attrs.evolve(tunnel_told(service.tunnel), generation=None),),
        )

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

    def licence(self) -> Licences:
        """None: the licence is the server's."""
        return Licences(licences=())
