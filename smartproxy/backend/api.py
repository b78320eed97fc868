"""The https API under ``/api/v1``: what clients call.

Duty: know the caller by its token, refuse what is not right with an error that says what to do, write every refused
call down, and let callers wait for news. The ``smartproxy`` command changes the store while the daemon runs, and with a
database server other nodes do; so the store is asked for its newest numbers while a client waits: twice a second, or
when the database tells of a change (:mod:`smartproxy.backend.several`). Trusts nothing in a call. Never waits for the
store in the reactor, never logs a token or a body.
"""

from collections import Counter
from datetime import datetime
from weakref import WeakKeyDictionary

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from smartproxy._version import __version__
from smartproxy.backend.administration import Administration
from smartproxy.backend.administrators import PREFIX
from smartproxy.backend.client_requests import ClientRequests, RequestingClient
from smartproxy.backend.errors import BackendError, StoreBusy, StoreOutdated, StoreUnavailable, Unusable
from smartproxy.backend.generations import Tag
from smartproxy.backend.health import Readiness
from smartproxy.backend.operation_requests import DESCRIPTION, ROOT
from smartproxy.backend.port import guest_of
from smartproxy.backend.requests import (
    API,
    ApiRefused,
    CarriedEvents,
    CarriedRecords,
    CertificateWanted,
    LoadsTold,
    ReadableRequests,
    RefusalRate,
    RunningSessions,
    address_of,
    address_refused,
    body_of,
    is_version,
    json_answer,
    known_tag,
    method_refused,
    removed_refused,
    see_version,
    token_of,
    token_refused,
    told_version,
    wait_seconds,
)
from smartproxy.backend.store import Runner
from smartproxy.backend.watch import GenerationWatch
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.admission import Sparing
from smartproxy.policy.causes import Cause
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.versions import NEWEST, OLDEST

WAITING_PER_CLIENT_MOST = 8
"""Calls of one client that wait for the next generation."""


