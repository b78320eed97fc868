"""Calls of the admin page without a browser: what is sent is chosen octet by octet, and what comes back is shown whole.

Also who calls: users of each role, whose logins are put into the store, because hashing a password takes half a second;
and the table of all that can be asked, with something in the place of each name in a path.
"""

import http.client
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from secrets import token_hex
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs
from sqlalchemy import select

from smartproxy.backend import users
from smartproxy.backend.page.pages import ROUTES
from smartproxy.backend.page.routes import Route
from smartproxy.backend.page.visit import COOKIE
from smartproxy.backend.schema import CaRow, EventRow, GenerationRow, LicenceRow, PartnerRow
from smartproxy.backend.store import Store
from smartproxy.backend.user_tables import UserRow
from smartproxy.policy.permissions import AdminRole, UserEntry
from tests.process.clock import PATIENCE_SECONDS

FORM: Final = "application/x-www-form-urlencoded"
STREAM: Final = "text/event-stream"
NO_HASH: Final = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQxMjM0NTY3$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
"""In the place of a password's hash: no password has it."""

BROWSER: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"

USERS: Final = {
    AdminRole.VIEWER: "vera",
    AdminRole.AUDITOR: "axel",
    AdminRole.OPERATOR: "olga",
    AdminRole.ADMINISTRATOR: "alice",
}
"""A user of each role."""


@attrs.frozen(kw_only=True)
class PageAnswer:
    """What came back.

    :ivar body: its octets; of a stream of events none, for it has no end.
    """

    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    body: bytes

    @property
    def text(self) -> str:
        """The document."""
        return self.body.decode("utf-8")

    @property
    def is_page(self) -> bool:
        """Whether it is a whole page."""
        return self.headers.get("content-type", "").startswith("text/html") and b"<!doctype" in self.body[:200].lower()

    @property
    def place(self) -> str:
        """Where it sends the browser; empty for nowhere."""
        return self.headers.get("location", "")


class PageCaller:
    """Somebody who calls the page, with a cookie or without one.

    :param cookie: of a login; empty for somebody who has none.
    :param source: the address to call from.
    """

    def __init__(self, port: int, ca: str, cookie: str = "", *, host: str = "localhost", source: str = "") -> None:
        self.origin = f"https://{host}:{port}"
        self.cookie = cookie
        self._host, self._port, self._source = host, port, (source, 0)
        self._context = ssl.create_default_context(cafile=ca)
        self._line: http.client.HTTPSConnection | None = None

    @property
    def token(self) -> str:
        """The form token of this cookie."""
        return users.form_token(self.cookie)

    def get(self, path: str, **headers: str) -> PageAnswer:
        """Ask for a page, as the address line of a browser does."""
        return self._call("GET", path, None, headers)

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, *, token: str | None = None, **headers: str
    ) -> PageAnswer:
        """Send a form of the page's own.

        :param token: the form token; the right one if none is given, and none at all if it is empty.
        """
        told = self.token if token is None else token
        form = {**(fields or {}), **({"csrf": told} if told else {})}
        usual = {"Content-Type": FORM, "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        return self._call("POST", path, urlencode(form, doseq=True), {**usual, **headers})

    def send_file(self, path: str, name: str, octets: bytes) -> PageAnswer:
        """Send a form with a file in it, as a browser does for one that was dropped."""
        bound, form = "-" * 8 + token_hex(8), 'Content-Disposition: form-data; name="{}"{}\r\n\r\n'
        head = f"--{bound}\r\n{form.format('csrf', '')}{self.token}\r\n--{bound}\r\n"
        head += form.format("file", f'; filename="{name}"')
        body = head.encode() + octets + f"\r\n--{bound}--\r\n".encode()
        media = f"multipart/form-data; boundary={bound}"
        usual = {"Content-Type": media, "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        return self._call("POST", path, body, usual)

    def _call(self, method: str, path: str, body: str | bytes | None, headers: Mapping[str, str]) -> PageAnswer:
        sent = {key.replace("_", "-"): value for key, value in headers.items() if value}
        if self.cookie:
            sent["Cookie"] = f"{COOKIE.decode()}={self.cookie}"
        if self._line is None:
            self._line = http.client.HTTPSConnection(
                self._host, self._port, timeout=PATIENCE_SECONDS, context=self._context, source_address=self._source
            )
        self._line.request(method, path, body, sent)
        answer = self._line.getresponse()
        stream = (answer.getheader("content-type") or "").startswith(STREAM)
        octets = b"" if stream else answer.read()
        if stream or answer.will_close:
            self.close()
        return PageAnswer(
            status=answer.status,
            headers={key.lower(): value for key, value in answer.getheaders()},
            cookies=tuple(answer.headers.get_all("set-cookie") or ()),
            body=octets,
        )

    def close(self) -> None:
        """End the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None


def add_user(store: Store, role: AdminRole) -> None:
    """Add the user of a role, who has no password."""
    name, now = USERS[role], datetime.now(UTC)
    entry = UserEntry(name=name, role=role, created=now, created_by="tests", password_set=now)
    with store.writing() as session:
        session.add(UserRow(name=name, entry=entry, password=NO_HASH))


def log_in(store: Store, role: AdminRole) -> str:
    """Log the user of a role in; the cookie.

    :raises NotFound: if there is none.
    """
    name = USERS[role]
    with store.reading() as session:
        proved = users.find(session, name).password
    return users.log_in(store, name, proved, datetime.now(UTC), "10.20.1.17", BROWSER)


def examples(store: Store) -> dict[str, str]:
    """Something that is there for each name in a path: by the path's first part and the name, or by the part alone."""
    with store.reading() as session:

        def newest(*names: str) -> EventRow | None:
            query = select(EventRow).where(EventRow.name.in_(names)).order_by(EventRow.id.desc()).limit(1)
            return session.scalars(query).first()

        partner = session.scalars(select(PartnerRow.name).order_by(PartnerRow.id)).first()
        ca = session.scalars(select(CaRow.name).order_by(CaRow.id)).first()
        generation = session.scalars(select(GenerationRow.number).order_by(GenerationRow.number.desc())).first()
        ended, refused = newest("session.ended"), newest("certificate.refused")
        return {
            "partners": partner or "nothing",
            "certificates": ca or "nothing",
            "sessions": (ended and ended.session) or "nothing",
            "refusals": str(refused.id) if refused else "0",
            "events": str(refused.id) if refused else "0",
            "history": str(generation or 0),
            "users": USERS[AdminRole.ADMINISTRATOR],
            "settings": "server.limits.sessions",
            "nodes": session.scalars(select(LicenceRow.proxy_id)).first() or "nothing",
        }


def path_of(route: Route, parts: Mapping[str, str] = MappingProxyType({})) -> str:
    """A path that a route answers at; what no part is given for names nothing."""
    family = route.path.split("/")[1]

    def filled(found: re.Match[str]) -> str:
        name = found[1].rpartition(":")[2]
        return quote(parts.get(f"{family}/{name}", parts.get(family, "nothing")), safe="")

    return re.sub(r"<([^>]*)>", filled, route.path)


def whole_pages(caller: PageCaller, parts: Mapping[str, str]) -> dict[str, PageAnswer]:
    """The pages that a user can look at, by path: not their parts, what is downloaded, or what is not there."""
    found = {path_of(route, parts): route for route in ROUTES if route.method == "GET" and not route.by_itself}
    answers = {path: caller.get(path) for path in found}
    return {path: answer for path, answer in answers.items() if answer.status == 200 and answer.is_page}
