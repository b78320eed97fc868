"""A request to the API as it came in: token, body, conditions and version, read with care; and its answer, as JSON.

What is wrong is refused with :class:`ApiRefused`, which says what to do. Every refused request is an event, but a
caller that is refused a thousand times a minute must not fill the store: :class:`RefusalRate` gives each address a few
events at once and then some a minute; the next one that is written says how many were not. Trusts nothing in a request.
"""

import json
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from shlex import quote
from tempfile import TemporaryFile
from typing import IO, TypeVar

import attrs
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from smartproxy._version import __version__
from smartproxy.backend.generations import DIGEST_CHARACTERS, Tag
from smartproxy.net.leg import peer_of
from smartproxy.policy.admission import LeftOut
from smartproxy.policy.budget import Budgets
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import STORE_ID
from smartproxy.policy.limits import API_BODY_OCTETS_MOST, API_RECORDS_MOST, API_WAIT_SECONDS_MOST, Limit
from smartproxy.policy.loads import SERVERS_TOLD_MOST, ServerLoad, ToldLoad
from smartproxy.policy.portraits import TOLD_MOST, ToldSession
from smartproxy.policy.schema import ListOf, ObjectOf, declarations, kind, read_object
from smartproxy.policy.session_record import PACKED_MOST
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.policy.values import Line, Lines, ValueKind, Whole
from smartproxy.policy.versions import BACKEND, Part, PartsApart, agree

EVENTS_AT_ONCE = 10
EVENT_EVERY_SECONDS = 6.0
ADDRESSES_MOST = 1024


@attrs.define(eq=False, auto_exc=True, str=False)
class ApiRefused(Exception):
    """A request that is refused.

    :ivar status: the http status.
    :ivar cause: why.
    :ivar message: what is wrong.
    :ivar advice: what to do about it, without a capital letter and a full stop: callers append it to the message.
    :ivar faults: what is wrong with single values, where it is known: place and message.
    :ivar headers: what the answer tells beside.
    """

    status: int
    cause: Cause
    message: str
    advice: str
    faults: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def problem(self) -> dict[str, object]:
        """The body of the answer to an administrator: a problem document (RFC 9457); its type is the cause."""
        document: dict[str, object] = {
            "type": f"urn:smartproxy:problem:{self.cause}",
            "title": self.cause.meaning,
            "status": self.status,
            "detail": self.message,
            "advice": self.advice,
        }
        if self.faults:
            document["errors"] = [{"where": where, "message": message} for where, message in self.faults]
        return document

    def document(self) -> dict[str, str]:
        """The body of the answer; its error is the cause without its subject, such as ``token``."""
        return {"error": self.cause.partition(".")[2], "message": self.message, "advice": self.advice}

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}"


class RefusalRate:
    """How many refusals of an address are written down."""

    def __init__(self) -> None:
        self._budgets: Budgets[str] = Budgets(EVENTS_AT_ONCE * EVENT_EVERY_SECONDS, ADDRESSES_MOST)
        self._silent: OrderedDict[str, int] = OrderedDict()

    def admit(self, address: str, now: float) -> LeftOut | None:
        """Whether a refusal is to be written, and how many before it were not; ``None`` when it is not."""
        silent = self._silent.pop(address, 0)
        if self._budgets.take(address, 1 / EVENT_EVERY_SECONDS, now):
            return LeftOut(silent)
        self._silent[address] = silent + 1
        if len(self._silent) > ADDRESSES_MOST:
            self._silent.popitem(last=False)
        return None


LIST_MEDIA = frozenset({"application/pkix-crl", "application/x-pem-file", "application/octet-stream"})
"""Types of a body that is a file with revocation lists."""
CSR_CHARACTERS_MOST = 16 * 1024
TOKEN_CHARACTERS_MOST = 200

_BEARER = re.compile(r"bearer +([!-~]{1,200})", re.IGNORECASE)
_ETAG = re.compile(rf'"([0-9]+)(?:\.({STORE_ID})\.([0-9a-f]{{0,{DIGEST_CHARACTERS}}}))?"')
_ETAG_MOST = 64
_GENERATION_MOST = 2**63 - 1


