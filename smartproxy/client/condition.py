"""The state of the client, for ``smartproxy ctl``: tunnels, configuration, sessions, and whether all is well.

Reads, and ends a session on request; changes nothing else. Shows no token, no key and no certificate.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from smartproxy.client.backend import BackendRefused
from smartproxy.client.service import ClientService
from smartproxy.ctl.answers import Licences
from smartproxy.ctl.daemon import in_force, killed
from smartproxy.ctl.licences import read_licences
from smartproxy.ctl.statuses import ClientStatus, InForce, fields_of, instant, judged
from smartproxy.net.tls.expiries import expiries
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.health import WORKERS_DOWN, Diagnosis, Expiry, Finding, Health, judge
from smartproxy.policy.licence import LicenceRefused, read
from smartproxy.tunnel.condition import load_facts, tunnel_told

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

    def status(self) -> ClientStatus:
        """Everything about the daemon, with the verdict and what to do about it."""
        service, configuration = self._service, self._service.configuration
        most = None if configuration is None else configuration.limits.sessions
        station = None if configuration is None else configuration.station
        return ClientStatus(
            **judged(self._verdict()),
            **load_facts(len(service.sessions.live), most),
            **fields_of(self.generation()),
            backend=service.backend_url,
            station=None if station is None else str(HostPort(station.host, station.port)),
            servers=tuple(service.servers),
            outbound_listeners={
                name or ANY: None if port is None else str(port) for name, port in service.calls.ports.items()
            },
            tunnels=tuple(map(tunnel_told, service.tunnels)),
            workers=service.workers,
        )

    def _verdict(self) -> Diagnosis:
        """How it is: what is wrong, the worst first, and what runs out."""
        whole = self._service.whole
        ends = [Expiry(f"the licence of {_short(each)}", until) for each, until in self._licences().items()]
        return judge(self._findings(), [*ends, *(() if whole is None else expiries(whole.server))], self._now())

    def _findings(self) -> Iterator[Finding]:
        service, configuration = self._service, self._service.configuration
        if service.draining:
            yield Finding("draining", Health.DEGRADED, "the client stops when its sessions are over")
            return
        if service.lacks_workers:
            yield WORKERS_DOWN
        unable = configuration is None or not service.tunnels
        if (away := service.backend_fault) is not None:
            yield _away(away, Health.DOWN if unable else Health.DEGRADED)
        if service.copied is not None:
            minutes = round((self._now() - service.copied).total_seconds() / 60)
            words = f"the configuration is a copy of {instant(service.copied)}, {minutes} minutes old"
            yield Finding("copy", Health.DEGRADED, f"{words}: the backend was not reached since the client started")
        if service.configuration_refused is not None:
            rest = "no other is in force" if configuration is None else "the previous one stays in force"
            words = f"the newest generation is refused ({service.configuration_refused}); {rest}"
            yield Finding("generation-refused", Health.DEGRADED, words)
        if configuration is None or not service.tunnels:
            if away is None:
                words = (
                    "no configuration and certificate for the tunnel have arrived from the backend yet: wait some "
                    "seconds; if it stays so, see the log of this client"
                )
                if configuration is None and service.configuration_refused is not None:
                    words = "no configuration is in force: correct the refused generation in the backend"
                yield Finding("unconfigured", Health.DOWN, words)
            return
        if not any(until > self._now() for until in self._licences().values()):
            words = "no server has a licence that is in force: smartproxy licence extend, or licence issue PROXY-ID"
            yield Finding("unlicensed", Health.DOWN, words)
        yield from self._tunnel_findings()
        if down := [name for name, port in service.calls.ports.items() if port is None]:
            words = f"{_ports(down)}: see listener.failed in the log"
            yield Finding("listener-down", Health.DEGRADED, words)
        if (failed := service.desk.station_failure) is not None:
            words = f"the station failed when it was last called, at {instant(failed.time)}: {failed.message}"
            yield Finding("station-down", Health.DOWN, f"{words}; check it with: smartproxy test-station")

    def _tunnel_findings(self) -> Iterator[Finding]:
        service = self._service
        down = [tunnel.server for tunnel in service.tunnels if tunnel.control is None]
        if len(down) == len(service.tunnels):
            words = "no server is connected: check tunnel.failed and tunnel.refused in the log"
            yield Finding("no-server", Health.DOWN, words)
        elif down:
            words = f"{len(down)} of {len(service.tunnels)} servers are not connected: {', '.join(down)}"
            yield Finding("partial", Health.DEGRADED, words)
        newest = service.whole
        for tunnel in service.tunnels:
            if tunnel.control is not None and newest is not None and _is_ahead(tunnel.control.held, newest.id):
                yield Finding(
                    "generation-ahead",
                    Health.DEGRADED,
                    f"the server {tunnel.server} holds generation {tunnel.control.held}, and the backend's newest is "
                    f"{newest.generation} of the same store: it was set back to a copy, and the server takes no older "
                    "generation; restart smartproxy-server, which forgets what it holds",
                )
            if tunnel.control is not None and tunnel.control in service.deliveries.declined:
                number = service.deliveries.declined[tunnel.control]
                words = f"the server {tunnel.server} could not put generation {number} in force: "
                yield Finding("generation-refused", Health.DEGRADED, f"{words}see configuration.refused in its log")

    def _licences(self) -> dict[str, datetime]:
        """The ends of the licences that are in force."""
        found = {}
        for proxy_id, text in self._service.licences.items():
            with contextlib.suppress(LicenceRefused):
                found[proxy_id] = read(text, proxy_id, self._now()).valid_until
        return found

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions."""
        return self._service.sessions.portraits()

    def partners(self) -> frozenset[str]:
        """The names of the partners in the configuration in force."""
        whole = self._service.whole
        return frozenset() if whole is None else frozenset(each.name for each in whole.server.partners)

    def generation(self) -> InForce:
        """The configuration in force."""
        return in_force(self._service.held)

    def licence(self) -> Licences:
        """The licences that are carried to servers."""
        return read_licences(self._service.licences, self._now())

    def kill(self, session: str) -> bool:
        """End a session; whether it was there."""
        return self._service.sessions.close(session, killed())


