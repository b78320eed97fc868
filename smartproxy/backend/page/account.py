"""One's own account: password, second factor, and where one is logged in."""

import itertools
from typing import Any

import attrs

from smartproxy.backend import users
from smartproxy.backend.errors import BackendError, NotFound
from smartproxy.backend.operations import account
from smartproxy.backend.operations.operation import Answer, Caller, Input, Operation
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.operations.user import LoginWanted
from smartproxy.backend.page.login import begun_by_password
from smartproxy.backend.page.routes import Anyone, Route, Shown
from smartproxy.backend.page.users import number_of
from smartproxy.backend.page.visit import PageVisit
from smartproxy.policy import limits


async def shown(visit: PageVisit) -> Shown:
    """The account."""
    return await _page(visit)


async def password_changed(visit: PageVisit) -> Shown:
    """Set another password, if the old one was right; other logins end, and this one goes on with another cookie."""
    form = visit.form
    fault = await _unproved(visit, form.secret("old"))
    if not fault and form.secret("password") != form.secret("again"):
        fault = visit.text("The two passwords are not the same.")
    if fault:
        return await _page(visit, password_fault=fault)
    try:
        await _call(visit, account.password, account.OwnPassword(password=form.secret("password")))
    except BackendError as error:
        return await _page(visit, password_fault=str(error))
    if not await begun_by_password(visit, visit.caller.name, form.secret("password")):
        return visit.redirect("/login")
    return visit.redirect("/account", visit.text("Your password is changed; your other logins are ended."))


async def second_factor_begun(visit: PageVisit) -> Shown:
    """Show the secret for an authenticator, if the password was right."""
    fault = await _unproved(visit, visit.form.secret("old"))
    if fault:
        return await _page(visit, factor_fault=fault)
    try:
        begun = await _call(visit, account.begin_second_factor, Nothing())
    except BackendError as error:
        return await _page(visit, factor_fault=str(error))
    return await _page(visit, begun=begun)


async def second_factor_confirmed(visit: PageVisit) -> Shown:
    """Take the first code; the recovery codes are shown in this answer and never again."""
    try:
        made = await _call(visit, account.confirm_second_factor, account.ShownCode(code=visit.form.one("code")))
    except NotFound as error:
        return await _page(visit, factor_fault=str(error))
    except BackendError as error:
        # Without the key: it was shown to who knew the password, and this form asks for none.
        return await _page(visit, factor_fault=str(error), confirming=True)
    return await _page(visit, codes=made.codes)


async def second_factor_dropped(visit: PageVisit) -> Shown:
    """Log in by password alone again, if the password was right."""
    fault = await _unproved(visit, visit.form.secret("old"))
    if fault:
        return await _page(visit, factor_fault=fault)
    await _call(visit, account.drop_second_factor, Nothing())
    return visit.redirect("/account", visit.text("You log in by password alone now."), "warn")


async def login_ended(visit: PageVisit) -> Shown:
    """End one of one's own logins."""
    await _call(visit, account.end_login, LoginWanted(number=number_of(visit)))
    return visit.redirect("/account", visit.text("The login is ended."))


@attrs.frozen
class Drawing:
    """A QR code as a path.

    :ivar side: how many modules it has in a row, without the quiet zone.
    :ivar path: its dark modules, as the data of a path in SVG.
    """

    side: int
    path: str


def qr_code(text: str) -> Drawing:
    """The QR code (ISO/IEC 18004, error correction M) of a text."""
    # Here: the daemon loads what a user needs once in its life when that comes.
    import segno

    rows = segno.make_qr(text, error="m", boost_error=False).matrix
    runs = []
    for y, row in enumerate(rows):
        x = 0
        for dark, modules in itertools.groupby(row):
            width = len(list(modules))
            runs += [f"M{x} {y}h{width}v1h-{width}z"] if dark else []
            x += width
    return Drawing(len(rows), "".join(runs))


async def _page(
    visit: PageVisit,
    password_fault: str = "",
    factor_fault: str = "",
    begun: Any = None,
    codes: Any = (),
    *,
    confirming: bool = False,
) -> Shown:
    return visit.render(
        "account.html",
        422 if password_fault or factor_fault else 200,
        found=await _call(visit, account.show, Nothing()),
        this=None if visit.user is None else visit.user.login,
        begun=begun,
        confirming=confirming,
        picture=None if begun is None else qr_code(begun.address),
        codes=codes,
        password_fault=password_fault,
        factor_fault=factor_fault,
    )


async def _unproved(visit: PageVisit, password: str) -> str:
    """What is wrong with the password that was typed, as slowly as at the login; empty for nothing."""
    if not password:
        return visit.text("This is not your password.")
    parts, name = visit.backstage, visit.caller.name
    typed = password[: limits.PASSWORD.most + 1]
    good = await parts.door.opens(visit.address, name, lambda: users.check_password(parts.store, name, typed))
    if good is None:
        return visit.text("Too many logins failed or are waiting. Wait a minute, and try again.")
    return "" if good else visit.text("This is not your password.")


async def _call(visit: PageVisit, operation: Operation[Input, Answer], wanted: Input) -> Answer:
    """Carry an operation on the user's own account out, which every user of the page may do."""
    caller = visit.caller
    own = Caller(name=caller.name, scopes=caller.scopes | {account.OWN}, channel=caller.channel)
    return (await visit.call_as(own, operation, wanted)).answer


ROUTES = (
    Route("GET", "/account", Anyone.USER, shown),
    Route("POST", "/account/password", Anyone.USER, password_changed),
    Route("POST", "/account/second-factor", Anyone.USER, second_factor_begun),
    Route("POST", "/account/second-factor/confirm", Anyone.USER, second_factor_confirmed),
    Route("POST", "/account/second-factor/drop", Anyone.USER, second_factor_dropped),
    Route("POST", "/account/login/<number>/end", Anyone.USER, login_ended),
)
