"""The client's calls to the backend's https API.

Duty: make bounded, authenticated calls with a deadline each, and report errors that say what to do. Trusts a backend
whose certificate the HTTP client checked (:mod:`smartproxy.client.address`), but accepts no answer beyond the limit of
its size. Never logs the token and never follows a redirect.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any, NoReturn

import attrs
import treq
from hyperlink import URL
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime

from smartproxy import __version__
from smartproxy.client.address import BackendHttp
from smartproxy.client.token import TokenInForce
from smartproxy.logs.severity import Severity
from smartproxy.net.tls.error_words import (
    BACKEND_NOT_TLS,
    NOT_TLS,
    NOT_VERIFIED,
    other_backend_name,
    tls_error_words,
)
from smartproxy.net.transport.endpoints import cancelling
from smartproxy.net.transport.error_words import connection_words
from smartproxy.net.transport.exchange_words import NO_HTTP, exchange_words, innermost
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import (
    API_ANSWER_OCTETS_MOST,
    API_EVENTS_OCTETS_SENT,
    API_WAIT_SECONDS,
    DOCUMENT_WHOLE_OCTETS_MOST,
)
from smartproxy.policy.loads import ServerLoad, ToldLoad
from smartproxy.policy.schema import write_object
from smartproxy.policy.session_record import SESSION_PATTERN
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.policy.versions import BACKEND, Part, PartsApart, agree

API_PREFIX = "/api/v1"
CALL_SECONDS = 20.0
"""How long one call may take, its long-poll wait not counted."""
_OURS = "is this URL the backend's?"
_PART = Part(program="smartproxy-client", version=__version__)
_SUBJECT = "api."
"""What the codes begin with that the API says without it."""


class BackendUnavailable(Exception):
    """The backend could not be reached, or what answered is not the API; a later try may succeed."""


@attrs.define(eq=False, auto_exc=True, str=False)
class BackendRefused(Exception):
    """The backend refused a call.

    :ivar status: the HTTP status.
    :ivar code: the code of the cause, such as ``api.token``.
    :ivar message: the backend's message, and what to do.
    """

    status: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} (HTTP {self.status}, {self.code})"


@attrs.frozen(kw_only=True)
class TunnelCredentials:
    """What the backend issued for the tunnel.

    :ivar certificate: PEM, the leaf first.
    :ivar not_after: ISO 8601 UTC.
    :ivar proxy_ids: the Proxy IDs of the servers that hold a licence of this site.
    :ivar authority: PEM of the site's authority.
    """

    certificate: str
    not_after: str
    proxy_ids: tuple[str, ...]
    authority: str


@attrs.frozen(kw_only=True)
class Document:
    """A configuration as the backend sent it: its ETag and its octets, not yet judged."""

    etag: str
    octets: bytes


@attrs.frozen
class Trial:
    """A test connection that an operator asked for.

    :ivar session: the id that its result names; of a wish for a live session, that session.
    :ivar partner: the partner to call; ``None`` for the station.
    :ivar wish: what is wanted, if it is no trial: ``end`` a live session, or log it at a ``level``.
    """

    session: str
    partner: str | None
    wish: str | None = None
    level: str | None = None

    @classmethod
    def of(cls, document: object) -> "Trial":
        """Read a trial from an answer of the backend.

        :raises ValueError: if it is malformed.
        """
        match document:
            case {"session": str(session), "partner": str() | None as partner, **others} if re.fullmatch(
                SESSION_PATTERN, session
            ):
                wish, level = others.get("wish"), others.get("level")
                if wish in (None, "end"):
                    return cls(session, partner, wish)
                if wish == "level" and isinstance(level, str):
                    return cls(session, partner, wish, Severity.named(level).label)
        raise ValueError("not a trial")


class Backend:
    """The backend's API, as coroutines.

    :param token: what it knows the client by; a call that it refuses for its token is made again with a new one.
    :param http: see :func:`smartproxy.client.address.backend_http`; tests give one that never opens a socket.
    :param basic: ``user:password`` from the URL, for a web server in front of the API that asks for it; the token then
        goes into a header of its own.
    """

    def __init__(
        self, url: str, token: TokenInForce, http: BackendHttp, clock: IReactorTime, *, basic: str | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = http
        self._clock = clock
        self._token = token
        self._basic = basic

    async def hello(self) -> Mapping[str, Any]:
        """Exchange versions.

        :raises BackendRefused: when the two cannot work together; the message has both versions.
        """
        answer = await self._json("GET", "/hello")
        spoken: str | None = None
        match answer.get("protocol"):
            case {"oldest": int(oldest), "newest": int(newest)}:
                spoken = f"{oldest}-{newest}"
        try:
            agree(_PART, Part.told(BACKEND, str(answer.get("version")), spoken))
        except ValueError:
            raise BackendUnavailable(f"the answer to hello is not right; {_OURS}") from None
        except PartsApart as apart:
            raise BackendRefused(426, Cause.API_VERSION, str(apart)) from apart
        return answer

    async def tunnel_certificate(self, csr: str) -> TunnelCredentials:
        """Have a certificate issued for a certificate signing request (PEM)."""
        answer = await self._json("POST", "/tunnel-certificate", {"csr": csr})
        try:
            return TunnelCredentials(
                certificate=str(answer["certificate"]),
                not_after=str(answer["not_after"]),
                proxy_ids=tuple(str(each) for each in answer["proxy_ids"]),
                authority=str(answer["authority"]),
            )
        except (KeyError, TypeError) as error:
            raise BackendUnavailable("the backend's answer to a certificate request lacks a part") from error

    async def configuration(self, etag: str | None, wait: int = API_WAIT_SECONDS) -> Document | None:
        """The configuration, or ``None`` when it is still the one named by ``etag`` after ``wait`` seconds."""
        headers = {} if etag is None else {"If-None-Match": etag}
        status, answer_headers, body = await self._call(
            "GET",
            f"/configuration?wait={wait if etag is not None else 0}",
            headers=headers,
            seconds=CALL_SECONDS + wait,
            octets_most=DOCUMENT_WHOLE_OCTETS_MOST,
        )
        if status == 304:
            return None
        if status != 200:
            raise self._refusal(status, body)
        tags = answer_headers.get("etag")
        if not tags:
            raise BackendUnavailable("the backend's configuration came without an ETag; is this URL the backend's?")
        return Document(etag=tags[0], octets=body)

    async def licences(self) -> Mapping[str, str]:
        """The licences of the site's servers, as text by Proxy ID."""
        answer = await self._json("GET", "/licences")
        licences = answer.get("licences")
        if not isinstance(licences, dict) or not all(isinstance(text, str) for text in licences.values()):
            raise BackendUnavailable("the backend's answer to a request for licences lacks a part")
        return licences

    async def trials(self, known: int | None, wait: int = API_WAIT_SECONDS) -> tuple[int, Sequence[Trial]]:
        """The newest trial's number, and the trials after the known one, as soon as there are any.

        :param known: the newest number so far; without it, the backend answers at once.
        """
        headers = {} if known is None else {"If-None-Match": f'"{known}"'}
        answer = await self._json("GET", f"/trials?wait={wait}", headers=headers, seconds=CALL_SECONDS + wait)
        newest, trials = answer.get("newest"), answer.get("trials")
        try:
            if not isinstance(newest, int) or not isinstance(trials, list):
                raise ValueError
            return newest, [Trial.of(each) for each in trials]
        except ValueError:
            raise BackendUnavailable("the backend's answer to a request for trials lacks a part") from None

    async def events(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Hand the first of these events over to be stored, as many as a call may carry, one at least; how many."""
        count = len(events)
        body = _of_events(events)
        while len(body) > API_EVENTS_OCTETS_SENT and count > 1:
            count = min(count - 1, max(1, count * API_EVENTS_OCTETS_SENT // len(body)))
            body = _of_events(events[:count])
        await self._json("POST", "/events", body=body)
        return count

    async def records(self, packed: Sequence[bytes]) -> None:
        """Hand the packed records of sessions over to be stored."""
        await self._json("POST", "/records", {"records": [b64encode(each).decode("ascii") for each in packed]})

    async def live(self, sessions: Sequence[Mapping[str, Any]], count: int) -> None:
        """Tell which sessions run.

        :param count: how many run; *sessions* may be fewer.
        """
        await self._json("POST", "/live", {"sessions": list(sessions), "count": count})

    async def loads(self, own: ToldLoad, servers: Sequence[ServerLoad]) -> None:
        """Tell the load of this client, and what its servers told of theirs."""
        told = {"own": write_object(own), "servers": [write_object(each) for each in servers]}
        await self._json("POST", "/loads", told)

    async def _json(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Mapping[str, Any]:
        if document is not None:
            body = json.dumps(document).encode()
        sent = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        status, _, answer = await self._call(method, path, headers=sent, body=body, seconds=seconds)
        if status != 200:
            raise self._refusal(status, answer)
        try:
            parsed = read(answer, octets_most=API_ANSWER_OCTETS_MOST, fractions=True)
        except DocumentRefused as refused:
            raise BackendUnavailable(
                f"the answer is not JSON as it has to be ({refused.message}); {_OURS}"
            ) from refused
        if not isinstance(parsed, dict):
            raise BackendUnavailable(f"the answer is not a JSON object; {_OURS}")
        return parsed

    async def _call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        seconds: float = CALL_SECONDS,
        octets_most: int = API_ANSWER_OCTETS_MOST,
    ) -> tuple[int, dict[str, list[str]], bytes]:
        """One call, and once more if the backend refuses the token and there is another one by now."""
        token = self._token.text
        ask = partial(self._call_with, method, path, headers, body, seconds, octets_most)
        answer = await ask(token)
        if answer[0] == 401 and self._token.renewed(token, self._clock.seconds()):
            answer = await ask(self._token.text)
        return answer

    async def _call_with(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
        octets_most: int,
        token: str,
    ) -> tuple[int, dict[str, list[str]], bytes]:
        sent = {
            **_PART.headers,
            "User-Agent": f"smartproxy-client/{__version__}",
            **headers,
        }
        if self._basic is None:
            sent["Authorization"] = f"Bearer {token}"
        else:
            sent["Authorization"] = "Basic " + b64encode(self._basic.encode()).decode("ascii")
            sent["SmartProxy-Token"] = token
        exchange = self._exchange(method, self.url + API_PREFIX + path, sent, body, octets_most)
        call = cancelling(Deferred.fromCoroutine(exchange))
        try:
            return await call.addTimeout(seconds, self._clock, onTimeoutCancel=_too_late)
        except (BackendRefused, BackendUnavailable, CancelledError):
            raise
        except Exception as error:
            raise BackendUnavailable(_reason(error, self.url)) from error

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, octets_most: int
    ) -> tuple[int, dict[str, list[str]], bytes]:
        response = await self._http.request(method, url, headers=headers, data=body)
        received = BytesIO()

        def take(octets: bytes) -> None:
            if received.tell() + len(octets) > octets_most:
                raise BackendUnavailable(f"the answer is larger than {octets_most} octets")
            received.write(octets)

        await treq.collect(response, take)
        names = {
            name.decode("ascii", "replace").lower(): [value.decode("ascii", "replace") for value in values]
            for name, values in response.headers.getAllRawHeaders()
        }
        return response.code, names, received.getvalue()

    @staticmethod
    def _refusal(status: int, body: bytes) -> Exception:
        """The exception for an answer that is not a success."""
        try:
            parsed = read(body, octets_most=API_ANSWER_OCTETS_MOST, fractions=True)
        except DocumentRefused:
            parsed = None
        match parsed:
            case {"error": str(code), "message": str(message), **others}:
                advice = others.get("advice")
                return BackendRefused(status, f"{_SUBJECT}{code}", f"{message}; {advice}" if advice else message)
        return BackendUnavailable(f"HTTP status {status} without the API's error document; {_OURS}")


def _of_events(events: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def _too_late(result: object, seconds: float) -> NoReturn:
    raise BackendUnavailable(f"no answer within {seconds:.0f} s")


def _reason(error: Exception, url: str) -> str:
    """Why a call failed, in one line, with what to do."""
    met = list(innermost(error))
    if any(isinstance(each, VerificationError | CertificateError) for each in met):
        return other_backend_name(URL.from_text(url).host)
    for each in met:
        if isinstance(each, SSL.Error):
            advice = next((_TLS_ADVICE[text] for text in tls_error_words(each) if text in _TLS_ADVICE), "")
            return f"{connection_words(each)}; {advice}" if advice else connection_words(each)
    if url.startswith("http:") and any(isinstance(each, ConnectionDone | ConnectionLost) for each in met):
        return "the connection was closed without an answer; the backend speaks https: begin its URL with https://"
    words = exchange_words(error)
    return f"{words}; {_OURS}" if words == NO_HTTP else words


_TLS_ADVICE = {
    NOT_VERIFIED: "is --backend-ca or --backend-pin what 'smartproxy authority show' prints there?",
    **dict.fromkeys(NOT_TLS, BACKEND_NOT_TLS),
}
"""What to do about an error of OpenSSL."""
