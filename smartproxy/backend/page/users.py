"""Users and tokens: who may log in, who is logged in, and which tokens of the API there are."""

import re
from typing import Any

from smartproxy.backend.errors import BackendError
from smartproxy.backend.operations import admin_token, user
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.page.rendering import in_path
from smartproxy.backend.page.routes import Route, Shown
from smartproxy.backend.page.typed_times import last_second
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.policy.permissions import AdminRole


async def shown(visit: PageVisit) -> Shown:
    """Users, logins and tokens."""
    return await _page(visit)


async def user_added(visit: PageVisit) -> Shown:
    """Add a user."""
    form = visit.form
    try:
        wanted = user.UserAddition(
            name=form.one("name"), role=_role(form.one("role")), password=form.secret("password")
        )
        await visit.call(user.add, wanted)
    except (BackendError, ValueError) as error:
        return await _page(visit, user_fault=visit.answered(error))
    return visit.redirect("/users", visit.text("%(name)s can log in now.", name=wanted.name))


async def one_shown(visit: PageVisit) -> Shown:
    """One user."""
    return await _one(visit)


async def user_changed(visit: PageVisit) -> Shown:
    """Show what another role, or a login allowed or not, would change, and do it once that is confirmed."""
    name, form = visit.named["name"], visit.form
    wanted = user.UserAlteration(
        name=name,
        role=_role(form.one("role")) if form.one("role") else None,
        enabled=None if not form.one("enabled") else form.one("enabled") == "yes",
    )
    try:
        if visit.confirmed:
            await visit.call(user.alter, wanted, visit.terms)
            return visit.redirect("/users", visit.text("%(name)s is changed, and logged out.", name=name))
        changed = (await visit.rehearse(user.alter, wanted)).answer
    except BackendError as error:
        return await _one(visit, visit.answered(error))
    assert isinstance(changed, user.KnownUser)
    found = await _found(visit)
    rows = [each for each in zip(_words(visit, found), _words(visit, changed), strict=True) if each[0] != each[1]]
    if not rows:
        return visit.redirect(
            f"/users/user/{in_path(name)}", visit.text("Nothing was changed: it is as it was."), "warn"
        )
    logins = [each for each in (await visit.call(user.logins, Nothing())).answer.items if each.user == name]
    told = [(what, before, after) for (what, before), (_, after) in rows]
    if logins:
        told.append((visit.text("Logins"), str(len(logins)), "0"))
    title = visit.text("Change %(name)s?", name=name)
    return visit.render("user_check.html", title=title, rows=told, found=found, role=changed.role is not found.role)


async def password_set(visit: PageVisit) -> Shown:
    """Give a user another password."""
    name = visit.named["name"]
    try:
        await visit.call(user.password, user.NewPassword(name=name, password=visit.form.secret("password")))
    except BackendError as error:
        return await _one(visit, visit.answered(error))
    return visit.redirect("/users", visit.text("%(name)s has another password, and is logged out.", name=name))


async def second_factor_forgotten(visit: PageVisit) -> Shown:
    """Have a user who lost their authenticator log in by password alone."""
    name = visit.named["name"]
    await visit.call(user.forget_second_factor, user.UserWanted(name=name))
    return visit.redirect("/users", visit.text("%(name)s logs in by password alone.", name=name))


async def user_removed(visit: PageVisit) -> Shown:
    """Remove a user, if that was typed."""
    name = visit.named["name"]
    if visit.form.one("typed") != name:
        return await _one(visit, visit.text("Type the user's name to confirm."))
    try:
        await visit.call(user.remove, user.UserWanted(name=name))
    except BackendError as error:
        return await _one(visit, visit.answered(error))
    return visit.redirect("/users", visit.text("%(name)s is removed.", name=name))


async def login_ended(visit: PageVisit) -> Shown:
    """End somebody's login."""
    ended = (await visit.call(user.end_login, user.LoginWanted(number=number_of(visit)))).answer
    return visit.redirect("/users", visit.text("A login of %(name)s is ended.", name=ended.user))


