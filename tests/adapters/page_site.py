"""The backend's page in memory: its site, its store, its clock, and a browser that keeps cookies."""

import functools
import html
import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlencode

from argon2 import PasswordHasher
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from smartproxy.backend import passwords, users
from smartproxy.backend.first_start import SetupLink
from smartproxy.backend.page.door import Door
from smartproxy.backend.page.pages import ROUTES
from smartproxy.backend.page.rendering import Renderer
from smartproxy.backend.page.routes import Route, RouteMap
from smartproxy.backend.page.serving import PageRoot
from smartproxy.backend.page.visit import Backstage
from smartproxy.backend.service import Front
from smartproxy.ctl.statuses import BackendStatus
from smartproxy.policy.page_access import PageAccess, ReverseProxies
from smartproxy.policy.permissions import AdminRole
from tests.adapters.api_site import Answer, ApiCase, _Octets

PASSWORD = "four words of somebody"
ORIGIN = "https://backend.example"
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


def words(answer: Answer) -> str:
    """What a reader sees of a page: its text, without marks of HTML."""
    content = re.sub(r"(?s)^.*<main[^>]*>", "", answer.body.decode())
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", content.replace("<wbr>", ""))).split())


class Browser:
    """A browser: it keeps cookies, and sends the token of the last page that it got."""

    def __init__(self, agent: RequestTraversalAgent, **headers: str) -> None:
        self.cookies: dict[str, str] = {}
        self.token = ""
        self._agent = agent
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def start(self, method: str, path: str, body: bytes | None = None, **headers: str) -> "Deferred[Answer]":
        """Begin a request."""
        given = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self._agent.request(
            method.encode(),
            f"{ORIGIN}{path}".encode(),
            Headers({name: [value] for name, value in given.items() if value}),
            None if body is None else _Octets(body),
        )
        return cast("Deferred[Answer]", response.addCallback(self._read))

    def get(self, path: str, **headers: str) -> Answer:
        """What is at a path."""
        return self._done(self.start("GET", path, None, **headers))

    def post(self, path: str, fields: Mapping[str, object] | None = None, **headers: str) -> Answer:
        """Send a form, with the token of the last page unless the fields have one."""
        body = urlencode({"csrf": self.token, **(fields or {})}, doseq=True).encode()
        given = {
            "Content_Type": "application/x-www-form-urlencoded",
            "Origin": ORIGIN,
            "Sec_Fetch_Site": "same-origin",
            **headers,
        }
        return self._done(self.start("POST", path, body, **given))

    def upload(self, path: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> Answer:
        """Send a form with files: each field's file name and octets."""
        parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in {"csrf": self.token, **fields}.items()]
        parts += [
            f'name="{name}"; filename="{file}"\r\n\r\n'.encode() + octets for name, (file, octets) in files.items()
        ]
        body = b"".join(b"--limit\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
        return self._done(
            self.start("POST", path, body + b"--limit--\r\n", Content_Type="multipart/form-data; boundary=limit")
        )

    def log_in(self, name: str, password: str = PASSWORD) -> Answer:
        """Log in."""
        self.get("/login")
        return self.post("/login", {"name": name, "password": password})

    def _done(self, waiting: "Deferred[Answer]") -> Answer:
        found: list[Answer] = []
        waiting.addCallback(found.append)
        for _ in range(50):
            self._agent.flush()
        if not found:
            waiting.addErrback(lambda failure: failure.raiseException())
            raise AssertionError("no answer")
        return found[0]

    def _read(self, response: IResponse) -> "Deferred[Answer]":
        raw = list(response.headers.getAllRawHeaders())
        for name, values in raw:
            if name.lower() == b"set-cookie":
                for value in values:
                    key, _, rest = value.decode().partition("=")
                    self.cookies[key] = rest.partition(";")[0]
        headers = {name.decode().lower(): ", ".join(each.decode() for each in values) for name, values in raw}

        def done(body: bytes) -> Answer:
            token = _TOKEN.search(body.decode("utf-8", "replace"))
            self.token = token[1] if token else self.token
            return Answer(response.code, headers, body)

        return readBody(response).addCallback(done)


@functools.cache
def _renderer() -> Renderer:
    """One for all tests: compiling the templates takes longer than most of them."""
    return Renderer()


class PageCase(ApiCase):
    """A test with the page, beside the API, and users: alice, an administrator, olga, an operator, and vera, a viewer.

    :ivar pages: the routes that are served.
    """

    pages: tuple[Route, ...] = ROUTES

    def setUp(self) -> None:
        """Make page and users; hashes cost nothing here."""
        self.patch(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        super().setUp()
        if self.founded:
            with self.change() as change:
                for name, role in (
                    ("alice", AdminRole.ADMINISTRATOR),
                    ("olga", AdminRole.OPERATOR),
                    ("vera", AdminRole.VIEWER),
                ):
                    users.add(change, name, role, PASSWORD)
        self.condition: BackendStatus | None = None
        self.access = PageAccess()
        self.backstage = Backstage(
            store=self.store,
            runner=self.runner(),
            events=self.events,
            clock=self.clock,
            renderer=_renderer(),
            routes=RouteMap(self.pages),
            site=lambda: "Muster GmbH",
            door=Door(self.clock, self.runner()),
            condition=self._tell,
            link=SetupLink(self.clock),
            proxies=lambda: ReverseProxies(self.access),
        )
        self.root = PageRoot(self.backstage)
        self.agent = RequestTraversalAgent(Front(self.api, self.root))

    async def _tell(self) -> BackendStatus | None:
        return self.condition

    def browser(self, user: str = "", **headers: str) -> Browser:
        """A browser, in which a user is logged in if one is named."""
        made = Browser(self.agent, **headers)
        if user:
            self.assertEqual(made.log_in(user).status, 303)
            made.get("/")
        return made

    def told_of(self, name: str) -> list[dict[str, object]]:
        """The events of a name that were told."""
        return [dict(each) for each in self.told if each["name"] == name]
