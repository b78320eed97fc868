"""The API for administrators: every operation, below ``/api/v1/admin``.

Duty: know the caller by an administrator's token, slow down whoever guesses one, carry the operation out that the call
names, and answer with its answer, its tag and its generation. It takes its calls from
:mod:`smartproxy.backend.api`, which answers what is refused here. Trusts nothing in a call; never logs a token.
"""

import functools
import hashlib
import json
import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from smartproxy._version import __version__
from smartproxy.backend import administrators, journal
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import (
    AlreadyThere,
    BackendError,
    ChangedMeanwhile,
    ChangeRefused,
    KeyUnusable,
    NotFound,
    ScopeMissing,
    SecondAwaited,
    StoreUnavailable,
    Unusable,
)
from smartproxy.backend.generations import Tag
from smartproxy.backend.openapi import described
from smartproxy.backend.operation_requests import OperationPlaces, parts_of, read_file_request, read_request, tags_of
from smartproxy.backend.operations import crl
from smartproxy.backend.operations.list_files import ListsRead
from smartproxy.backend.operations.operation import Caller, Operation
from smartproxy.backend.operations.performing import TAG_DIGITS, Performed, Rehearsed, Terms, check_permission, perform
from smartproxy.backend.operations.registry import OPERATIONS
from smartproxy.backend.port import guest_of
from smartproxy.backend.requests import (
    LIST_MEDIA,
    ApiRefused,
    address_of,
    json_answer,
    kept_body,
    media_of,
    see_version,
    token_of,
    too_large,
)
from smartproxy.backend.store import Runner, Store
from smartproxy.backend.watch import GenerationWatch
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.addresses import network_of
from smartproxy.policy.admission import Sparing
from smartproxy.policy.causes import Cause
from smartproxy.policy.permissions import stands_for
from smartproxy.policy.schema import write_object
from smartproxy.policy.versions import BACKEND, Part

_PART = Part(program=BACKEND, version=__version__)
WAITING_PER_ADMINISTRATOR_MOST = 8
"""Calls of one administrator that wait for the next event."""
WAITING_ADMINISTRATORS_MOST = 64
"""Such calls of all."""

_IN_A_MINUTE = ((b"retry-after", b"60"),)
_STATUS: dict[type[BackendError], tuple[int, Cause, str]] = {
    SecondAwaited: (409, Cause.API_SECOND, "have another administrator make the same call"),
    ScopeMissing: (403, Cause.API_SCOPE, "use a token that has the scope"),
    NotFound: (404, Cause.API_NOT_FOUND, "see the list for those that there are"),
    AlreadyThere: (409, Cause.API_TAKEN, "change it, or take another name"),
    KeyUnusable: (409, Cause.API_KEY, "use a new key for each call"),
    ChangedMeanwhile: (412, Cause.API_CHANGED, "read it again, and decide anew"),
    ChangeRefused: (422, Cause.API_REFUSED, "send what would be valid"),
    Unusable: (422, Cause.API_UNUSABLE, "send what can be used"),
}


@attrs.frozen(kw_only=True)
class KnownAdministrator:
    """An administrator whose token is known.

    :ivar ended: whether the token has ended.
    """

    name: str
    scopes: frozenset[str]
    ended: bool


@attrs.define
class _Guess:
    count: float
    seen: float


class Guesses:
    """How often calls of a network came with a token that nobody has, and how long they wait for the refusal."""

    def __init__(self) -> None:
        self._guesses: OrderedDict[str, _Guess] = OrderedDict()
        self._held: Counter[str] = Counter()

    def count(self, prefix: str, now: float) -> float:
        """Count one more; how long its answer waits."""
        guess = self._guesses.pop(prefix, None) or _Guess(0, now)
        self._guesses[prefix] = guess
        if len(self._guesses) > limits.GUESSES_NETWORKS_MOST:
            self._guesses.popitem(last=False)
        forgotten = (now - guess.seen) / limits.GUESS_FORGOTTEN_SECONDS
        guess.count, guess.seen = max(0.0, guess.count - forgotten) + 1, now
        over = int(guess.count) - limits.GUESSES_FREE
        return 0 if over <= 0 else min(float(2 ** min(over, 16)), limits.GUESS_SECONDS_MOST)

    def forgive(self, prefix: str) -> None:
        """Take one back: it was none."""
        guess = self._guesses.get(prefix)
        if guess is not None:
            guess.count = max(0.0, guess.count - 1)

    def hold(self, prefix: str) -> bool:
        """Take a place to wait in, if there is one; :meth:`release` gives it back."""
        if self._held[prefix] >= limits.GUESSES_HELD_MOST or self._held.total() >= limits.GUESSES_HELD_IN_ALL:
            return False
        self._held[prefix] += 1
        return True

    def release(self, prefix: str) -> None:
        """Give a place back."""
        self._held[prefix] -= 1
        if not self._held[prefix]:
            del self._held[prefix]