def address_of(request: IRequest) -> str:
    """The address that a request came from, without its port; an IPv4 caller of a port on ``::`` has its IPv4 one."""
    peer = peer_of(request.getClientAddress())
    return "unknown" if peer is None else peer.host


def header_of(request: IRequest, name: bytes) -> str:
    """The value of a header, without blanks around it, each octet as the character of its number; empty for none."""
    found: bytes | None = request.getHeader(name)
    return (found or b"").decode("latin-1").strip()


def lines_of(request: IRequest, name: str) -> list[str]:
    """All lines of a header, in their order."""
    return [each.decode("latin-1") for each in request.requestHeaders.getRawHeaders(name.encode("ascii"), [])]


def media_of(request: IRequest) -> str:
    """The type of a body, without its parameters."""
    return header_of(request, b"content-type").partition(";")[0].strip().lower()


def token_of(request: IRequest) -> str:
    """The caller's token: of ``Authorization: Bearer``, or else of ``SmartProxy-Token``.

    The second is for sites where a web server in front of the backend needs the first for itself.

    :raises ApiRefused: when there is none, or when it holds characters that no token has.
    """
    match = _BEARER.fullmatch(header_of(request, b"authorization"))
    token = match[1] if match else header_of(request, b"smartproxy-token")
    if not token:
        raise ApiRefused(
            401, Cause.API_NO_TOKEN, "the call has no token", "send the header Authorization: Bearer TOKEN"
        )
    if not token.isascii() or len(token) > TOKEN_CHARACTERS_MOST:
        raise token_refused()
    return token


def token_refused() -> ApiRefused:
    """The refusal of a token that does not count; it does not say why."""
    return ApiRefused(
        401,
        Cause.API_TOKEN,
        "the token is not valid",
        "give the client the token that 'smartproxy client add' printed",
    )


def address_refused(name: str, address: str) -> ApiRefused:
    """The refusal of a client that shows its token, but calls from another address than it is bound to.

    The address that it is bound to is left out: whoever stole a token does not learn where it would be accepted.

    :param name: the client's.
    :param address: where the call came from.
    """
    return ApiRefused(
        403,
        Cause.API_ADDRESS,
        f"the token is that of client {name}, which is bound to another address than {address}",
        f"call from the right address, or run 'smartproxy client bind {quote(name)} --address {quote(address)}'",
    )


def removed_refused() -> ApiRefused:
    """The refusal of a client that shows its token, but was removed or disabled: it is to end its tunnels."""
    return ApiRefused(
        401,
        Cause.API_REMOVED,
        "the client was removed or disabled",
        "enable it with 'smartproxy client enable', or add it again and give it the new token",
    )


@attrs.frozen
class _Anything:
    """Any value: an event is judged by itself, so that a wrong one does not keep the others back."""

    def read(self, value: object, where: str) -> object:
        """Take the value as it is."""
        return value

    def write(self, value: object) -> object:
        """Give the value as it is."""
        return value


@attrs.frozen
class _Alone:
    """A value that stands or falls by itself: in the place of one that is not of its kind stands the refusal."""

    within: ValueKind

    def read(self, value: object, where: str) -> object:
        """The value, or why it is none."""
        if isinstance(value, DocumentRefused):
            return value
        try:
            return self.within.read(value, where)
        except DocumentRefused as refused:
            return refused

    def write(self, value: object) -> object:
        """Give the value as it is written."""
        return self.within.write(value)


@attrs.frozen(kw_only=True)
class CertificateWanted:
    """The body of a call for a tunnel certificate.

    :ivar csr: the certificate request, as PEM.
    """

    csr: str = attrs.field(metadata=kind(Lines(most=CSR_CHARACTERS_MOST)))


@attrs.frozen(kw_only=True)
class CarriedEvents:
    """The body of a call that carries events.

    :ivar events: in place of one that is JSON, but refused by the strict reader, stands the refusal.
    """

    events: tuple[object, ...] = attrs.field(metadata=kind(ListOf(item=_Anything(), most=API_BODY_OCTETS_MOST)))


