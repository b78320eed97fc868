"""The daemon in the DMZ.

Duty: listen for clients in the tunnel, put the configuration that they deliver in force, listen for partners, open
sessions to the station through the least loaded client, and call partners for the station. Opens no connection to the
inside and reads no configuration file; keeps the keys towards partners in memory only, and drops them when the last
client is gone. Trusts the authority of its licence, and through it its clients.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from typing_extensions import override

from smartproxy.ctl.daemon import Held
from smartproxy.logs.severity import Severity
from smartproxy.net.leg import ILeg
from smartproxy.net.listeners import Listeners
from smartproxy.net.load import LoadMeter
from smartproxy.net.process import DescriptorWatch
from smartproxy.net.transport.sockets import HeldStream
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.admission import Admission
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import (
    ConfigurationRefused,
    GenerationId,
    ServerConfiguration,
    parse_server_part,
)
from smartproxy.policy.faults import (
    ClosedByClient,
    Draining,
    OwnFault,
    StopReason,
)
from smartproxy.policy.licence import Licence
from smartproxy.policy.limits import SETTLING_SECONDS
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.penalties import Penalties
from smartproxy.relay.openings import CallWish, Way
from smartproxy.server.accept import Gate
from smartproxy.server.carriers import Carriers
from smartproxy.server.claims import WorkerQuestions
from smartproxy.server.crew import ServerCrew
from smartproxy.server.dial.partner_calls import PartnerCalls
from smartproxy.server.dial.sources import Sources
from smartproxy.server.generation import GenerationInForce, GenerationUser
from smartproxy.server.sessions import PartnerFactory, PartnerSessions
from smartproxy.server.stale_lists import StaleLists
from smartproxy.tunnel.dmz import NO_CLIENT, DmzService
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.places import PlacedStream
from smartproxy.tunnel.server_control import ServerControl
from smartproxy.workers.spawning import Zygote


class ServerService(DmzService):
    """Waits for its client, and serves partners by what that brings: what smartproxy-server does in its process.

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
    :param zygote: makes workers; without it, sessions are carried in this process.
    :param workers: how many.
    :param single: whether each session has a process of its own, and ``workers`` wait for one.
    :ivar carriers: which client carries which session.
    :ivar crew: the workers, if there are some.
    :ivar drain_seconds: the given ``drain``; may be changed until the server stops.
    :ivar generation: the generation in force.
    :ivar held: which one that is, since when, and by which client.
    :ivar refused: the newest generation that arrived, where it could not be put in force.
    :ivar gate: admits partners' connections.
    """

    sessions: Any
    """:class:`PartnerSessions`, or :class:`ServerCrew` where there are workers."""
    calls: Any
    """:class:`PartnerCalls`, where the calls are made in this process."""

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
        zygote: Zygote | None = None,
        workers: int = 0,
        single: bool = False,
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
        self._lists = StaleLists(reactor, self.events, now)
        self._descriptors = DescriptorWatch(self.events)
        self._now = now
        self.drain_seconds = drain
        self.held: Held | None = None
        self.refused: int | None = None
        self.carriers = Carriers(
            self.tunnel,
            self._unable,
            lambda: self._configuration.deadlines.opening,
            elsewhere=zygote is not None,
        )
        configuration = ServerConfiguration()
        self.gate = Gate(
            reactor,
            self.events,
            Admission(limits=configuration.limits),
            Penalties(configuration.penalties),
        )
        self.crew: ServerCrew | None = None
        self.calls = None
        self._meter = LoadMeter(reactor, self._worker_pids)
        self.tunnel.load = self._load
        if zygote is not None:
            self._work_with(zygote, workers, stop, single=single)
        else:
            self._work_alone(stop)
        users: list[GenerationUser] = [self.sessions] if self.calls is None else [self.sessions, self.calls]
        self.generation = GenerationInForce(
            users, self.licence, self.events, listen=self._listen_for_partners, give_up=self._give_up, now=now
        )

    def _worker_pids(self) -> list[int]:
        return [] if self.crew is None else [each.pid for each in self.crew.condition() if each.pid]

    def _load(self) -> ToldLoad:
        return self._meter.told(len(self.sessions.live), self.gate.admission.limits.sessions)

    def _work_alone(self, stop: Callable[[StopReason], object]) -> None:
        """Carry sessions in this process."""
        sessions = self.sessions = PartnerSessions(
            clock=self.clock,
            events=self.events,
            gate=self.gate,
            open_inside=self.carriers.open_inside,
            finished=lambda summary: self.carriers.over(summary.session),
            crl_url_seen=self._crl_url_seen,
            now=self._now,
        )
        self.sources = Sources(self.clock, self.events, stop)
        self.calls = PartnerCalls(
            reactor=self.clock,
            events=self.events,
            sessions=sessions,
            admission=self.gate,
            withdrawals=sessions.withdrawals,
            unused=self.carriers.over,
            crl_urls=sessions.tell_crl_urls,
            sources=self.sources,
        )
        self.listeners = Listeners(self.clock, lambda: PartnerFactory(sessions), self.events)

    def _work_with(self, zygote: Zygote, workers: int, stop: Callable[[StopReason], object], *, single: bool) -> None:
        """Have workers carry sessions."""
        questions = WorkerQuestions(
            assign=self.carriers.assign,
            call=self.carriers.begin_call,
            carrier=self.carriers.of,
            seconds=self.carriers.seconds,
            over=self.carriers.over,
            crl_url_seen=self._crl_url_seen,
            stop=stop,
        )
        crew = self.crew = self.sessions = ServerCrew(
            self.clock,
            self.events,
            self.gate,
            self.tunnel,
            questions,
            zygote,
            count=workers,
            single=single,
            withdrawn_until=lambda name: self.licence.present.withdrawn_until(name),
        )
        self.sources = crew.sources
        self.tunnel_stream = PlacedStream
        self.listeners = Listeners(self.clock, crew.factory, self.events, stream=HeldStream)

    # DmzService

    def startService(self) -> None:
        """Start the workers, and only then listen for the client."""
        if self.crew is not None:
            self.crew.start()
        super().startService()

    async def sessions_over(self) -> None:
        """End the workers."""
        if self.crew is not None:
            await self.crew.end()

    def drain_time(self) -> float:
        """Seconds that sessions may go on when the server stops."""
        return self._configuration.deadlines.drain if self.drain_seconds is None else self.drain_seconds

    def closing_time(self) -> float:
        """Seconds that an ended session may take to tell its peers."""
        return self._configuration.deadlines.closing

    def licence_renewed(self) -> None:
        """Another licence is in force: its limits hold for the generation in force, too."""
        self.generation.licence_renewed()
        self._follow_licence()

    def _follow_licence(self) -> None:
        super().licence_renewed()
        if self.crew is not None:
            self.crew.licence_renewed()

    def end_is_near(self) -> None:
        """Drop bans, configuration and keys."""
        self.gate.stop()
        self._forget(Cause.DAEMON_STOPPING, "the server stops")

    @property
    def _configuration(self) -> ServerConfiguration:
        return self.configuration or ServerConfiguration()

    # For smartproxy ctl.

    @property
    def configuration(self) -> ServerConfiguration | None:
        """The configuration in force, if there is one."""
        return None if self.generation.part is None else self.generation.part.server

    def carrier(self, session: str) -> str | None:
        """The name of the client that carries a session; ``None`` before it is known."""
        control = self.carriers.of(session)
        return None if control is None else control.client_name

    # ServerUser

    @property
    def in_force(self) -> GenerationId:
        """The generation that is in force, if there is one."""
        return GenerationId() if self.generation.part is None else self.generation.part.id

    def tunnel_up(self, control: ServerControl) -> None:
        """A client is connected: listen for partners if there is a configuration already."""
        if self.crew is not None:
            self.crew.client_came(control)
        self._listen_for_partners(NO_CLIENT)

    def tunnel_down(self, control: ServerControl, why: Closing) -> None:
        """A client is gone; without any client, ports are closed, and configuration and keys are dropped."""
        self.carriers.gone(control)
        if self.crew is not None:
            self.crew.client_went(control, why, last=self.tunnel.named(control.client_name) is None)
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
        previous = self.in_force.number or None
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
            renewed = self.generation.put(part)
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
        self._follow(self._lists.watch, part.server)
        self._follow(self._descriptors.adopt, part.server.limits.descriptors)
        if part.server.licence is not None:
            self._follow(partial(self.licence.keep, renewed=renewed), part.server.licence)
        if renewed:
            self._follow(self._follow_licence)

    def _follow(self, do: Callable[..., object], *arguments: object) -> None:
        """Do what follows from a generation that is in force; a fault with it is reported, and changes nothing."""
        try:
            do(*arguments)
        except Exception:
            self.events.failure("smartproxy.server.service", Failure())

    def close_session(self, control: ServerControl, session: str) -> None:
        """End a session of this client."""
        if self.carriers.of(session) is control:
            self.sessions.close(session, ClosedByClient(rule=Cause.SESSION_CLOSED, message="closed by the client"))

    def set_level(self, control: ServerControl, level: Severity) -> None:
        """Change what is logged."""
        self._set_level(level)
        self.events.emit("level.changed", mode=level.label, client=control.client_name)

    def open_outbound(
        self, control: ServerControl, session: str, partner: str, wish: CallWish
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Call a partner for the station."""
        try:
            self.carriers.begin_call(control, session)
        except SessionFault as fault:
            return fail(fault)
        trial = wish.way is Way.TRIAL
        calling: Deferred[Callable[[ILeg | None], None]] = self.calls.open(session, partner, trial=trial)
        return calling.addErrback(self._not_called, session)

    def _not_called(self, failure: Failure, session: str) -> Failure:
        self.carriers.over(session)
        return failure

    # The configuration.

    def _fault_of(self, generation: GenerationId) -> ConfigurationRefused:
        """The refusal of a generation that met a fault of ours, which is reported."""
        self.events.failure("smartproxy.server.service", Failure())
        return ConfigurationRefused(
            where="document",
            cause=Cause.CONFIGURATION_FAULT,
            message=f"the server has a fault that keeps generation {generation} from being put in force",
        )

    def _forget(self, cause: Cause, message: str) -> None:
        part, self.held = self.generation.part, None
        if part is None:
            return
        self._lists.stop()
        self.generation.forget()
        self.events.emit("configuration.forgotten", cause=cause, message=message, previous=part.generation)

    def _give_up(self, message: str) -> None:
        self._forget(Cause.CONFIGURATION_FAULT, message)
        self._follow(self._listen_for_partners, message)

    @override
    async def taken_over(self) -> None:
        """Wait until a worker takes what comes: the process before this one goes on if none ever does."""
        while self.crew is not None and not self.crew.able:
            await deferLater(self.clock, SETTLING_SECONDS)

    @override
    async def hand_over(self) -> None:
        """Leave the ports, and wait until who has connected here, or is called, has a session, or had time for it."""
        await super().hand_over()
        deadlines = self._configuration.deadlines
        until = self.clock.seconds() + max(deadlines.handshake, deadlines.opening)
        while self._awaited and self.clock.seconds() < until:
            await deferLater(self.clock, SETTLING_SECONDS)

    def counted(self) -> Mapping[str, int]:
        """The sessions of each partner that count against the limits."""
        return self.gate.admission.counted()

    def count_elsewhere(self, sessions: Mapping[str, int]) -> None:
        """Count the sessions of an older process, by partner, against the limits."""
        self.gate.admission.elsewhere = sessions

    @property
    def _awaited(self) -> bool:
        """Whether something is here that is to become a session."""
        return self.gate.admission.unproved > 0 or self.carriers.opening(self.sessions.live)

    def _listen_for_partners(self, message: str) -> None:
        """Open the ports on which partners can be served, and close the others."""
        able = not (self.draining or self.succeeded) and self.tunnel.controls and self.sessions.generation is not None
        self.listeners.have(self._configuration.listeners if able else (), message if not able else "the configuration")

    # Sessions.

    def _unable(self) -> OwnFault | None:
        if self.draining:
            return Draining(rule=Cause.DAEMON_STOPPING, message="the server is about to stop")
        return self.licence.fault()

    def _crl_url_seen(self, url: str, ca: str) -> None:
        """Report the address of a revocation list to a client; this server never fetches one."""
        control = self.tunnel.least_loaded()
        if control is not None:
            control.seen_crl_url(url, ca)
