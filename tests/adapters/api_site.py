"""The backend's API in memory: its site, its store and its clock, without a socket or a thread."""

import json
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import attrs
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from smartproxy.backend import clients
from smartproxy.backend.api import Api
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.store import Runner
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from tests.unit.sites import NOW, SiteCase

_P = ParamSpec("_P")
_T = TypeVar("_T")


class AtOnce:
    """Runs work where it stands."""

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run it."""
        return maybeDeferred(work, *args, **kwargs)


class Later(AtOnce):
    """Runs work when it is let: what was begun before waits."""

    def __init__(self) -> None:
        self._free: Deferred[None] = Deferred()

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run it, now or then."""
        done: Deferred[_T] = Deferred()
        self._free.addCallback(lambda _: AtOnce.run(self, work, *args, **kwargs).chainDeferred(done))
        return done

    def release(self) -> None:
        """Let it run."""
        self._free.callback(None)


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class ApiCase(SiteCase):
    """A test with an API that serves the site; if it is founded, with a client, ``inner``, that has ``self.token``."""

    def setUp(self) -> None:
        """Make the API."""
        super().setUp()
        self.token = ""
        if self.founded:
            with self.change() as change:
                self.token = clients.add(change, "inner")
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.told: list[dict[str, Value]] = []
        self.events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.api = Api(ClientRequests(self.store), self.runner(), self.events, self.clock)
        self.agent = RequestTraversalAgent(self.api.resource())

    def runner(self) -> Runner:
        """What runs the store's work."""
        return AtOnce()

    def start(
        self, method: str, path: str, body: bytes | None = None, *, token: str | None = "", **headers: str
    ) -> Deferred[Answer]:
        """Begin a call, with the client's token unless told otherwise; header names have ``_`` for ``-``."""
        given = {name.replace("_", "-"): [value] for name, value in headers.items()}
        if token is not None and "Authorization" not in given:
            given["Authorization"] = [f"Bearer {token or self.token}"]
        producer = None if body is None else _Octets(body)
        response = self.agent.request(
            method.encode(), b"https://backend.example/api/v1" + path.encode(), Headers(given), producer
        )
        return cast("Deferred[Answer]", response.addCallback(self._read))

    def call(self, method: str, path: str, body: object = None, **given: str | None) -> Answer:
        """A call that is answered at once."""
        octets = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        waiting = self.start(method, path, octets, **given)  # type: ignore[arg-type]  # headers and token by name
        self.agent.flush()
        return self.successResultOf(waiting)

    def _read(self, response: IResponse) -> Deferred[Answer]:
        headers = {name.decode().lower(): values[0].decode() for name, values in response.headers.getAllRawHeaders()}
        return readBody(response).addCallback(lambda body: Answer(response.code, headers, body))

    def refusals(self) -> list[dict[str, Value]]:
        """The refused calls that were told."""
        return [each for each in self.told if each["name"] == "backend.call_refused"]


@implementer(IBodyProducer)
class _Octets:
    """A body that is sent at once."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.length = len(octets)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Send it."""
        consumer.write(self._octets)
        return succeed(None)

    def stopProducing(self) -> None:
        """Nothing is left to stop."""

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""