class Administration:
    """The operations over https.

    :param store: what they work on.
    :param runner: runs them.
    :param events: where guessing is told.
    :param watch_failed: told when the store cannot be asked for the newest event.
    :ivar event_watch: tells those who wait that there is another event.
    """

    def __init__(
        self,
        store: Store,
        runner: Runner,
        events: Events,
        clock: IReactorTime,
        watch_failed: Callable[[Failure], object],
    ) -> None:
        self._store = store
        self._runner = runner
        self._events = events
        self._clock = clock
        self._places = OperationPlaces.of(OPERATIONS.values())
        self._guesses = Guesses()
        self._sparing = Sparing()
        self._waiting: Counter[str] = Counter()
        self.event_watch = GenerationWatch(clock, lambda: runner.run(self._newest_event), watch_failed)
        self._described = functools.cache(lambda: json.dumps(described(OPERATIONS.values())).encode("ascii"))

    async def answer(self, request: IRequest, facts: dict[str, object]) -> bytes:
        """Carry out what a call names.

        :param facts: takes what the log is to know about a refused call.
        :raises ApiRefused: when it cannot be done.
        """
        caller = await self.known(request, facts)
        method = request.method.decode("ascii", "replace")
        operation, placed = self._places.find("GET" if method == "HEAD" else method, parts_of(request))
        try:
            # Before its input is read: nobody learns more than the scopes allow.
            if not caller.may(operation.scope):
                await self._runner.run(check_permission, self._store, operation, operation.words, caller, self._now())
            if operation is crl.load and media_of(request) in LIST_MEDIA:
                name, terms = read_file_request(request, operation)
                wanted = await self._lists(request, name)
                # While they were read, the token may have ended, been revoked, or lost a scope.
                caller = await self.known(request, facts)
            else:
                wanted, terms = read_request(request, operation, placed)

            def work() -> Deferred[tuple[Performed[Any], bytes]]:
                return self._runner.run(self._work, operation, wanted, caller, terms)

            done, octets = await work()
            if (seconds := getattr(wanted, "waits", 0)) and not done.answer.items:
                done, octets = await self._waited(work, caller, done, seconds)
                # While it waited, the token may have ended, or been revoked.
                await self.known(request, facts)
        except Rehearsed as rehearsed:
            return json_answer(request, write_object(rehearsed.foreseen))
        except BackendError as error:
            raise _refusal(error) from error
        return _write(request, operation, done, octets)

    async def _lists(self, request: IRequest, name: str) -> ListsRead:
        """The lists in the file that is the body of a call.

        :raises ApiRefused: when it was not kept, or is too large.
        """
        if getattr(request, "body_refused", False):
            again = "send the call again in a minute"
            raise ApiRefused(503, Cause.STORE_BUSY, "other lists are being read", again, headers=_IN_A_MINUTE)
        content = kept_body(request, on_disk=True)
        try:
            if content.seek(0, os.SEEK_END) > limits.DOWNLOAD_OCTETS_MOST:
                raise too_large(limits.DOWNLOAD_OCTETS_MOST)
            return await self._runner.run(ListsRead.of_file, self._store, name, content, self._now())
        finally:
            content.close()

    async def description(self, request: IRequest, facts: dict[str, object]) -> bytes:
        """What can be called, for every administrator.

        :raises ApiRefused: when the caller is none.
        """
        await self.known(request, facts)
        request.setHeader(b"content-type", b"application/json")
        return self._described()

    async def known(self, request: IRequest, facts: dict[str, object]) -> Caller:
        """The administrator that calls, and is told what this backend speaks.

        :raises ApiRefused: when the token is not known, or has ended, or the caller speaks nothing that this backend
            speaks; a guess waits for it.
        """
        found = await self._find(request)
        if found is None:
            raise await self._guessed(request)
        facts["detail"] = f"the token of {found.name}"
        if found.ended:
            raise ApiRefused(
                401, Cause.API_ENDED, f"the token {found.name} has ended", "have an administrator make a new one"
            )
        if (guest := guest_of(request)) is not None:
            guest.proved()
        for name, value in _PART.headers.items():
            request.setHeader(name.encode("ascii"), value.encode("ascii"))
        see_version(request, "smartproxy", facts)
        return Caller(name=found.name, scopes=found.scopes, channel=Channel.API)

    async def admits(self, request: IRequest) -> int:
        """How many octets the body may have; more for a file with revocation lists."""
        found = await self._find(request)
        if found is None or found.ended:
            return 0
        is_list = media_of(request) in LIST_MEDIA and stands_for(found.scopes, crl.load.scope)
        return limits.DOWNLOAD_OCTETS_MOST if is_list else limits.API_BODY_OCTETS_MOST

    async def _find(self, request: IRequest) -> KnownAdministrator | None:
        token = token_of(request)
        return await self._runner.run(self._authenticate, token, address_of(request), self._now())

    def _authenticate(self, token: str, address: str, now: datetime) -> KnownAdministrator | None:
        with self._store.reading() as session:
            row = administrators.authenticate(session, token)
            if row is None:
                return None
            found = KnownAdministrator(name=row.name, scopes=row.entry.may, ended=row.entry.until <= now)
            worth = administrators.worth_noting(row, now, address)
        if worth:
            self._store.note(now, lambda session: administrators.note_call(session, found.name, now, address))
        return found

    async def _guessed(self, request: IRequest) -> ApiRefused:
        """The refusal of a token that nobody has; the more of them come from a network, the longer it takes."""
        address = address_of(request)
        prefix = network_of(address)
        seconds = self._guesses.count(prefix, self._clock.seconds())
        if seconds:
            silent = self._sparing.tell(prefix, Cause.API_GUESSING, self._clock.seconds())
            if silent is not None:
                message = (
                    f"calls with unknown tokens came repeatedly; answers to this network take {seconds:.0f} seconds"
                )
                self._events.emit(
                    "backend.guessing", peer=address, cause=Cause.API_GUESSING, message=message, facts=silent.facts
                )
            if not self._guesses.hold(prefix):
                return ApiRefused(
                    429,
                    Cause.API_GUESSING,
                    "too many calls with tokens that are not valid",
                    f"wait {seconds:.0f} seconds, and use a valid token",
                    headers=((b"retry-after", f"{seconds:.0f}".encode("ascii")),),
                )
            try:
                await deferLater(self._clock, seconds)
            finally:
                self._guesses.release(prefix)
        return ApiRefused(
            401, Cause.API_TOKEN, "the token is not valid", "make one: smartproxy admin-token create NAME --role ROLE"
        )

    async def _waited(
        self,
        work: Callable[[], "Deferred[tuple[Performed[Any], bytes]]"],
        caller: Caller,
        done: Performed[Any],
        seconds: float,
    ) -> tuple[Performed[Any], bytes]:
        """Do the work again when an event has come, until it finds one that is wanted, or the time is over.

        :raises ApiRefused: when too many calls wait already.
        """
        if (
            self._waiting[caller.name] >= WAITING_PER_ADMINISTRATOR_MOST
            or self._waiting.total() >= WAITING_ADMINISTRATORS_MOST
        ):
            raise ApiRefused(
                429,
                Cause.API_WAITING,
                "too many calls wait already",
                "read the pending answers first, or call without wait",
                headers=((b"retry-after", b"5"),),
            )
        self._waiting[caller.name] += 1
        until = self._clock.seconds() + seconds
        try:
            while True:
                left = until - self._clock.seconds()
                more = await self.event_watch.changed(Tag(done.answer.next), left)
                done, octets = await work()
                if done.answer.items or not more:
                    return done, octets
        finally:
            self._waiting[caller.name] -= 1
            if not self._waiting[caller.name]:
                del self._waiting[caller.name]

    def _newest_event(self) -> Tag:
        """What the newest event is known by: its number alone."""
        with self._store.reading() as session:
            return Tag(journal.newest_number(session))

    def _work(
        self, operation: Operation[Any, Any], wanted: Any, caller: Caller, terms: Terms
    ) -> tuple[Performed[Any], bytes]:
        done = perform(self._store, operation, wanted, caller, self._now(), terms)
        return done, json.dumps(write_object(done.answer)).encode("ascii")

    def _now(self) -> datetime:
        return now(self._clock)