def _away(error: Exception, health: Health) -> Finding:
    """That the backend does not help."""
    after = "no session can begin" if health is Health.DOWN else "sessions go on with the configuration in force"
    match error:
        case BackendRefused(code=Cause.API_REMOVED):
            words = f"{error.message}; no session can begin"
            return Finding("client-removed", Health.DOWN, words)
        case BackendRefused(code=Cause.API_ADDRESS):
            return Finding("address-refused", health, f"{error.message}; {after}")
        case BackendRefused(code=Cause.API_TOKEN | Cause.API_NO_TOKEN):
            words = (
                f"the backend refuses the client's token ({error.message}): smartproxy client token NAME; then put "
                "the new one where the client has its token from; it reads the file of --token-file again, and has to "
                "be restarted for any other"
            )
            return Finding("token-refused", health, f"{words}; {after}")
        case BackendRefused(code=Cause.API_VERSION):
            return Finding("version-refused", health, f"the backend refuses this version: {error.message}; {after}")
    return Finding("backend-down", health, f"the backend does not answer as it should: {error}; {after}")


def _ports(down: Sequence[str]) -> str:
    """That the ports for calls to these partners are not open; the one for any partner has the empty name."""
    partners = sorted(filter(None, down))
    shared = ["the port for HTTP CONNECT and SOCKS5"] if "" in down else []
    own = [f"the port{'s' if len(partners) > 1 else ''} for calls to {', '.join(partners)}"] if partners else []
    verb = "is" if len(down) == 1 else "are"
    return f"{' and '.join(shared + own)} {verb} not open"


def _short(proxy_id: str) -> str:
    return f"{proxy_id[:12]}..."


def _is_ahead(held: GenerationId, newest: GenerationId) -> bool:
    """Whether a server holds a later generation of the same store than the one in force."""
    return held.store is not None and held.store == newest.store and held.number > newest.number
