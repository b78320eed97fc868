"""The page as a resource: each request judged before a page's function sees it, each answer with what keeps it safe.

Duty: find the route; know the user by the cookie; take changes only from the page's own forms (the browser says that
the request is of the same origin, and the form has the token of this browser); see that the user has the scopes; bound
and parse what was sent, in a thread; answer what fails with a page that says what to do. Trusts nothing in a request.
Every answer forbids what the page does not use: other origins, frames, inline scripts and styles, caches.
"""

import re
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from smartproxy.backend import users
from smartproxy.backend.errors import BackendError, ChangedMeanwhile, NotFound, ScopeMissing, StoreUnavailable
from smartproxy.backend.first_start import PREFIX
from smartproxy.backend.operations import crl
from smartproxy.backend.page.left_messages import COOKIE_OCTETS_MOST, told_of
from smartproxy.backend.page.routes import Anyone, Route, Shown, Unrouted, scopes_of
from smartproxy.backend.page.sent_forms import (
    MULTIPART,
    TOKEN_FIELD,
    URLENCODED,
    FormTooLarge,
    FormUnreadable,
    SentForm,
    parse,
)
from smartproxy.backend.page.static_files import ROOT
from smartproxy.backend.page.texts import language_of
from smartproxy.backend.page.visit import (
    COOKIE,
    LOGIN_ENDED,
    LOOK_COOKIE,
    THEMES,
    TOLD_COOKIE,
    Backstage,
    PageRefused,
    PageVisit,
    local,
)
from smartproxy.backend.port import guest_of
from smartproxy.backend.requests import RefusalRate, address_of, header_of, kept_body, lines_of
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.permissions import stands_for

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"cache-control", b"no-store"),
)
"""What every answer says."""
_FOR_A_YEAR = b"public, max-age=31536000, immutable"
LIST_FORM_OCTETS_MOST = limits.DOWNLOAD_OCTETS_MOST + 64 * 1024
"""Octets of a form with a file of revocation lists."""
_DIGITS_OF_OTHERS = 6
"""Digits of the length of a form that is surely no larger than others."""
_TOKEN_HEADER = b"x-csrf-token"