@attrs.frozen(kw_only=True)
class CarriedRecords:
    """The body of a call that carries records of sessions.

    :ivar records: each packed, in base64.
    """

    records: tuple[str, ...] = attrs.field(
        metadata=kind(ListOf(item=Line(most=2 * PACKED_MOST), most=API_RECORDS_MOST))
    )


@attrs.frozen(kw_only=True)
class RunningSessions:
    """The body of a call that tells which sessions a client runs.

    :ivar sessions: in the place of one that is wrong stands the refusal.
    :ivar count: how many run; *sessions* may be fewer.
    """

    sessions: tuple[ToldSession | DocumentRefused, ...] = attrs.field(
        metadata=kind(ListOf(item=_Alone(ObjectOf(ToldSession)), most=TOLD_MOST))
    )
    count: int = attrs.field(metadata=kind(Whole(Limit(default=0, least=0, most=10**6, unit="sessions"))))


@attrs.frozen(kw_only=True)
class LoadsTold:
    """The body of a call that tells the load of a client, and what its servers told of theirs."""

    own: ToldLoad = attrs.field(metadata=kind(ObjectOf(ToldLoad)))
    servers: tuple[ServerLoad, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(ServerLoad), most=SERVERS_TOLD_MOST))
    )


_Body = TypeVar("_Body", bound=attrs.AttrsInstance)


def body_of(request: IRequest, cls: type[_Body], *, item_by_item: bool = False) -> _Body:
    """What a request carries, read as strictly as the configuration.

    :param item_by_item: whether the items of its lists stand or fall alone.
    :raises ApiRefused: when it is larger than allowed, is no JSON, is not what the class declares, or was not kept
        because its caller could not be found out in time.
    """
    if getattr(request, "body_refused", False):
        raise ApiRefused(503, Cause.STORE_BUSY, "the store is busy", "send the call again in a few seconds")
    octets = b"" if request.content is None else request.content.read(API_BODY_OCTETS_MOST + 1)
    if len(octets) > API_BODY_OCTETS_MOST:
        raise too_large()
    try:
        document = read(octets, octets_most=API_BODY_OCTETS_MOST, fractions=True, item_by_item=item_by_item)
        return read_object(cls, document)
    except DocumentRefused as refused:
        keys = ", ".join(each.key for each in declarations(cls))
        raise ApiRefused(
            400, Cause.API_BODY, f"the body is not right: {refused}", f"send one JSON object, in UTF-8, with {keys}"
        ) from refused


def kept_body(request: IRequest, *, on_disk: bool = False) -> IO[bytes]:
    """What a request carried, as a file that outlives it.

    :param on_disk: whether it has to be one on the disk; what is large always is.
    """
    content = request.content
    if content is not None and not isinstance(content, BytesIO):
        return os.fdopen(os.dup(content.fileno()), "r+b")
    octets = b"" if content is None else content.getvalue()
    if not on_disk:
        return BytesIO(octets)
    file = TemporaryFile()  # noqa: SIM115 - closed when nobody holds it
    file.write(octets)
    return file


def method_refused(methods: Iterable[str]) -> ApiRefused:
    """The refusal of a method that a path does not take.

    :param methods: those that it takes.
    """
    known = ", ".join(sorted(methods))
    headers = ((b"allow", known.encode("ascii")),)
    return ApiRefused(405, Cause.API_METHOD, "the path does not take this method", f"use {known}", headers=headers)


def too_large(most: int = API_BODY_OCTETS_MOST) -> ApiRefused:
    """The refusal of a body that is larger than allowed."""
    return ApiRefused(413, Cause.API_TOO_LARGE, "the body is too large", f"send {most} octets at most")


