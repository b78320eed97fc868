"""The daemon in the DMZ.

Duty: listen for clients in the tunnel, put the configuration that they deliver in force, listen for partners, open
sessions to the station through the least loaded client, and call partners for the station. Opens no connection to the
inside and reads no configuration file; keeps the keys towards partners in memory only, and drops them when the last
client is gone. Trusts the authority of its licence, and through it its clients.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy.ctl.daemon import Held
from smartproxy.logs.severity import Severity
from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import ILeg
from smartproxy.net.listeners import Listeners
from smartproxy.net.tls.context import CertificateUnusable
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.admission import Admission
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import (
    ConfigurationRefused,
    GenerationId,
    ServerConfiguration,
    ServerPart,
    parse_server_part,
)
from smartproxy.policy.faults import (
    ClosedByClient,
    Draining,
    OwnFault,
    PartnerUnreachable,
    Step,
    StopReason,
    TunnelLost,
)
from smartproxy.policy.licence import Licence
from smartproxy.policy.penalties import Penalties
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import CallWish, SessionFacts, Way
from smartproxy.server.accept import Gate
from smartproxy.server.dial.calls import PartnerCalls
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.sessions import PartnerFactory, PartnerSessions
from smartproxy.tunnel.dmz import NO_CLIENT, DmzService
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.server_control import ServerControl

STALE_LIST_SECONDS = 3600.0
"""After that long it warns again of a revocation list that is out of date."""


SETTLING_SECONDS = 0.1
"""Time between two looks whether all who connected have proved who they are, before a daemon that hands over ends."""


class ServerService(DmzService):
    """The server.

    :param reactor: listens and tells the time.
    :param identity: the key that is the Proxy ID.
    :param licence: in force at the start; see :mod:`smartproxy.tunnel.licence`.
    :param licence_path: where a renewed licence is written.
    :param host: the address to listen on for clients; empty for any.
    :param port: the port.
    :param drain: seconds that sessions may go on when the server stops, instead of the configured time.
    :param set_level: changes what is logged.
    :param stop: has the daemon stop, as a signal does.
    :param now: tells the wall clock's time, aware, in UTC.
    :ivar drain_seconds: the given ``drain``; may be changed until the server stops.
    :ivar held: the generation in force.
    :ivar refused: the newest generation that arrived, where it could not be put in force.
    :ivar gate: admits partners' connections.
    """

    sessions: PartnerSessions

    def __init__(
        self,
        reactor: Any,
        *,
        identity: Identity,
        licence: Licence,
        licence_path: Path,
        host: str,
        port: int,
        drain: int | None = None,
        set_level: Callable[[Severity], None] = lambda severity: None,
        stop: Callable[[StopReason], object] = lambda reason: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(
            reactor,
            user=self,
            name="server",
            identity=identity,
            licence=licence,
            licence_path=licence_path,
            listen=HostPort(host, port),
            now=now,
        )
        self.events.forward = self.tunnel.report
        self._set_level = set_level
        self._lists_watched = Deadline(reactor, self._tell_stale_lists)
        self._now = now
        self.drain_seconds = drain
        self._delivered: ServerPart | None = None
        self._part: ServerPart | None = None
        self.held: Held | None = None
        self.refused: int | None = None
        self._carrying: dict[str, ServerControl] = {}
        configuration = ServerConfiguration()
        self.gate = Gate(
            reactor,
            self.events,
            Admission(limits=configuration.limits),
            Penalties(configuration.penalties),
        )
        self.sessions = PartnerSessions(
            clock=reactor,
            events=self.events,
            gate=self.gate,
            open_inside=self._open_inside,
            finished=self._finished,
            crl_url_seen=self._crl_url_seen,
            now=now,
        )
        self.calls = PartnerCalls(
            reactor=reactor,
            events=self.events,
            sessions=self.sessions,
            admission=self.gate.admission,
            withdrawals=self.sessions.withdrawals,
            unused=self._unused,
            crl_urls=self.sessions.tell_crl_urls,
            stop=stop,
        )
        self.listeners = Listeners(reactor, lambda: PartnerFactory(self.sessions), self.events)

    # DmzService

    def drain_time(self) -> float:
        """Seconds that sessions may go on when the server stops."""
        return self._configuration.deadlines.drain if self.drain_seconds is None else self.drain_seconds

    def closing_time(self) -> float:
        """Seconds that an ended session may take to tell its peers."""
        return self._configuration.deadlines.closing

    def licence_renewed(self) -> None:
        """Another licence is in force: its limits hold for the generation in force, too."""
        if self._delivered is not None:
            self._adopt(self.sessions.generation, self._delivered)
        super().licence_renewed()

    def end_is_near(self) -> None:
        """Drop bans, configuration and keys."""
        self.gate.stop()
        self._forget(Cause.DAEMON_STOPPING, "the server stops")

    @property
    def _configuration(self) -> ServerConfiguration:
        return ServerConfiguration() if self._part is None else self._part.server

    # For smartproxy ctl.

    @property
    def configuration(self) -> ServerConfiguration | None:
        """The configuration in force, if there is one."""
        return None if self._part is None else self._part.server

    def carrier(self, session: str) -> str | None:
        """The name of the client that carries a session; ``None`` before it is known."""
        control = self._carrying.get(session)
        return None if control is None else control.client_name

    # ServerUser

    def tunnel_up(self, control: ServerControl) -> None:
        """A client is connected: listen for partners if there is a configuration already."""
        self._listen_for_partners(NO_CLIENT)

    def tunnel_down(self, control: ServerControl, why: Closing) -> None:
        """A client is gone; without any client, ports are closed, and configuration and keys are dropped."""
        for session, carrier in list(self._carrying.items()):
            if carrier is control:
                del self._carrying[session]
        self._listen_for_partners(NO_CLIENT)
        if not self.tunnel.controls:
            self._forget(Cause.TUNNEL_NONE, NO_CLIENT)

    def drain(self, control: ServerControl) -> None:
        """A client stops, and takes no new sessions."""
        self._listen_for_partners("the only client is about to stop")

    def configuration_arrived(self, control: ServerControl, generation: GenerationId, octets: bytes) -> None:
        """Put a generation in force for new sessions.

        :raises ConfigurationRefused: with its place; the previous generation stays in force.
        """
        previous = None if self._part is None else self._part.generation
        try:
            part = parse_server_part(octets)
            if part.id != generation:
                raise ConfigurationRefused(
                    where="generation",
                    cause=Cause.DOCUMENT_CONTRADICTION,
                    message=f"the document has the number {part.generation}, but {generation} was announced"
                    if part.generation != generation.number
                    else "the document is of another store than was announced",
                )
            self._put_in_force(part)
        except Exception as error:
            # Whatever is raised, a generation is in force as a whole or not at all, and the client is told which.
            refused = error if isinstance(error, ConfigurationRefused) else self._fault_of(generation)
            self.refused = generation.number
            self.events.emit(
                "configuration.refused",
                generation=generation.number,
                previous=previous,
                place=refused.where,
                cause=refused.cause,
                message=refused.message,
                client=control.client_name,
                advice="correct it in the backend; the previous generation stays in force",
            )
            raise refused from error
        self.refused = None
        self.held = Held(generation=generation.number, since=self._now(), by=control.client_name)
        self.events.emit(
            "configuration.accepted",
            generation=generation.number,
            previous=previous,
            store=generation.store,
            partners=len(part.server.partners),
            cas=len(part.server.cas),
            listeners=len(part.server.listeners),
            client=control.client_name,
        )
        self._tell_stale_lists()
        self._listen_for_partners(NO_CLIENT)

    def close_session(self, control: ServerControl, session: str) -> None:
        """End a session of this client."""
        if self._carrying.get(session) is control:
            self.sessions.close(session, ClosedByClient(rule=Cause.SESSION_CLOSED, message="closed by the client"))

    def set_level(self, control: ServerControl, level: str) -> None:
        """Change what is logged.

        :raises ValueError: for a level that does not exist.
        """
        severity = Severity.named(level)
        self._set_level(severity)
        self.events.emit("level.changed", mode=severity.label, client=control.client_name)

    def open_outbound(
        self, control: ServerControl, session: str, partner: str, wish: CallWish
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Call a partner for the station."""
        fault = self._unable()
        if fault is not None:
            return fail(fault)
        if session in self._carrying:
            message = "a session with this id is open already"
            return fail(PartnerUnreachable.at(Step.POLICY, message, Cause.SESSION_OPEN))
        self._carrying[session] = control
        calling = self.calls.open(session, partner, trial=wish.way is Way.TRIAL)
        calling.addErrback(self._not_called, session)
        return calling

    def _not_called(self, failure: Failure, session: str) -> Failure:
        self._unused(session)
        return failure

    def _unused(self, session: str) -> None:
        """A call became no session."""
        self._carrying.pop(session, None)

    # The configuration.

    def _licensed(self, part: ServerPart) -> ServerPart:
        """The generation, limited by the licence."""
        most = self.licence.present.limits.get("sessions")
        if most is None or part.server.limits.sessions <= most:
            return part
        limits = attrs.evolve(part.server.limits, sessions=most)
        return attrs.evolve(part, server=attrs.evolve(part.server, limits=limits))

    def _fault_of(self, generation: GenerationId) -> ConfigurationRefused:
        """The refusal of a generation that met a fault of ours, which is reported."""
        self.events.failure("smartproxy.server.service", Failure())
        return ConfigurationRefused(
            where="document",
            cause=Cause.CONFIGURATION_FAULT,
            message=f"the server has a fault that keeps generation {generation} from being put in force",
        )

    def _put_in_force(self, part: ServerPart) -> None:
        """Put a generation in force as a whole: all that can be refused comes before the first change.

        Where a change raises nevertheless, the generation before is put back.
        """
        built = None
        # A site that is still being set up cannot accept partners without a server certificate.
        if part.server.identities:
            try:
                built = ServerGeneration.build(part, self._now)
            except CertificateUnusable as unusable:
                raise ConfigurationRefused(
                    where=unusable.where, cause=Cause.DOCUMENT_VALUE, message=unusable.cause
                ) from None
        before, previous = self.sessions.generation, self._delivered
        try:
            self._adopt(built, part)
        except Exception:
            self._put_back(before, previous)
            raise
        if part.server.licence is not None and self.licence.renew(part.server.licence):
            self.licence_renewed()

    def _adopt(self, generation: ServerGeneration | None, part: ServerPart) -> None:
        """Use a generation for what begins from now on, limited by the licence."""
        self._delivered, part = part, self._licensed(part)
        if generation is None:
            self.sessions.forget()
            self.sessions.withdrawals.judge(part.server)
            self.calls.forget()
        else:
            generation = attrs.evolve(generation, part=part)
            self.sessions.adopt(generation)
            self.calls.adopt(generation)
        self._part = part

    def _put_back(self, generation: ServerGeneration | None, part: ServerPart | None) -> None:
        """Use the generation before again; serve nobody where even that raises."""
        try:
            if part is None:
                self.sessions.forget()
                self.calls.forget()
            else:
                self._adopt(generation, part)
        except Exception:
            self.events.failure("smartproxy.server.service", Failure())
            self._forget(Cause.CONFIGURATION_FAULT, "the generation before could not be put back")

    def _tell_stale_lists(self) -> None:
        """Warn of revocation lists that are out of date, within their grace too: now, and every hour from now on."""
        self._lists_watched.start(STALE_LIST_SECONDS)
        now = self._now()
        for revocation in self._configuration.revocation:
            if revocation.next_update is not None and revocation.next_update < now:
                self.events.emit(
                    "crl.stale",
                    issuer=revocation.issuer_name or revocation.issuer_key_sha256,
                    list_part=revocation.scope.part,
                    next_update=revocation.next_update,
                    age=(now - revocation.next_update).total_seconds(),
                    advice="load a newer list: smartproxy crl load FILE",
                )

    def _forget(self, cause: Cause, message: str) -> None:
        if self._part is None:
            return
        previous, self._part, self._delivered, self.held = self._part.generation, None, None, None
        self._lists_watched.stop()
        self.sessions.forget()
        self.calls.forget()
        self.tunnel.forget()
        self.events.emit("configuration.forgotten", cause=cause, message=message, previous=previous)

    async def hand_over(self) -> None:
        """Part of :class:`~smartproxy.tunnel.dmz.DmzService`: who has connected here comes to its session here, too."""
        await super().hand_over()
        until = self.clock.seconds() + self._configuration.deadlines.handshake
        while self.gate.admission.unproved and self.clock.seconds() < until:
            await deferLater(self.clock, SETTLING_SECONDS)

    def _listen_for_partners(self, cause: str) -> None:
        """Open the ports on which partners can be served, and close the others."""
        able = not (self.draining or self.succeeded) and self.tunnel.controls and self.sessions.generation is not None
        self.listeners.have(self._configuration.listeners if able else (), cause if not able else "the configuration")

    # Sessions.

    def _open_inside(self, session: str, facts: SessionFacts) -> Deferred[ILeg]:
        fault = self._unable()
        control = self.tunnel.least_loaded()
        if fault is None and control is None:
            fault = TunnelLost(rule=Cause.TUNNEL_NONE, message=NO_CLIENT)
        if fault is not None or control is None:
            return fail(fault)
        self._carrying[session] = control
        return control.open_inbound(session, facts, seconds=self._configuration.deadlines.opening)

    def _unable(self) -> OwnFault | None:
        if self.draining:
            return Draining(rule=Cause.DAEMON_STOPPING, message="the server is about to stop")
        return self.licence.fault()

    def _crl_url_seen(self, url: str, ca: str) -> None:
        """Report the address of a revocation list to a client; this server never fetches one."""
        control = self.tunnel.least_loaded()
        if control is not None:
            control.seen_crl_url(url, ca)

    def _finished(self, summary: Summary) -> None:
        self._carrying.pop(summary.session, None)