def _refusal(error: BackendError) -> ApiRefused:
    """How an operation that cannot be done is answered."""
    for kind, (status, cause, advice) in _STATUS.items():
        if isinstance(error, kind):
            return ApiRefused(status, cause, str(error), advice)
    if isinstance(error, StoreUnavailable):
        retry = ((b"retry-after", b"5"),)
        return ApiRefused(503, Cause.STORE_BUSY, str(error), "send the call again in a few seconds", headers=retry)
    raise error


def _write(request: IRequest, operation: Operation[Any, Any], done: Performed[Any], octets: bytes) -> bytes:
    """The answer, with its tag: the state's, and the answer's own, which may tell more than the state."""
    own = hashlib.sha256(octets).hexdigest()[:TAG_DIGITS]
    tag = own if done.tag is None else f"{done.tag}.{own}"
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"etag", f'"{tag}"'.encode("ascii"))
    if done.generation is not None:
        request.setHeader(b"smartproxy-generation", str(done.generation).encode("ascii"))
    if done.repeated:
        request.setHeader(b"idempotency-replayed", b"true")
    if operation.method == "GET":
        known = tags_of(request, b"if-none-match")
        if known is not None and ("*" in known or tag in known):
            request.setResponseCode(304)
            return b""
    elif operation.creates:
        request.setResponseCode(201)
    request.setHeader(b"content-type", b"application/json")
    return octets
