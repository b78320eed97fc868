"""The first two steps of a new site, before anybody can log in: the site with its authority, and an administrator.

Duty: admit nobody but a browser that showed the token of the link which the backend wrote on its console and into its
log; slow down whoever guesses one. The link is worth nothing once there is an administrator.
"""

import secrets

from smartproxy.backend.change import Channel
from smartproxy.backend.errors import AlreadyThere, BackendError
from smartproxy.backend.operations import authority, setup
from smartproxy.backend.operations.operation import Answer, Caller, Input, Operation
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.page.login import begun_by_password
from smartproxy.backend.page.routes import Anyone, Route, Shown
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.backend.requests import header_of
from smartproxy.policy.causes import Cause
from smartproxy.policy.permissions import EVERYTHING

_CALLER = Caller(name="set-up", scopes=frozenset({EVERYTHING}), channel=Channel.PAGE)
_GUESSED = "the set-up link"


async def opened(visit: PageVisit) -> Shown:
    """Admit the browser that shows the token, with another cookie than before."""
    if header_of(visit.request, b"sec-fetch-site") == "cross-site":
        # What this answer sets, such a request's redirect would not show; one that the page makes itself does.
        return visit.render("again.html", place=visit.path)
    link, token = visit.backstage.link, visit.named["token"]
    good = await visit.backstage.door.opens(visit.address, _GUESSED, lambda: link.admits(token))
    if not good:
        raise PageRefused(
            403 if good is not None else 429,
            visit.text("This link does not work"),
            visit.text(
                "It has ended, or a newer one was made, or the site has an administrator already. Restart "
                "smartproxy-backend for a new link, as long as there is no administrator; otherwise log in."
            ),
            Cause.PAGE_LINK if good is not None else Cause.PAGE_CROWDED,
        )
    visit.keep_cookie(secrets.token_urlsafe(32))
    link.let_in(visit.cookie)
    return visit.redirect("/first")


async def shown(visit: PageVisit) -> Shown:
    """The step that is due."""
    return await _step(visit)


async def site_made(visit: PageVisit) -> Shown:
    """Make the site with its authority."""
    await _check(visit)
    wanted = authority.SiteAddition(site=visit.form.one("site"), names=tuple(visit.form.one("names").split()))
    try:
        await _call(visit, authority.create, wanted)
    except AlreadyThere:
        # Sent twice: the step that is due shows what is there.
        return visit.redirect("/first")
    except BackendError as error:
        return await _step(visit, fault=str(error))
    return visit.redirect("/first")


async def administrator_added(visit: PageVisit) -> Shown:
    """Add the first administrator, and log in."""
    await _check(visit)
    name, password, again = visit.form.one("name"), visit.form.secret("password"), visit.form.secret("again")
    if password != again:
        return await _step(visit, fault=visit.text("The two passwords are not the same."))
    try:
        await _call(visit, setup.first_administrator, setup.FirstAdministrator(name=name, password=password))
    except BackendError as error:
        return await _step(visit, fault=str(error))
    parts = visit.backstage
    parts.link.close()
    if not await begun_by_password(visit, name, password):
        return visit.redirect("/login")
    parts.events.emit("page.login", names=[name], peer=visit.address)
    return visit.redirect("/setup")


async def _step(visit: PageVisit, fault: str = "") -> Shown:
    found = await _call(visit, setup.show, Nothing())
    if found.administrator:
        visit.backstage.link.close()
        return visit.redirect("/setup" if visit.user else "/login")
    if not visit.backstage.link.knows(visit.cookie):
        return visit.render("first_link.html", found=found)
    known = None if found.site is None else await _call(visit, authority.show, Nothing())
    return visit.render(
        "first_steps.html", 422 if fault else 200, found=found, known=known, form=visit.form, fault=fault
    )


async def _check(visit: PageVisit) -> None:
    """See that the browser showed the token.

    :raises PageRefused: when it did not.
    """
    if not visit.backstage.link.knows(visit.cookie):
        raise PageRefused(
            403,
            visit.text("This needs the link of the set-up"),
            visit.text("Open the link that smartproxy-backend wrote on its console and into its log at its start."),
            Cause.PAGE_FOREIGN,
        )


async def _call(visit: PageVisit, operation: Operation[Input, Answer], wanted: Input) -> Answer:
    return (await visit.call_as(_CALLER, operation, wanted)).answer


ROUTES = (
    Route("GET", "/setup/<token>", Anyone.AT_ALL, opened),
    Route("GET", "/first", Anyone.AT_ALL, shown),
    Route("POST", "/first/site", Anyone.AT_ALL, site_made),
    Route("POST", "/first/administrator", Anyone.AT_ALL, administrator_added),
)
