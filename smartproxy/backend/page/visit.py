"""A visit: one request of the page, as the function of a route sees it.

It knows who is logged in, calls operations in that user's name, reads the form that was sent, and makes the answer: a
rendered template, or a redirect with something to tell.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from smartproxy.backend.change import Channel, judged
from smartproxy.backend.errors import EntryRefused
from smartproxy.backend.first_start import SetupLink
from smartproxy.backend.operations.operation import Answer, Caller, Effect, Input, Operation
from smartproxy.backend.operations.performing import ANYHOW, Performed, Rehearsed, Terms, perform
from smartproxy.backend.operations.shapes import EntryDifference
from smartproxy.backend.page.differences import Row, rows_of
from smartproxy.backend.page.door import Door
from smartproxy.backend.page.left_messages import left_by
from smartproxy.backend.page.navigation import NavigationSection, sections_for
from smartproxy.backend.page.rendering import Renderer
from smartproxy.backend.page.routes import Needs, Route, RouteMap, Unrouted, scopes_of
from smartproxy.backend.page.sent_forms import SentForm
from smartproxy.backend.page.texts import names
from smartproxy.backend.requests import header_of
from smartproxy.backend.states import EntryKind
from smartproxy.backend.store import Runner, Store
from smartproxy.backend.users import LoggedIn, form_token, logged_in
from smartproxy.ctl.statuses import BackendStatus
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.page_access import Reached, ReverseProxies

COOKIE = b"__Host-smartproxy"
LOOK_COOKIE = b"__Host-smartproxy-look"
TOLD_COOKIE = b"__Host-smartproxy-told"
THEMES = ("system", "light", "dark")
LOGIN_ENDED = b"event: ended\ndata: \n\n"
"""Tells a page that is told of something as it goes on that its login has ended: it loads itself anew."""


@attrs.define(eq=False, auto_exc=True, str=False)
class PageRefused(Exception):
    """A request that is refused, with a page that says why.

    :ivar status: the http status.
    :ivar title: what is the case, in a few words.
    :ivar message: why, in sentences.
    :ivar cause: what is written down of it; nothing is without.
    """

    status: int
    title: str
    message: str
    cause: Cause | None = None

    def __str__(self) -> str:
        return f"{self.title}: {self.message}"


@attrs.frozen(kw_only=True, eq=False)
class Backstage:
    """What the page works with.

    :ivar site: tells the name of the site; empty before there is one.
    :ivar link: by which a site is set up that has no administrator yet.
    :ivar door: lets users in.
    :ivar condition: tells how the backend is; ``smartproxy ctl status`` tells the same.
    :ivar proxies: tells which reverse proxies are in front of the page.
    """

    store: Store
    runner: Runner
    events: Events
    clock: IReactorTime
    renderer: Renderer
    routes: RouteMap
    site: Callable[[], str]
    door: Door
    condition: Callable[[], Awaitable[BackendStatus | None]]
    link: SetupLink
    proxies: Callable[[], ReverseProxies]


@attrs.define(kw_only=True, eq=False)
class PageVisit:
    """One request.

    :ivar reached: where the request came from, and which host it called.
    :ivar cookie: the browser's; of somebody who is logged in it is the login's.
    :ivar user: who is logged in, if anybody is.
    :ivar named: what the path names.
    :ivar form: what was sent.
    :ivar language: the code of the reader's language.
    :ivar theme: the theme that the reader chose.
    :ivar told: what the page before left to tell.
    :ivar undoable: the generation that this request made, if it can be undone.
    :ivar unchanged: whether the last change that it wanted was in force already.
    """

    request: Request
    backstage: Backstage
    reached: Reached
    route: Route | None = None
    cookie: str
    user: LoggedIn | None = None
    named: Mapping[str, str] = attrs.field(factory=dict)
    form: SentForm = attrs.field(factory=SentForm)
    language: str
    theme: str = "system"
    told: Mapping[str, str] | None = None
    undoable: int | None = None
    unchanged: bool = False
    _fields: Counter[str] = attrs.field(factory=Counter, init=False)

    @property
    def path(self) -> str:
        """The path that was asked for, as it came."""
        path: bytes = self.request.path
        return path.decode("ascii", "replace")

    @property
    def here(self) -> str:
        """Where the reader is, to come back to: path and query of what is looked at."""
        request = self.request
        uri: bytes = request.uri if request.method == b"GET" else b"/"
        return uri.decode("ascii", "replace")

    @property
    def languages(self) -> list[tuple[str, str]]:
        """The languages that the reader can choose: code and name."""
        return names(self.backstage.renderer.languages)

    @property
    def form_token(self) -> str:
        """What a form of this browser carries."""
        return form_token(self.cookie)

    @property
    def partial(self) -> bool:
        """Whether htmx asks for a part of a page."""
        return bool(header_of(self.request, b"hx-request"))

    def field_id(self, name: str) -> str:
        """What a field of this name is known by on the page: a label belongs to one field, and forms share names."""
        self._fields[name] += 1
        return name if self._fields[name] == 1 else f"{name}-{self._fields[name]}"

    @property
    def caller(self) -> Caller:
        """Who calls operations."""
        if self.user is None:
            raise PageRefused(401, self.text("Please log in"), self.text("The page is for users of this site."))
        return Caller(name=self.user.name, scopes=self.user.role.scopes, channel=Channel.PAGE)

    @property
    def now(self) -> datetime:
        """The time."""
        return now(self.backstage.clock)

    @property
    def address(self) -> str:
        """Where the request came from."""
        return self.reached.address

    async def still_good(self) -> bool:
        """Whether the login of this request lasts, and its user may do what it could then; this is no activity."""
        parts = self.backstage
        found = await parts.runner.run(logged_in, parts.store, self.cookie, self.now, active=False)
        return found == self.user

    def may(self, needs: Needs | str) -> bool:
        """Whether the user has what a route needs, or a scope."""
        if self.user is None:
            return False
        scopes = {needs} if isinstance(needs, str) else scopes_of(needs)
        return all(self.caller.may(each) for each in scopes)

    def reaches(self, path: str, *, posted: bool = False) -> bool:
        """Whether there is a page at a path, or what a button sends to, and the user may use it."""
        try:
            route, _ = self.backstage.routes.find("POST" if posted else "GET", path)
        except Unrouted:
            return False
        return self.may(route.needs)

    def argument(self, name: str) -> str:
        """The last value that the address gives a name; empty for none."""
        values: list[bytes] = (self.request.args or {}).get(name.encode("utf-8"), [b""])
        return values[-1].decode("utf-8", "replace").strip()

    @property
    def terms(self) -> Terms:
        """The terms of a change for which the form that was sent asks why."""
        return Terms(comment=self.form.one("comment") or None)

    async def call(
        self, operation: Operation[Input, Answer], wanted: Input, terms: Terms = ANYHOW
    ) -> Performed[Answer]:
        """Carry an operation out in the user's name.

        :raises BackendError: when it cannot be done.
        :raises Rehearsed: for a dry run: it could be done.
        """
        return await self.call_as(self.caller, operation, wanted, terms)

    async def rehearse(self, operation: Operation[Input, Answer], wanted: Input, terms: Terms = ANYHOW) -> Rehearsed:
        """What an operation would do in the user's name; nothing is changed.

        :raises BackendError: when it cannot be done.
        """
        try:
            await self.call(operation, wanted, attrs.evolve(terms, dry_run=True))
        except Rehearsed as rehearsed:
            return rehearsed
        raise AssertionError

    async def call_as(
        self, caller: Caller, operation: Operation[Input, Answer], wanted: Input, terms: Terms = ANYHOW
    ) -> Performed[Answer]:
        """Carry an operation out in somebody's name; what the declared kinds would not take is refused.

        :raises BackendError: when it cannot be done.
        """
        parts = self.backstage

        def work() -> Performed[Answer]:
            return perform(parts.store, operation, judged(wanted, operation.words), caller, self.now, terms)

        done = await parts.runner.run(work)
        if done.generation is not None:
            self.undoable = done.generation if done.undoable else None
        self.unchanged = operation.effect is Effect.CHANGE and done.generation is None and not done.repeated
        return done

    async def rows(
        self, differences: Iterable[EntryDifference], about: tuple[EntryKind, str] | None = None
    ) -> list[Row]:
        """The rows of some differences, in the reader's language; certificates are read in a thread.

        :param about: the entry that the reader is looking at: its rows do not name it.
        """
        return await self.backstage.runner.run(rows_of, differences, about, self.text)

    def text(self, message: str, **values: object) -> str:
        """A text in the reader's language."""
        text = self.backstage.renderer.languages[self.language].gettext(message)
        return text % values if values else text

    def answered(self, error: Exception) -> str:
        """What an operation answered; where a value may not be, what its field is called in the reader's language."""
        if not isinstance(error, EntryRefused):
            return str(error)
        called = error.field.replace("_", " ")
        label = self.text(called)
        if label == called:
            label = self.text(called.capitalize())
        wrong = self.backstage.renderer.said[self.language].plain(error.wrong)
        return f"{label[:1].upper()}{label[1:]}: {wrong}"

    def counted(self, one: str, many: str, count: int, **values: object) -> str:
        """A text about a number of things in the reader's language; ``%(count)s`` is the number."""
        text = self.backstage.renderer.languages[self.language].ngettext(one, many, count)
        return text % {"count": count, **values}

    def render(self, template: str, status: int = 200, **values: object) -> bytes:
        """A page."""
        self.request.setResponseCode(status)
        self.request.setHeader(b"content-type", b"text/html; charset=utf-8")
        if self.told is not None:
            self._set_cookie(TOLD_COOKIE, "", life=0)
        shown = {"visit": self, "sections": self._sections(), "site": self.backstage.site(), **values}
        return self.backstage.renderer.render(template, self.language, shown)

    @property
    def confirmed(self) -> bool:
        """Whether the reader has seen what a change would do, and wants it."""
        return self.form.one("step") == "do"

    def confirmation(
        self,
        title: str,
        rows: Iterable[Row],
        *,
        back: str,
        refusals: Iterable[object] = (),
        about: str = "",
        note: str = "",
        reason: bool = False,
    ) -> bytes:
        """Show what a change would do, and whom it would refuse, with the button that makes it.

        :param back: where the reader goes who does not want it.
        :param about: what is changed.
        :param note: what the reader had better know of it.
        :param reason: whether the form asks why.
        """
        return self.render(
            "change_check.html",
            title=title,
            rows=list(rows),
            back=back,
            refusals=refusals,
            about=about,
            note=note,
            reason=reason,
        )

    def begin_stream(self) -> None:
        """Begin an answer of server-sent events, which nobody in between keeps back."""
        self.request.setHeader(b"content-type", b"text/event-stream")
        self.request.setHeader(b"x-accel-buffering", b"no")

    def part(self, template: str, **values: object) -> bytes:
        """A part of a page, for what writes the answer itself."""
        return self.backstage.renderer.render(template, self.language, {"visit": self, **values})

    def redirect(self, place: str, told: str = "", kind: str = "good") -> bytes:
        """Send the browser to a page of ours, which tells something.

        :param kind: ``good``, ``warn`` or ``bad``.
        """
        if self.unchanged:
            told, kind = self.text("It is so already."), "warn"
        if told:
            self._set_cookie(TOLD_COOKIE, left_by(kind, told, str(self.undoable or "")))
        where = local(place).encode("ascii")
        if self.partial:
            self.request.setHeader(b"hx-redirect", where)
            return b""
        self.request.setResponseCode(303)
        self.request.setHeader(b"location", where)
        return b""

    def warned(self, place: str, told: str, warnings: Iterable[str]) -> bytes:
        """Send the browser to a page of ours, which tells something, and what its reader had better know of it."""
        doubts = self.doubts(warnings)
        return self.redirect(place, " ".join([told, *doubts]), "warn" if doubts else "good")

    def doubts(self, warnings: Iterable[str]) -> list[str]:
        """What an operation warns of, as sentences in the reader's language."""
        saying = self.backstage.renderer.said[self.language]
        return [f"{saying.plain(each)}." for each in warnings]

    def keep_cookie(self, cookie: str) -> None:
        """Give the browser another cookie: of a login, or of somebody who is not logged in."""
        self.cookie = cookie
        self._set_cookie(COOKIE, cookie)

    def keep_look(self, theme: str, language: str) -> None:
        """Let the browser keep what its reader chose."""
        self._set_cookie(LOOK_COOKIE, f"{theme}.{language}", life=365 * 86400)

    def _sections(self) -> list[NavigationSection]:
        return [] if self.user is None else sections_for(self.backstage.routes, self.may, self.path)

    def _set_cookie(self, name: bytes, value: str, life: int | None = None) -> None:
        self.request.addCookie(
            name,
            value.encode("ascii"),
            path=b"/",
            secure=True,
            httpOnly=True,
            sameSite="strict",
            max_age=None if life is None else str(life).encode("ascii"),
        )


def local(place: str) -> str:
    """A place on this page as it is, and ``/`` for any other: nobody is sent to another site."""
    try:
        parts = urlsplit(place)
    except ValueError:
        # What stands after "//" is no host.
        return "/"
    good = place.isascii() and place.isprintable() and "\\" not in place and " " not in place
    if not good or parts.scheme or parts.netloc or not place.startswith("/") or place.startswith("//"):
        return "/"
    return place
