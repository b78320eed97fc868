"""Login and logout, and what a reader chooses without being known: theme and language.

Duty: let in whoever has a user's password, with another cookie than before; others learn no more than
that it was wrong.
"""

import secrets

from smartproxy.backend import users
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.page.routes import Anyone, Route, Shown
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import THEMES, PageRefused, PageVisit, local
from smartproxy.backend.requests import header_of
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause

_NAME_MOST = 64


async def asked(visit: PageVisit) -> Shown:
    """The form."""
    if visit.user is not None:
        return visit.redirect(local(visit.argument("next") or "/"))
    link = visit.backstage.link
    if link.open and await visit.backstage.runner.run(users.governed, visit.backstage.store):
        link.close()
    if link.open:
        return visit.redirect("/first")
    return visit.render("login.html", next=local(visit.argument("next") or "/"), name="", fault="")


async def logged_in(visit: PageVisit) -> Shown:
    """Let somebody in, with another cookie than before."""
    name, password = visit.form.one("name"), visit.form.secret("password")
    place = local(visit.form.one("next") or "/")
    parts, address = visit.backstage, visit.address
    typed, code = password[: limits.PASSWORD.most + 1], visit.form.one("code")
    proved = await parts.door.opens(address, name, lambda: users.proves(parts.store, name, typed, code, visit.now))
    cookie = await begun(visit, name, proved) if proved else None
    if cookie is None:
        cause = Cause.PAGE_CROWDED if proved is None else Cause.PAGE_PASSWORD
        # Only a user's name is written down: people type their password into the wrong field.
        names = [name] if await parts.runner.run(users.is_user, parts.store, name) else None
        parts.events.emit("page.login_refused", cause=cause, message=cause.meaning, peer=address, names=names)
        fault = _CROWDED if proved is None else _WRONG
        status = 429 if proved is None else 403
        return visit.render("login.html", status, next=place, name=name[:_NAME_MOST], fault=visit.text(fault))
    visit.keep_cookie(cookie)
    parts.events.emit("page.login", names=[name], peer=address)
    return visit.redirect(place)


async def begun(visit: PageVisit, name: str, proved: str) -> str | None:
    """Begin a login; its cookie, or nothing where the account was changed since the password was compared."""
    parts, browser = visit.backstage, header_of(visit.request, b"user-agent")
    try:
        return await parts.runner.run(users.log_in, parts.store, name, proved, visit.now, visit.address, browser)
    except (ChangeRefused, NotFound):
        return None


async def begun_by_password(visit: PageVisit, name: str, password: str) -> bool:
    """Begin a login of somebody whose password was just set, and keep its cookie; false where another was set since."""
    parts = visit.backstage
    cookie = await begun(visit, name, await parts.runner.run(users.check_password, parts.store, name, password))
    if cookie is not None:
        visit.keep_cookie(cookie)
    return cookie is not None


async def logged_out(visit: PageVisit) -> Shown:
    """End the login."""
    parts = visit.backstage
    if visit.user is not None:
        await parts.runner.run(users.log_out, parts.store, visit.cookie)
        parts.events.emit("page.logout", names=[visit.user.name], peer=visit.address)
    visit.keep_cookie(secrets.token_urlsafe(32))
    visit.request.setHeader(b"clear-site-data", b'"cache"')
    return visit.redirect("/login", visit.text("You are logged out."))


async def look_chosen(visit: PageVisit) -> Shown:
    """Keep the theme and the language that the reader chose."""
    theme, language = visit.form.one("theme") or visit.theme, visit.form.one("language") or visit.language
    if theme not in THEMES or language not in visit.backstage.renderer.languages:
        raise PageRefused(400, visit.text("There is no such choice"), visit.text("Choose one of those on the page."))
    visit.keep_look(theme, language)
    return visit.redirect(local(visit.form.one("next") or "/"))


_WRONG = later("The user name, the password or the code is wrong. A code of the authenticator works only once.")
_CROWDED = later("Too many logins failed or are waiting. Wait a minute, and try again.")


ROUTES = (
    Route("GET", "/login", Anyone.AT_ALL, asked),
    Route("POST", "/login", Anyone.AT_ALL, logged_in),
    Route("POST", "/logout", Anyone.USER, logged_out),
    Route("POST", "/look", Anyone.AT_ALL, look_chosen),
)