class PageRoot(Resource):
    """What is served at ``/``."""

    isLeaf = True

    def __init__(self, parts: Backstage) -> None:
        Resource.__init__(self)
        self._parts = parts
        self._rate = RefusalRate()

    def render(self, request: Request) -> Any:
        """Begin to answer a request."""
        for name, value in HEADERS:
            request.setHeader(name, value)
        if request.path.startswith(ROOT.encode("ascii")):
            return self._file(request)
        work = Deferred.fromCoroutine(self._answer(request))
        answering = _Answering(request, work)
        work.addCallbacks(answering.finish, answering.failed, errbackArgs=(self._broken,))
        work.addErrback(answering.at_a_loss, self._parts.events)
        return NOT_DONE_YET

    def admits(self, request: IRequest) -> "Deferred[int]":
        """How many octets the body of a request may have: as a login of a stranger, as a list of who may load one."""
        length = header_of(request, b"content-length")
        is_form = header_of(request, b"content-type").startswith(URLENCODED)
        if is_form and re.fullmatch("[0-9]{1,7}", length) and int(length) <= limits.FORM_OF_STRANGER_OCTETS_MOST:
            return succeed(limits.API_BODY_OCTETS_MOST)
        cookie = _cookie(request, COOKIE)
        if not cookie:
            return succeed(0)
        known = self._parts.runner.run(users.logged_in, self._parts.store, cookie, now(self._parts.clock), active=False)
        is_large = header_of(request, b"content-type").startswith(MULTIPART) and len(length) > _DIGITS_OF_OTHERS
        return known.addCallback(_most_of, is_large=is_large)

    def _file(self, request: Request) -> bytes:
        found = self._parts.renderer.files.find(request.path.decode("ascii", "replace"))
        if found is None or request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(404)
            return b""
        request.setHeader(b"content-type", found.media.encode("ascii"))
        request.setHeader(b"cache-control", _FOR_A_YEAR)
        request.setHeader(b"vary", b"accept-encoding")
        if _takes_gzip(header_of(request, b"accept-encoding")):
            request.setHeader(b"content-encoding", b"gzip")
            return found.zipped
        return found.octets

    async def _answer(self, request: Request) -> Shown:
        visit = self._visit(request)
        try:
            return await self._judged(visit)
        except PageRefused as refused:
            return self._refused(visit, refused)
        except BackendError as error:
            return self._refused(visit, _in_words(visit, error))

    async def _judged(self, visit: PageVisit) -> Shown:
        """Judge a request, and have its page answer it.

        :raises PageRefused: when it may not be answered.
        """
        request = visit.request
        method = request.method.decode("ascii", "replace")
        if not visit.reached.encrypted:
            raise PageRefused(
                403,
                visit.text("The page is for https alone"),
                visit.text("The web server in front of it was called by http. Call it by https."),
                Cause.PAGE_PLAIN,
            )
        try:
            visit.route, visit.named = self._parts.routes.find("GET" if method == "HEAD" else method, visit.path)
        except UnicodeDecodeError:
            raise PageRefused(
                400, visit.text("This address is malformed"), visit.text("It is not UTF-8. Go to the overview.")
            ) from None
        except Unrouted as unrouted:
            await self._known(visit, active=False)
            if unrouted.methods:
                request.setHeader(b"allow", ", ".join(sorted(unrouted.methods)).encode("ascii"))
                raise PageRefused(
                    405, visit.text("This cannot be done here"), visit.text("Go back to the page and use its form.")
                ) from None
            raise _nothing_here(visit) from None
        changes = visit.route.method == "POST"
        await self._known(visit, active=not visit.route.by_itself)
        if changes:
            self._check_origin(visit)
        if visit.user is None and visit.route.needs is not Anyone.AT_ALL:
            return self._to_login(visit)
        if changes:
            visit.form = await self._sent(visit)
            self._check_token(visit)
        self._check_scopes(visit, visit.route)
        return await visit.route.show(visit)

    def _visit(self, request: Request) -> PageVisit:
        theme, _, wanted = _cookie(request, LOOK_COOKIE).partition(".")
        languages = self._parts.renderer.languages
        host = header_of(request, b"host")
        return PageVisit(
            request=request,
            backstage=self._parts,
            reached=self._parts.proxies().reached(address_of(request), host, partial(lines_of, request)),
            cookie=_cookie(request, COOKIE),
            language=language_of(wanted, header_of(request, b"accept-language"), languages),
            theme=theme if theme in THEMES else THEMES[0],
            told=told_of(_cookie(request, TOLD_COOKIE)),
        )

    async def _known(self, visit: PageVisit, *, active: bool) -> None:
        """Find out who is logged in; a browser without a cookie gets one, so that its forms have a token."""
        parts = self._parts
        if visit.cookie:
            visit.user = await parts.runner.run(users.logged_in, parts.store, visit.cookie, visit.now, active=active)
        if visit.user is None:
            if not visit.cookie:
                visit.keep_cookie(secrets.token_urlsafe(32))
        elif (guest := guest_of(visit.request)) is not None:
            guest.proved()

    def _to_login(self, visit: PageVisit) -> bytes:
        """Have somebody log in first, and come back.

        A link on another site is followed without the cookie; the page asks again by itself, and then has it.
        """
        if visit.route is not None and visit.route.streams:
            # A stream that is asked for again follows no redirect: the page is told, and asks no more.
            visit.begin_stream()
            return LOGIN_ENDED
        uri = visit.request.uri.decode("ascii", "replace")
        if header_of(visit.request, b"sec-fetch-site") == "cross-site" and visit.request.method == b"GET":
            return visit.render("again.html", place=uri)
        changes = visit.request.method == b"POST"
        by_itself = visit.route is not None and visit.route.by_itself
        place = _looked_at(visit) if changes or by_itself or visit.partial else uri
        told = visit.text("You were logged out; nothing was changed.") if changes else ""
        return visit.redirect("/login" if place == "/" else f"/login?next={quote(place, safe='')}", told, "warn")

    def _check_origin(self, visit: PageVisit) -> None:
        """See that a change comes from a page of ours, by what browsers say.

        :raises PageRefused: when it does not.
        """
        request = visit.request
        site, origin = header_of(request, b"sec-fetch-site"), header_of(request, b"origin")
        ours = f"https://{visit.reached.host}"
        if (site and site != "same-origin") or (origin and origin.lower() != ours.lower()):
            raise _foreign(visit)

    def _check_token(self, visit: PageVisit) -> None:
        given = header_of(visit.request, _TOKEN_HEADER) or visit.form.one(TOKEN_FIELD)
        if not users.same_form_token(visit.cookie, given):
            raise _foreign(visit)

    def _check_scopes(self, visit: PageVisit, route: Route) -> None:
        if not visit.user:
            return
        missing = sorted(each for each in scopes_of(route.needs) if not visit.caller.may(each))
        if missing:
            raise PageRefused(
                403,
                visit.text("You may not do this"),
                visit.text(
                    "Your role, %(role)s, lacks %(scopes)s. Ask an administrator of this site.",
                    role=visit.user.role,
                    scopes=", ".join(missing),
                ),
                Cause.API_SCOPE,
            )

    async def _sent(self, visit: PageVisit) -> SentForm:
        request = visit.request
        too_large = PageRefused(
            413,
            visit.text("This is too large"),
            visit.text(
                "Log in again, and send one megabyte at most. A revocation list may have 64; if others are just "
                "being read, send it again in a minute."
            ),
        )
        if getattr(request, "body_refused", False):
            raise too_large
        most = LIST_FORM_OCTETS_MOST if visit.route is not None and visit.route.large else limits.API_BODY_OCTETS_MOST
        body = kept_body(request)
        try:
            return await self._parts.runner.run(parse, header_of(request, b"content-type"), body, most)
        except FormTooLarge:
            raise too_large from None
        except FormUnreadable as unreadable:
            raise PageRefused(
                400,
                visit.text("The form cannot be read"),
                visit.text("What the browser sent: %(why)s. Go back and send it again.", why=str(unreadable)),
            ) from unreadable

    def _refused(self, visit: PageVisit, refused: PageRefused) -> bytes:
        """Say why a request is refused, and write it down if that is worth it."""
        cause, silent = refused.cause, None
        if cause is not None:
            silent = self._rate.admit(visit.address, self._parts.clock.seconds())
        if cause is not None and silent is not None:
            self._parts.events.emit(
                "page.refused",
                cause=cause,
                # Not as the page says it: the log is in one language.
                message=cause.meaning,
                names=[visit.user.name] if visit.user else [],
                method=visit.request.method.decode("ascii", "replace"),
                path=_told_path(visit.path, cause),
                peer=visit.address,
                facts=silent.facts,
            )
        return visit.render("error.html", refused.status, refused=refused)

    def _broken(self, request: Request, failure: Failure) -> bytes:
        """Answer that there is a fault here; only the log says which."""
        self._parts.events.failure("smartproxy.backend.page", failure)
        visit = self._visit(request)
        refused = PageRefused(
            500,
            visit.text("The page has a fault"),
            visit.text(
                "See in the history whether a change was made. The backend's log says what is broken: internal.error."
            ),
        )
        return visit.render("error.html", 500, refused=refused)