class Api:
    """The API; :meth:`resource` is what a site serves.

    :param requests: the store's side.
    :param runner: runs it.
    :param events: where refused calls and issued certificates are told.
    :ivar has_site: whether there is a site; until then every call is told how it is set up.
    """

    app = Klein()

    def __init__(self, requests: ClientRequests, runner: Runner, events: Events, clock: IReactorTime) -> None:
        self._requests = requests
        self._runner = runner
        self._events = events
        self._clock = clock
        self._rate = RefusalRate()
        self._sparing = Sparing()
        self.has_site = True
        self._waiting: Counter[str] = Counter()
        self._administration = Administration(requests.store, runner, events, clock, self._watch_failed)
        self.event_watch = self._administration.event_watch
        self._readiness = Readiness(clock, lambda: runner.run(requests.generation))
        self._facts: WeakKeyDictionary[IRequest, dict[str, object]] = WeakKeyDictionary()
        self.watch = GenerationWatch(clock, lambda: runner.run(requests.generation), self._watch_failed)
        self.trial_watch = GenerationWatch(clock, lambda: runner.run(requests.newest_trial), self._watch_failed)

    def told(self) -> None:
        """Another backend, or the command, has changed something: those who wait may have waited for it."""
        for watch in (self.watch, self.trial_watch):
            watch.look_now()

    def hears(self, hearing: bool) -> None:
        """Whether :meth:`told` is called after each change; where not, the store is asked more often."""
        for watch in (self.watch, self.trial_watch):
            watch.hearing = hearing
            if not hearing:
                watch.look_now()

    def resource(self) -> IResource:
        """The root of the API's site."""
        return ReadableRequests(self.app.resource(), self.unreadable, (UnicodeDecodeError, HTTPException))

    def unreadable(self, request: IRequest) -> bytes:
        """Refuse a call whose path is not UTF-8, or whose host is not a name."""
        return self._refuse(
            request,
            ApiRefused(
                400,
                Cause.API_PATH,
                "the path or the host is malformed",
                "send the path in UTF-8, percent-encoded, and a host name or address as Host",
            ),
        )

    @app.route("/api/v1/hello", methods=["GET"])
    async def hello(self, request: IRequest) -> bytes:
        """Exchange versions."""
        await self._caller(request)
        site = await self._runner.run(self._requests.site)
        protocol = {"oldest": OLDEST, "newest": NEWEST}
        return json_answer(request, {"version": __version__, "protocol": protocol, "api": API, "site": site})

    @app.route("/api/v1/tunnel-certificate", methods=["POST"])
    async def tunnel_certificate(self, request: IRequest) -> bytes:
        """Issue a certificate for the tunnel."""
        caller = await self._caller(request)
        csr = body_of(request, CertificateWanted).csr
        try:
            issued = await self._runner.run(self._requests.tunnel_certificate, caller.name, csr, self._now())
        except Unusable as error:
            self._events.emit(
                "tunnel_certificate.refused",
                cause=Cause.API_CSR,
                message=str(error),
                client=caller.name,
                status=400,
            )
            raise ApiRefused(400, Cause.API_CSR, str(error), "make the request with smartproxy-client") from error
        self._events.emit(
            "tunnel_certificate.issued", client=caller.name, not_after=issued.not_after, serial=f"{issued.serial:x}"
        )
        return json_answer(request, issued.document())

    @app.route("/api/v1/configuration", methods=["GET"])
    async def configuration(self, request: IRequest) -> bytes:
        """The configuration, or 304 when it is the one that the caller has, for as long as it wants to wait."""
        caller = await self._caller(request)
        known, wait = known_tag(request), wait_seconds(request)
        if known is not None:
            newest = await self._runner.run(self._requests.compare, known, caller.name, self._now())
            if known == newest:
                await self._wait_for_change(self.watch, caller, known, wait)
                # While it waited, the change may have been that this client may not call any more.
                await self._caller(request)
        found = await self._runner.run(self._requests.document, caller.name)
        if found is None:
            raise _no_site()
        generation, document = found
        request.setHeader(b"etag", f'"{generation}"'.encode("ascii"))
        request.setHeader(b"cache-control", b"no-store")
        if generation == known:
            request.setResponseCode(304)
            return b""
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"content-length", str(len(document)).encode("ascii"))
        return await self._last_piece(request, document)

    async def _last_piece(self, request: IRequest, octets: bytes) -> bytes:
        """Write a long answer piece by piece, so that others have their turn; the last piece."""
        start = 0
        for start in range(0, len(octets), limits.ANSWER_PIECE_OCTETS):
            if start + limits.ANSWER_PIECE_OCTETS < len(octets):
                request.write(octets[start : start + limits.ANSWER_PIECE_OCTETS])
                await deferLater(self._clock, 0)
        return octets[start:]

    @app.route("/api/v1/trials", methods=["GET"])
    async def trials(self, request: IRequest) -> bytes:
        """The trials that were asked for since the one that the caller knows, for as long as it wants to wait."""
        caller = await self._caller(request)
        known, wait = known_tag(request), wait_seconds(request)
        newest = await self._runner.run(self._requests.newest_trial)
        if known is not None and known == newest:
            await self._wait_for_change(self.trial_watch, caller, known, wait)
            await self._caller(request)
            newest = await self._runner.run(self._requests.newest_trial)
        found = [] if known is None else await self._runner.run(self._requests.trials, known.number, self._now())
        return json_answer(request, {"newest": newest.number, "trials": list(found)})

    @app.route("/api/v1/licences", methods=["GET"])
    async def licences(self, request: IRequest) -> bytes:
        """The newest licence of each server."""
        await self._caller(request)
        return json_answer(request, {"licences": dict(await self._runner.run(self._requests.licences))})

    @app.route("/api/v1/events", methods=["POST"])
    async def events(self, request: IRequest) -> bytes:
        """Store events of the client and of its servers."""
        caller = await self._caller(request)
        events = body_of(request, CarriedEvents, item_by_item=True).events
        if len(events) > limits.API_EVENTS_MOST:
            raise ApiRefused(
                413, Cause.API_TOO_MANY, f"{len(events)} events in one call", f"send {limits.API_EVENTS_MOST} at most"
            )
        taken = await self._runner.run(self._requests.keep_events, caller.name, events, self._now())
        if taken.refused:
            self._events.emit(
                "events.refused",
                cause=Cause.EVENTS_CATALOGUE,
                message=taken.refused[0].message,
                detail=taken.refused[0].detail,
                client=caller.name,
                facts={"refused": len(taken.refused)},
            )
        return json_answer(request, {"stored": taken.stored, "refused": len(taken.refused)})

    @app.route("/api/v1/records", methods=["POST"])
    async def records(self, request: IRequest) -> bytes:
        """Store the records of sessions that are over."""
        caller = await self._caller(request)
        packed = body_of(request, CarriedRecords).records
        taken = await self._runner.run(self._requests.keep_records, caller.name, packed, self._now())
        if taken.refused:
            self._events.emit(
                "events.refused",
                cause=Cause.EVENTS_CATALOGUE,
                message=f"a record of a session: {taken.refused[0].message}",
                detail=taken.refused[0].detail,
                client=caller.name,
                facts={"refused": len(taken.refused)},
            )
        return json_answer(request, {"stored": taken.stored, "refused": len(taken.refused)})

    @app.route("/api/v1/live", methods=["POST"])
    async def live_sessions(self, request: IRequest) -> bytes:
        """Take note of the sessions that the client runs."""
        caller = await self._caller(request)
        told = body_of(request, RunningSessions, item_by_item=True)
        refused = [each for each in told.sessions if isinstance(each, DocumentRefused)]
        good = [each for each in told.sessions if not isinstance(each, DocumentRefused)]
        await self._runner.run(self._requests.keep_live, caller.name, good, told.count, self._now())
        # A client tells every few seconds.
        silent = self._sparing.tell(caller.name, Cause.EVENTS_CATALOGUE, self._clock.seconds()) if refused else None
        if silent is not None:
            self._events.emit(
                "events.refused",
                cause=Cause.EVENTS_CATALOGUE,
                message=f"a live session: {refused[0]}",
                client=caller.name,
                facts={"refused": len(refused), "calls_before": silent},
            )
        return json_answer(request, {"refused": len(refused)})

    @app.route("/api/v1/loads", methods=["POST"])
    async def told_loads(self, request: IRequest) -> bytes:
        """Take note of how busy the client is, and its servers."""
        caller = await self._caller(request)
        told = body_of(request, LoadsTold)
        await self._runner.run(self._requests.keep_loads, caller.name, told, self._now())
        return json_answer(request, {})

    @app.route("/api/v1/admin/<path:place>", methods=["GET", "POST", "PATCH", "PUT", "DELETE"])
    async def administered(self, request: IRequest, place: str) -> bytes:
        """What administrators call: the operations."""
        self._check_site()
        return await self._administration.answer(request, self._facts.setdefault(request, {}))

    @app.route("/api/v1/openapi.json", methods=["GET"])
    async def description(self, request: IRequest) -> bytes:
        """What administrators can call."""
        self._check_site()
        return await self._administration.description(request, self._facts.setdefault(request, {}))

    @app.route("/health/live", methods=["GET"])
    def live(self, request: IRequest) -> bytes:
        """Whether the daemon runs, for load balancers: who gets an answer knows."""
        return json_answer(request, {"status": "ok"})

    @app.route("/health/ready", methods=["GET"])
    async def ready(self, request: IRequest) -> bytes:
        """Whether calls can be answered, for load balancers; others are told no more than that."""
        is_ready = self.has_site and await self._readiness.ready()
        return json_answer(request, {"status": "ok" if is_ready else "not ready"}, 200 if is_ready else 503)

    @app.handle_errors(ApiRefused)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a refused call, and write it down."""
        error = failure.value
        if not isinstance(error, ApiRefused):
            failure.raiseException()
        return self._refuse(request, error)

    @app.handle_errors(HTTPException)
    def not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a call of something that is not there."""
        if failure.check(MethodNotAllowed):
            error = method_refused(getattr(failure.value, "valid_methods", None) or ())
        else:
            error = ApiRefused(404, Cause.API_PATH, "no such path", "call a path below /api/v1")
        return self._refuse(request, error)

    @app.handle_errors(BackendError)
    def not_ready(self, request: IRequest, failure: Failure) -> bytes:
        """Answer that the store is busy, or does not have what the call needs, such as the site's authority."""
        if failure.check(StoreBusy):
            return self._refuse(
                request,
                ApiRefused(503, Cause.STORE_BUSY, "the store is busy", "send the call again in a few seconds"),
            )
        return self._refuse(request, ApiRefused(503, Cause.API_STORE, failure.getErrorMessage(), "tell the operator"))

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        """Answer that something here is broken; what, stands in the log only."""
        self._events.failure("smartproxy.backend.api", failure, peer=address_of(request))
        error = ApiRefused(500, Cause.API_INTERNAL, "the backend has a fault", "look for internal.error in its log")
        return self._answer_refused(request, error)

    def admits(self, request: IRequest) -> Deferred[int]:
        """How large a body may be: nothing is read of a stranger. The call itself is judged anew."""
        return Deferred.fromCoroutine(self._admits(request))

    async def _admits(self, request: IRequest) -> int:
        try:
            # The path is not known yet, but the two kinds of tokens begin differently.
            if token_of(request).startswith(PREFIX):
                return await self._administration.admits(request)
            await self._caller(request)
        except ApiRefused:
            return 0
        return limits.API_BODY_OCTETS_MOST

    async def _caller(self, request: IRequest) -> RequestingClient:
        """The client that calls.

        :raises ApiRefused: when its token is not known or not allowed, or its version does not fit.
        """
        self._check_site()
        facts = self._facts.setdefault(request, {})
        version = told_version(request)
        token = token_of(request)
        noted = version if version is not None and is_version(version) else None
        caller = await self._runner.run(self._requests.caller, token, self._now(), noted, address_of(request))
        if caller is None or not caller.may_call:
            if caller is None:
                raise token_refused()
            why = "removed or disabled" if not caller.enabled else f"bound to the address {caller.bound}"
            facts.update(client=caller.name, detail=f"the client is {why}")
            raise address_refused(caller.name, address_of(request)) if caller.enabled else removed_refused()
        facts["client"] = caller.name
        if (guest := guest_of(request)) is not None:
            guest.proved()
        see_version(request, "smartproxy-client", facts)
        return caller

    def _check_site(self) -> None:
        if not self.has_site:
            raise _no_site()

    async def _wait_for_change(self, watch: GenerationWatch, caller: RequestingClient, known: Tag, wait: int) -> None:
        if self._waiting[caller.name] >= WAITING_PER_CLIENT_MOST:
            raise ApiRefused(
                429,
                Cause.API_WAITING,
                "too many calls of this client wait already",
                "give each smartproxy-client a token of its own",
            )
        self._waiting[caller.name] += 1
        try:
            await watch.changed(known, wait)
        finally:
            self._waiting[caller.name] -= 1

    def _refuse(self, request: IRequest, error: ApiRefused) -> bytes:
        if error.status == 401:
            request.setHeader(b"www-authenticate", b"Bearer")
        silent = self._rate.admit(address_of(request), self._clock.seconds())
        if silent is not None:
            facts = self._facts.get(request, {}) | {"facts": silent.facts}
            self._events.emit(
                "backend.call_refused",
                cause=error.cause,
                message=error.message,
                advice=error.advice,
                method=request.method.decode("ascii", "replace"),
                path=request.path.decode("ascii", "replace"),
                status=error.status,
                peer=address_of(request),
                **facts,
            )
        return self._answer_refused(request, error)

    def _answer_refused(self, request: IRequest, error: ApiRefused) -> bytes:
        for name, value in error.headers:
            request.setHeader(name, value)
        if request.path.startswith((ROOT.encode("ascii"), DESCRIPTION)):
            return json_answer(request, error.problem(), error.status, b"application/problem+json")
        return json_answer(request, error.document(), error.status)

    def _watch_failed(self, failure: Failure) -> None:
        if failure.check(StoreOutdated):
            self._events.emit(
                "store.outdated", cause=Cause.STORE_OUTDATED, message=str(failure.value), place="smartproxy.backend.api"
            )
        elif failure.check(StoreUnavailable):
            self._events.emit(
                "store.busy", cause=Cause.STORE_BUSY, message=str(failure.value), place="smartproxy.backend.api"
            )
        else:
            self._events.failure("smartproxy.backend.api", failure)

    def _now(self) -> datetime:
        return now(self._clock)


def _no_site() -> ApiRefused:
    return ApiRefused(
        503,
        Cause.API_NO_SITE,
        "the site is not set up yet",
        "open the link that smartproxy-backend printed at its start, or run 'smartproxy authority create --site NAME'",
        headers=((b"retry-after", b"5"),),
    )