def known_tag(request: IRequest) -> Tag | None:
    """What the caller has, by ``If-None-Match``; ``None`` when it has nothing, or nothing of ours.

    :raises ApiRefused: when the header is longer, or its number larger, than any that this backend gives.
    """
    tag = header_of(request, b"if-none-match")
    match = _ETAG.fullmatch(tag) if len(tag) <= _ETAG_MOST else None
    known = Tag(int(match[1]), match[2], match[3] or "") if match else None
    if len(tag) > _ETAG_MOST or (known is not None and known.number > _GENERATION_MOST):
        raise ApiRefused(
            400, Cause.API_ETAG, "If-None-Match is out of range", "send the ETag of the last answer, or none"
        )
    return known


def wait_seconds(request: IRequest) -> int:
    """How long the caller is willing to wait for a change.

    :raises ApiRefused: when that is not a number of seconds that is allowed.
    """
    given = (request.args or {}).get(b"wait", [b"0"])[-1]
    if not given.isdigit() or len(given) > 3 or int(given) > API_WAIT_SECONDS_MOST:
        raise ApiRefused(400, Cause.API_WAIT, "wait is not a number of seconds", f"send 0 to {API_WAIT_SECONDS_MOST}")
    return int(given)


def json_answer(
    request: IRequest, document: Mapping[str, object], status: int = 200, media: bytes = b"application/json"
) -> bytes:
    """A document as the answer."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", media)
    request.setHeader(b"cache-control", b"no-store")
    return json.dumps(document).encode("utf-8")


class ReadableRequests(Resource):
    """Hands requests to a resource, except those that it would drop without a word to anybody but the log.

    :param unreadable: answers those.
    :param faults: what the resource raises for a path or a host that is none, such as a host ``a..b``.
    """

    isLeaf = True

    def __init__(
        self,
        within: IResource,
        unreadable: Callable[[IRequest], bytes],
        faults: tuple[type[Exception], ...],
    ) -> None:
        Resource.__init__(self)
        self._within = within
        self._unreadable = unreadable
        self._faults = faults

    def render(self, request: Request) -> bytes | int:
        """Answer a request."""
        try:
            for octets in (
                request.method,
                request.getRequestHostname(),
                *(request.prepath or ()),
                *(request.postpath or ()),
            ):
                octets.decode("utf-8")
            answer: bytes | int = self._within.render(request)
        except self._faults:
            return self._unreadable(request)
        return answer


API = 1
"""What stands in the paths."""
_VERSION_CHARACTERS_MOST = 64

_VERSION = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})(?:\.[0-9]{1,5})?(?:[-.+]?[0-9A-Za-z]{1,20}){0,4}")


def is_version(text: str) -> bool:
    """Whether a text can be the version of a client."""
    return _VERSION.fullmatch(text) is not None


def told_version(request: IRequest) -> str | None:
    """What a caller says to be its version, whatever that is; ``None`` for one that says nothing."""
    return header_of(request, b"smartproxy-version")[:_VERSION_CHARACTERS_MOST] or None


def see_version(request: IRequest, program: str, facts: dict[str, object]) -> None:
    """Let a caller on that speaks what this backend does, or that says nothing of it.

    :param program: what the caller is.
    :param facts: takes what the log is to know about a refused call.
    :raises ApiRefused: with both versions and what to update.
    """
    version = told_version(request)
    if version is None:
        return
    try:
        check_caller(program, version, header_of(request, b"smartproxy-protocol")[:_VERSION_CHARACTERS_MOST] or None)
    except PartsApart as error:
        facts.update(theirs=version, ours=__version__)
        raise ApiRefused(426, Cause.API_VERSION, error.message, error.advice) from error


def check_caller(program: str, version: str, spoken: str | None, ours: str = __version__) -> None:
    """See whether a caller works with this backend.

    :param program: what it is.
    :param version: its version.
    :param spoken: the protocols that it says to speak.
    :raises PartsApart: naming both versions and what to update, or saying that what the client says is malformed.
    """
    if not is_version(version):
        raise PartsApart("the header SmartProxy-Version holds no version", f"send one such as {ours}")
    backend = Part(program=BACKEND, version=ours)
    try:
        caller = Part.told(program, version, spoken)
    except ValueError:
        raise PartsApart(
            "the header SmartProxy-Protocol holds no protocol's number", f"send one such as {backend.spoken}"
        ) from None
    agree(caller, backend)