class _Answering:
    """One request that is being answered, and whose browser may go."""

    def __init__(self, request: Request, work: "Deferred[Shown]") -> None:
        self._request = request
        self._work = work
        self._gone = False
        request.notifyFinish().addErrback(self._left)

    def _left(self, failure: Failure) -> None:
        self._gone = True
        self._work.cancel()

    def finish(self, shown: Shown) -> None:
        """Write the answer, unless the page's function does."""
        if shown is not None and not self._gone:
            self._request.setHeader(b"content-length", str(len(shown)).encode("ascii"))
            self._request.write(shown)
            self._request.finish()

    def failed(self, failure: Failure, broken: Callable[[Request, Failure], bytes]) -> None:
        """Say that there is a fault, if there is somebody to read it."""
        if not (self._gone and failure.check(CancelledError)):
            self.finish(broken(self._request, failure))

    def at_a_loss(self, failure: Failure, events: Events) -> None:
        """Answer 500 without a page, where the page of the fault cannot be made either."""
        events.failure("smartproxy.backend.page", failure)
        if not self._gone and not self._request.finished:
            self._request.setResponseCode(500)
            self._request.finish()


def _told_path(path: str, cause: Cause) -> str:
    """A path as the log has it: who reads the log learns of no token that lets somebody in."""
    return "/setup/..." if cause is Cause.PAGE_LINK or PREFIX in path else path


def _looked_at(visit: PageVisit) -> str:
    """The page of ours from which a request came, by what its browser says; the overview where it says none."""
    said = header_of(visit.request, b"hx-current-url") or header_of(visit.request, b"referer")
    ours = f"https://{visit.reached.host}/"
    return local(said[len(ours) - 1 :]) if said.lower().startswith(ours.lower()) else "/"


def _takes_gzip(accepted: str) -> bool:
    """Whether a browser takes gzip (RFC 9110 section 12.5.3)."""
    weights = {}
    for each in accepted.lower().split(","):
        coding, _, weight = each.partition(";")
        weights[coding.strip()] = re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight) is None
    return weights.get("gzip", False)


def _most_of(user: users.LoggedIn | None, *, is_large: bool) -> int:
    """How many octets a user may send."""
    if user is None:
        return 0
    return (
        LIST_FORM_OCTETS_MOST
        if is_large and stands_for(user.role.scopes, crl.load.scope)
        else limits.API_BODY_OCTETS_MOST
    )


def _cookie(request: IRequest, name: bytes) -> str:
    found: bytes = request.getCookie(name) or b""
    return found.decode("latin-1") if len(found) <= COOKIE_OCTETS_MOST else ""


def _nothing_here(visit: PageVisit) -> PageRefused:
    return PageRefused(
        404,
        visit.text("There is nothing at this address"),
        visit.text("It may have been removed or renamed. Search for it, or go to the overview."),
    )


def _foreign(visit: PageVisit) -> PageRefused:
    return PageRefused(
        403,
        visit.text("This form is not ours, or too old"),
        visit.text("Nothing was changed. Go back, load the page again, and send the form once more."),
        Cause.PAGE_FOREIGN,
    )


def _in_words(visit: PageVisit, error: BackendError) -> PageRefused:
    """How an operation that cannot be done is answered."""
    match error:
        case ScopeMissing():
            return PageRefused(403, visit.text("You may not do this"), str(error))
        case NotFound():
            return PageRefused(404, visit.text("This is not there"), str(error))
        case ChangedMeanwhile():
            return PageRefused(409, visit.text("Somebody changed this meanwhile"), str(error))
        case StoreUnavailable():
            return PageRefused(503, visit.text("The store cannot be reached"), str(error))
        case _:
            return PageRefused(422, visit.text("This cannot be done"), visit.answered(error))
