"""The daemon inside.

Duty: get a tunnel certificate and the configuration from the backend, keep a tunnel to each server, deliver to each its
part of every generation, connect every session to the station, and carry all events to the backend. Trusts the backend.
Trusts a server only to hold its pinned key, and judges every octet that comes through it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from smartproxy import __version__
from smartproxy.client.backend import Backend
from smartproxy.client.carrying import carrier_to
from smartproxy.client.copy import CopyFile
from smartproxy.client.deliveries import Deliveries
from smartproxy.client.desk import SessionDesk
from smartproxy.client.distrust import ServerDistrust
from smartproxy.client.egress import StationCalls
from smartproxy.client.house import House, Lodgers, Questions, SessionHouse
from smartproxy.client.told_loads import ToldLoads
from smartproxy.client.told_sessions import ToldSessions
from smartproxy.client.trials import Trials
from smartproxy.client.tunnels import UNLICENSED, ServerTunnels
from smartproxy.client.upkeep import BackendWatch
from smartproxy.ctl.daemon import Held
from smartproxy.ctl.statuses import ToldWorker
from smartproxy.logs.catalogue import CatalogueError
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.event_types import Emitter
from smartproxy.logs.record import read as read_record
from smartproxy.net.load import LoadMeter
from smartproxy.net.lookout import Lookout
from smartproxy.net.process import DescriptorWatch
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration, Configuration, GenerationId
from smartproxy.policy.faults import StationUnreachable, StopReason, TunnelLost
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.settings import Station
from smartproxy.relay.openings import SessionFacts
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.faults import Closing, TunnelFault
from smartproxy.tunnel.lane import Inbound

FLUSH_SECONDS = 2.0
"""How long the end of the daemon waits for its last events to be stored."""
_REMOVED = Closing(Cause.TUNNEL_WITHDRAWN, "this client was removed or disabled in the backend")


class ClientService(Service):
    """Brings servers the configuration, and the station the sessions: what smartproxy-client does in its process.

    :param reactor: connects and tells the time.
    :param backend: the calls to the backend.
    :param servers: where each server is.
    :param drain: seconds that sessions may go on when the client stops, instead of the configured time.
    :param server_lost: told why, when a tunnel that was up is down and it was not the client that ended it.
    :param copy: where a copy for the next start is kept, if there is to be one; made with the events.
    :param endpoint: makes the endpoint of a server from the reactor, its host and its port.
    :param house: makes the place where sessions live; without it, that is this process.
    :param heir: whether it takes over from an older process, which takes all calls until this one serves.
    :ivar drain_seconds: the given ``drain``; may be changed until the client stops.
    :ivar draining: whether the client stops.
    :ivar succeeded: whether a newer process has taken over.
    :ivar stop_reason: why it stops; may be changed until then.
    :ivar held: the generation in force.
    :ivar licences: the servers' licences that came with it, by Proxy ID.
    :ivar copied: when the copy in force was made; ``None`` if the generation in force came from the backend.
    :ivar deliveries: what of that is on its way to the servers, and which server declined it.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        backend: Backend,
        servers: Sequence[HostPort],
        drain: int | None = None,
        server_lost: Callable[[Closing], object] = lambda why: None,
        copy: Callable[[Events], CopyFile] | None = None,
        endpoint: Callable[[Any, str, int], IStreamClientEndpoint] = HostnameEndpoint,
        house: Callable[[Events, Questions], House] | None = None,
        heir: bool = False,
    ) -> None:
        self._heir = heir
        self.succeeded = False
        self._reactor = reactor
        self.drain_seconds = drain
        self.draining = False
        self.stop_reason = StopReason()
        self.held: Held | None = None
        self._server_lost = server_lost
        self._configuration: Configuration | None = None
        self.licences: Mapping[str, str] = {}
        self.copied: datetime | None = None
        self._etag: str | None = None
        self.events = Events(Logger(namespace="smartproxy.client"), None, reactor, source="client")
        self._descriptors = DescriptorWatch(self.events)
        self._copy = None if copy is None else copy(self.events)
        self._backend = backend
        self._carrier = carrier_to(backend, reactor, self.events)
        self._upkeep = BackendWatch(
            backend,
            reactor,
            self.events,
            certified=self._certified,
            configured=self._configured,
            alone=self._from_copy,
            reached=lambda: self._carrier.resume(),
            confirmed=self._still_in_force,
            removed=self._removed,
        )
        self.deliveries = Deliveries(
            reactor,
            self.events,
            configuration=lambda: self._configuration,
            licence=lambda proxy_id: self.licences.get(proxy_id),
            confirmed=lambda: not self._upkeep.unconfirmed,
        )
        self._looked_after: Station | None = None
        self._lookout = Lookout(
            reactor,
            self.events,
            call=lambda: self._house.hear_station(),
            failing=lambda: self.desk.station_failure is not None,
        )
        self.desk = SessionDesk(reactor, self._client_part, self._lookout.failed, self._station_answers)
        self._distrust = ServerDistrust(self.events, reactor, self.desk.sessions_of)
        questions = Questions(
            call=lambda session, wanted: self.calls.call(session, wanted),
            over=self._over,
            tried=self.desk.station_tried,
            heard=self.desk.station_heard,
            recorded=lambda packed: self._told.keep(packed),
        )
        self._house = (
            house(self.events, questions)
            if house is not None
            else SessionHouse(reactor=reactor, events=self.events, questions=questions, endpoint=endpoint)
        )
        self._tunnels = ServerTunnels(
            reactor,
            self.events,
            servers,
            endpoint=endpoint,
            user=self,
            lane=lambda number, host, port: self._house.lane(number, host, port, self._client_part().pool),
            forget=self._house.forget,
            gone=self.deliveries.forget_lost,
        )
        self._told = ToldSessions(reactor, self.events, backend, self._house)
        self._meter = LoadMeter(reactor, lambda: [each.pid for each in self._house.workers if each.pid])
        self._loads = ToldLoads(
            reactor,
            self.events,
            backend,
            own=self._load,
            controls=lambda: self._tunnels.controls.values(),
            reached=lambda: self.backend_fault is None,
        )
        self.calls = StationCalls(
            reactor=reactor,
            events=self.events,
            configuration=lambda: self._configuration,
            controls=lambda: self._tunnels.taking,
            desk=self.desk,
            factory=self._house.factory,
        )
        self._trials = Trials(
            reactor=reactor,
            events=self.events,
            backend=backend,
            try_out=self._house.try_out,
            wished=self._told.wished,
        )

    # The life of the daemon.

    def startService(self) -> None:
        """Ask the backend; the tunnels are dialled once there is a certificate for them."""
        Service.startService(self)
        self.events.emit("client.started", version=__version__, names=list(self.servers))
        self._house.start()
        self._upkeep.start()
        self._trials.start()
        self._told.start()
        self._loads.start()

    def stopService(self) -> Deferred[None]:
        """Take no new sessions, let those that run end within the drain time, end the rest with ESID 05."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.draining = True
        deadlines = self._client_part().deadlines
        seconds = deadlines.drain if self.drain_seconds is None else self.drain_seconds
        self.events.emit(
            "client.stopping",
            cause=self.stop_reason.cause,
            message=self.stop_reason.message,
            sessions=len(self.sessions.live),
            seconds=seconds,
        )
        self._upkeep.stop()
        self._loads.stop()
        self._lookout.stop()
        self._trials.stop()
        self.deliveries.stop()
        await self.calls.close("the client stops")
        await self._tell_servers(ClientControl.drain)
        await self.sessions.drain(seconds, deadlines.closing)
        await self._tunnels.stop()
        await self._house.stop()
        self.events.tell_counted()
        self.events.emit("client.stopped")
        # Before the last events are sent: that a copy could not be written is one.
        if self._copy is not None:
            await self._copy.settled(FLUSH_SECONDS, self._reactor)
        await gatherResults([self._carrier.flush(FLUSH_SECONDS), self._told.stop(FLUSH_SECONDS)])
        self._carrier.stop()
        # The reactor disconnects everything as soon as this ends: not from within a connection's own call.
        await deferLater(self._reactor, 0)

    async def _tell_servers(self, tell: Callable[[ClientControl], Deferred[Any]]) -> None:
        """Tell all servers that are connected something, and wait until each has heard it or cannot."""
        await gatherResults([tell(each).addErrback(self._not_heard) for each in self._tunnels.controls.values()])

    def _not_heard(self, failure: Failure) -> None:
        """Report bugs only: a server that does not answer, or whose tunnel is down, opens no sessions either."""
        if failure.check(TunnelFault, TunnelLost) is None:
            self.events.failure("smartproxy.client.service", failure)

    def hurry(self) -> None:
        """Wait for sessions no longer; end them."""
        self.sessions.hurry()

    # Before and after this process, there may be another one.

    async def taken_over(self) -> None:
        """Wait until calls can be taken both ways, and take them: the servers were dialled, with a configuration.

        The certificate for them may come after the configuration, or before it; where workers carry sessions, one has
        to be ready.
        """
        while self._configuration is None or not self._tunnels.tried or not self._house.able:
            await deferLater(self._reactor, limits.SETTLING_SECONDS)
        self._heir = False
        self._look_after(self._configuration.client.station)
        self.calls.adopt(self._configuration)

    async def announce(self) -> None:
        """Have the servers take the newer process beside this one."""
        await self._tell_servers(ClientControl.moved)

    async def hand_over(self) -> None:
        """Take no more calls, and let what was begun become sessions."""
        self.succeeded = True
        self._told.leave()
        self._loads.stop()
        self._lookout.stop()
        await self.calls.close(Cause.DAEMON_SUCCEEDED.meaning)
        until = self._reactor.seconds() + limits.CALLER_SECONDS + limits.OPENING.most
        while self._pending and self._reactor.seconds() < until:
            await deferLater(self._reactor, limits.SETTLING_SECONDS)

    def counted(self) -> Mapping[str, int]:
        """The sessions that count against the limit, whoever's they are."""
        return {"": self.desk.count + self.desk.elsewhere}

    def count_elsewhere(self, sessions: Mapping[str, int]) -> None:
        """Count the sessions of an older process against the limit."""
        self.desk.elsewhere = sum(sessions.values())

    @property
    def _pending(self) -> bool:
        """Whether something is here that is to become a session."""
        return self._house.pending or not self.desk.sessions <= self.sessions.live.keys()

    def _load(self) -> ToldLoad:
        return self._meter.told(len(self.sessions.live), self._client_part().limits.sessions)

    # For smartproxy ctl.

    @property
    def sessions(self) -> Lodgers:
        """The sessions that are not over."""
        return self._house.sessions

    @property
    def workers(self) -> tuple[ToldWorker, ...]:
        """The processes that carry sessions, where these are not this one."""
        return self._house.workers

    @property
    def lacks_workers(self) -> bool:
        """Whether no session can begin, since there has been no such process for some seconds."""
        return self._house.lacks_workers

    async def look(self) -> None:
        """Find out how sessions and data connections are, before that is told."""
        await self._house.look()

    @property
    def configuration(self) -> ClientConfiguration | None:
        """The configuration in force, if there is one."""
        return None if self._configuration is None else self._configuration.client

    @property
    def whole(self) -> Configuration | None:
        """The generation in force, the server's part included, if there is one."""
        return self._configuration

    @property
    def backend_fault(self) -> Exception | None:
        """What calls of the backend fail with, which it has not answered since; ``None`` if there are none."""
        return self._upkeep.fault

    @property
    def configuration_refused(self) -> str | None:
        """Why the newest generation of the backend is refused; ``None`` if it is in force."""
        return self._upkeep.refused

    @property
    def tunnels(self) -> Sequence[ClientTunnel]:
        """The tunnels, up or not, once there is a certificate for them."""
        return self._tunnels.all

    @property
    def backend_url(self) -> str:
        """Where the backend is, without credentials."""
        return self._backend.url

    @property
    def servers(self) -> Sequence[str]:
        """The servers that are dialled, as host:port."""
        return self._tunnels.servers

    # From the backend.

    def _from_copy(self) -> tuple[str, GenerationId] | None:
        """The backend cannot be reached: go on with what it said last, if there is a copy; what it knows that by."""
        kept = None if self._copy is None else self._copy.use(now(self._reactor))
        if kept is None:
            return None
        self._configured(kept.configuration, kept.licences, kept.etag, kept.saved)
        self._certified(kept.credential, frozenset(kept.licences))
        return None if kept.etag is None else (kept.etag, kept.configuration.id)

    def _still_in_force(self) -> None:
        """The backend says that the generation in force is the newest, be it from a copy: deliver it."""
        if self.copied is not None and self.held is not None:
            self.held, self.copied = attrs.evolve(self.held, by=self._backend.url), None
            self._follow(self._keep)
        self._follow(self._bring_all)

    def _keep(self) -> None:
        """Keep a copy of what the backend said last."""
        configuration, credential = self._configuration, self._tunnels.credential
        if self._copy is not None and self.copied is None and configuration is not None and credential is not None:
            self._copy.keep(now(self._reactor), credential, configuration, self.licences, self._etag)

    def _certified(self, credential: ClientCredential, proxy_ids: frozenset[str]) -> None:
        self._tunnels.show(credential, proxy_ids | frozenset(self.licences))
        self._keep()
        if not self._heir or self._configuration is not None:
            self._tunnels.dial()

    def _removed(self) -> None:
        """This client was removed or disabled: end its tunnels; should it be enabled again, it gets a certificate."""
        if self._copy is not None:
            self._copy.forget()
        self._tunnels.end(_REMOVED)

    def _configured(
        self,
        configuration: Configuration,
        licences: Mapping[str, str],
        etag: str | None,
        copied: datetime | None = None,
    ) -> None:
        """Put a generation in force as a whole; where that raises, the one before is put back.

        :param etag: what the backend knows it by.
        :param copied: when the copy was made that it is from.
        """
        before, licences_before = self._configuration, self.licences
        try:
            self._adopt(configuration, licences)
        except Exception:
            self._put_back(before, licences_before)
            raise
        by = self._backend.url if copied is None else "a copy"
        self.held, self.copied = Held(generation=configuration.generation, since=now(self._reactor), by=by), copied
        self._etag = etag
        self.events.emit("configuration.accepted", generation=configuration.generation, store=configuration.store)
        self._follow(self._keep)
        self._follow(self._descriptors.adopt, configuration.client.limits.descriptors)
        # First: a server whose licence was withdrawn is not brought this generation.
        self._follow(self._tunnels.end_unlicensed)
        self._follow(self._bring_all)

    def _follow(self, do: Callable[..., object], *arguments: object) -> None:
        """Do what follows from a generation that is in force; a fault with it is reported, and changes nothing."""
        try:
            do(*arguments)
        except Exception:
            self.events.failure("smartproxy.client.service", Failure())

    def _adopt(self, configuration: Configuration, licences: Mapping[str, str]) -> None:
        """Use a generation for what begins from now on."""
        self._configuration, self.licences = configuration, licences
        self._tunnels.show(self._tunnels.credential, frozenset(licences))
        self._house.adopt(configuration.client)
        if not self._heir:
            self._look_after(configuration.client.station)
            if not (self.draining or self.succeeded):
                # Its ports are closed, or another process has them.
                self.calls.adopt(configuration)
        else:
            # Whatever a server opens from then on can be opened.
            self._tunnels.dial()

    def _put_back(self, before: Configuration | None, licences: Mapping[str, str]) -> None:
        """Use the generation before again; serve nobody where there is none, or where even that raises."""
        try:
            if before is not None:
                self._adopt(before, licences)
                return
        except Exception:
            self.events.failure("smartproxy.client.service", Failure())
        self._configuration, self.held, self.copied = None, None, None
        self.licences = licences
        self._follow(self._house.adopt, self._client_part())
        self._follow(self._look_after, None)
        self._follow(self.calls.close, "no configuration is in force")

    def _look_after(self, station: Station | None) -> None:
        """See whether the station answers if it is another one; one process of a client does so."""
        if station == self._looked_after or self.draining or self.succeeded:
            return
        self._looked_after = station
        self._lookout.begin(0 if station is None else station.retry)

    def _station_answers(self, station: Station) -> None:
        self.events.emit("station.answered", host=station.host, port=station.port)

    def _client_part(self) -> ClientConfiguration:
        return ClientConfiguration() if self._configuration is None else self._configuration.client

    def _bring_all(self) -> None:
        """Deliver the generation in force to all servers."""
        for control in self._tunnels.controls.values():
            self.deliveries.bring(control)

    # ClientUser

    def tunnel_up(self, control: ClientControl) -> None:
        """A server is connected: deliver the configuration."""
        # Its licence may have been withdrawn while it was dialled.
        self._tunnels.end_unlicensed()
        self.deliveries.bring(control)

    def tunnel_down(self, why: Closing) -> None:
        """A server is gone; its sessions end with their legs, and the tunnel is dialled again."""
        self.deliveries.forget_lost()
        if not self.draining and why not in (UNLICENSED, _REMOVED):
            self._server_lost(why)

    def server_moved(self, control: ClientControl) -> None:
        """A newer process of a server listens where it did: have a tunnel to that, too, until its sessions are over."""
        self._tunnels.succeed(control)

    def open_inbound(self, control: ClientControl, inbound: Inbound) -> Deferred[None]:
        """Open a session of a partner with the station, unless the configuration does not allow it.

        :raises StationUnreachable: before anything is done for it.
        """
        self._judge_opening(control, inbound.facts)
        self.desk.admit(inbound.session, control.proxy_id, inbound.facts.partner or "")
        number = self._tunnels.number_of(control)
        return Deferred.fromCoroutine(self._house.open_inbound(number, inbound))

    def _judge_opening(self, control: ClientControl, facts: SessionFacts) -> None:
        """Judge a session that a server asks for.

        :raises StationUnreachable: if the configuration does not allow it, or there is none.
        """
        if self._configuration is None:
            raise StationUnreachable(rule=Cause.CONFIGURATION_NONE, message="the client has no configuration yet")
        holding = self.deliveries.holding(control)
        self._distrust.judge_opening(control.proxy_id, control.peer, facts, self._configuration, holding)

    def _over(self, session: str) -> None:
        """A session is over, or did not begin."""
        self.desk.over(session)
        self.calls.over(session)

    def event(self, control: ClientControl, fields: Mapping[str, Plain]) -> None:
        """Pass an event of the server on to the backend if the catalogue has it; else report that it was refused."""
        rate = self._client_part().limits.reports_rate
        if not self._distrust.takes_report(control.proxy_id, control.peer, fields, rate):
            return
        try:
            record = read_record(fields, Emitter.SERVER)
        except CatalogueError as error:
            self._distrust.refused_report(control.proxy_id, str(error), error.detail)
            return
        self._carrier.add(record.document())

    def crl_url_seen(self, url: str, ca: str) -> None:
        """Report that a verified certificate names a revocation list that is not configured."""
        self.events.emit("crl.url_seen", url=url, ca=ca)