async def token_made(visit: PageVisit) -> Shown:
    """Make a token for the API; it is shown in this answer and never again."""
    form = visit.form
    try:
        wanted = admin_token.TokenAddition(
            name=form.one("token_name"),
            role=_role(form.one("token_role")) if form.one("token_role") else None,
            scopes=tuple(form.one("scopes").split()),
            until=last_second(visit, form.one("until")),
        )
        made = (await visit.call(admin_token.create, wanted)).answer
    except (BackendError, ValueError) as error:
        return await _page(visit, token_fault=visit.answered(error))
    return await _page(visit, made=made)


async def token_revoked(visit: PageVisit) -> Shown:
    """Make a token worth nothing."""
    name = visit.named["name"]
    await visit.call(admin_token.revoke, admin_token.TokenWanted(name=name))
    return visit.redirect("/users", visit.text("The token %(name)s is worth nothing any more.", name=name))


def number_of(visit: PageVisit) -> int:
    """The number of a login that the path names.

    :raises PageRefused: when it names none.
    """
    number = visit.named["number"]
    if not re.fullmatch("[0-9]{1,15}", number):
        raise PageRefused(404, visit.text("This is not there"), visit.text("There is no such login."))
    return int(number)


async def _page(visit: PageVisit, user_fault: str = "", token_fault: str = "", made: Any = None) -> Shown:
    return visit.render(
        "users.html",
        422 if user_fault or token_fault else 200,
        found=(await visit.call(user.listed, Nothing())).answer.items,
        logins=(await visit.call(user.logins, Nothing())).answer.items,
        tokens=(await visit.call(admin_token.listed, Nothing())).answer.items,
        until=f"{visit.now + admin_token.LIFE:%Y-%m-%d}",
        now=visit.now,
        form=visit.form,
        roles=_roles(visit),
        may_change=visit.may(user.add),
        may_make=visit.may(admin_token.create),
        made=made,
        user_fault=user_fault,
        token_fault=token_fault,
    )


async def _one(visit: PageVisit, fault: str = "") -> Shown:
    found = await _found(visit)
    own = visit.user is not None and visit.user.name == found.name
    return visit.render("user.html", 422 if fault else 200, found=found, own=own, roles=_roles(visit), fault=fault)


async def _found(visit: PageVisit) -> user.KnownUser:
    """The user that the path names.

    :raises PageRefused: when there is none.
    """
    known = (await visit.call(user.listed, Nothing())).answer.items
    found = next((each for each in known if each.name == visit.named["name"]), None)
    if found is None:
        raise PageRefused(404, visit.text("This is not there"), visit.text("There is no user of this name."))
    return found


def _words(visit: PageVisit, known: user.KnownUser) -> list[tuple[str, str]]:
    """What of a user is changed here, in the reader's language: what it is called, and its value."""
    state = visit.text("may log in") if known.enabled else visit.text("disabled")
    return [(visit.text("Role"), visit.text(known.role.value)), (visit.text("State"), state)]


def _roles(visit: PageVisit) -> list[tuple[str, str]]:
    return [(each.value, visit.text(each.value)) for each in AdminRole]


def _role(text: str) -> AdminRole:
    return AdminRole(text)


ROUTES = (
    Route("GET", "/users", user.listed, shown),
    Route("POST", "/users/add", user.add, user_added),
    Route("GET", "/users/user/<name>", user.alter, one_shown),
    Route("POST", "/users/user/<name>/change", user.alter, user_changed),
    Route("POST", "/users/user/<name>/password", user.password, password_set),
    Route("POST", "/users/user/<name>/forget-second-factor", user.forget_second_factor, second_factor_forgotten),
    Route("POST", "/users/user/<name>/remove", user.remove, user_removed),
    Route("POST", "/users/login/<number>/end", user.end_login, login_ended),
    Route("POST", "/users/token", admin_token.create, token_made),
    Route("POST", "/users/token/<name>/revoke", admin_token.revoke, token_revoked),
)
