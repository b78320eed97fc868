"""The page's users and who is logged in: accounts, logins, and their ends.

A login is known by a cookie, of which only the SHA-256 is kept. It ends when its user does nothing for a while, at the
latest after some hours, and with its user's password. Every call here may block.
"""

import hmac
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from shlex import quote

import attrs
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from smartproxy.backend import passwords, second_factors
from smartproxy.backend.change import Change, Channel
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound
from smartproxy.backend.named import NamedRows
from smartproxy.backend.store import Store
from smartproxy.backend.user_tables import LoginRow, UserRow
from smartproxy.policy import limits
from smartproxy.policy.permissions import AdminRole, UserEntry, stands_for

IDLE = timedelta(seconds=limits.LOGIN_IDLE_SECONDS)
LIFE = timedelta(seconds=limits.LOGIN_SECONDS_MOST)
NOTED_AGAIN = timedelta(seconds=60)
"""Something done so soon after what was noted last is not noted."""
_BROWSER_MOST = 200
_BY_MOST = 1000
_ROWS = NamedRows(UserRow, lambda name, known: NotFound(f"there is no user {name!r}; 'smartproxy user list' shows all"))
find, listed = _ROWS.find, _ROWS.listed


@attrs.frozen(kw_only=True)
class LoggedIn:
    """A user who is logged in.

    :ivar login: the number of the login.
    :ivar ends: when the login ends at the latest.
    """

    name: str
    role: AdminRole
    login: int
    ends: datetime


def add(change: Change, name: str, role: AdminRole, password: str) -> UserEntry:
    """Add a user.

    :raises AlreadyThere: when there is one of this name.
    :raises ChangeRefused: when the password is not worth anything, or the role more than its giver's.
    """
    if _ROWS.get(change.session, name) is not None:
        raise AlreadyThere(
            f"there is a user {name!r} already; 'smartproxy user password {quote(name)}' sets a new password"
        )
    _check_gift(change.allowed, role, change.by)
    passwords.check(password, name)
    entry = UserEntry(
        name=name, role=role, created=change.now, created_by=change.by[:_BY_MOST], password_set=change.now
    )
    change.session.add(UserRow(name=name, entry=entry, password=passwords.hashed(password)))
    change.note("user.changed", command=change.what, names=[name])
    return entry


def remove(change: Change, name: str) -> None:
    """Remove a user, and end their logins.

    :raises NotFound: when there is none of this name.
    """
    row = find(change.session, name)
    _check_gift(change.allowed, row.entry.role, change.by)
    _check_other(change, name)
    end_logins(change.session, name)
    second_factors.drop(change.session, name)
    change.session.delete(row)
    change.note("user.changed", command=change.what, names=[name])


def alter(change: Change, name: str, *, role: AdminRole | None = None, enabled: bool | None = None) -> UserEntry:
    """Give a user another role, or let them log in or not; their logins end where they lose something.

    :param role: another one; ``None`` leaves it.
    :raises NotFound: when there is none of this name.
    :raises ChangeRefused: when a role is more than its giver's, or somebody would do this to its own account.
    """
    row = find(change.session, name)
    entry = row.entry
    for each in {entry.role, role or entry.role}:
        _check_gift(change.allowed, each, change.by)
    _check_other(change, name)
    row.entry = attrs.evolve(entry, role=role or entry.role, enabled=entry.enabled if enabled is None else enabled)
    change.compare(entry, row.entry)
    if row.entry != entry:
        end_logins(change.session, name)
    change.note("user.changed", command=change.what, names=[name])
    return row.entry


def set_password(change: Change, name: str, password: str) -> UserEntry:
    """Give a user another password, and end their logins.

    :raises NotFound: when there is none of this name.
    :raises ChangeRefused: when the password is not worth anything, or the user may do more than who sets it.
    """
    row = find(change.session, name)
    _check_gift(change.allowed, row.entry.role, change.by)
    passwords.check(password, name)
    row.password = passwords.hashed(password)
    row.entry = attrs.evolve(row.entry, password_set=change.now)
    # Whoever knew the old one may have begun it.
    second_factors.drop_begun(change.session, name)
    end_logins(change.session, name)
    change.note("user.changed", command=change.what, names=[name])
    return row.entry


def forget_second_factor(change: Change, name: str) -> None:
    """Have a user log in by password alone, and end their logins.

    :raises NotFound: when there is none of this name.
    :raises ChangeRefused: when it has no second factor, or the user may do more than who forgets it.
    """
    _check_gift(change.allowed, find(change.session, name).entry.role, change.by)
    if not second_factors.drop(change.session, name):
        raise ChangeRefused(f"the user {name} has no second factor")
    end_logins(change.session, name)
    change.note("user.changed", command=change.what, names=[name])


def any_administrator(session: Session) -> bool:
    """Whether somebody can log in who may do everything."""
    entries = (row.entry for row in session.scalars(select(UserRow)))
    return any(each.role is AdminRole.ADMINISTRATOR and each.enabled for each in entries)


def governed(store: Store) -> bool:
    """The same, in a transaction of its own."""
    with store.reading() as session:
        return any_administrator(session)


def is_user(store: Store, name: str) -> bool:
    """Whether there is a user of this name."""
    with store.reading() as session:
        return _ROWS.get(session, name) is not None


def check_password(store: Store, name: str, password: str) -> str:
    """The hash of a user's password if it is this one, or nothing; the time does not tell whether there is the user."""
    with store.reading() as session:
        row = _ROWS.get(session, name)
        stored = None if row is None or not row.entry.enabled else row.password
    if not passwords.fits(stored, password) or stored is None:
        return ""
    if passwords.outdated(stored):
        renewed = passwords.hashed(password)
        with store.writing() as session:
            row = _ROWS.get(session, name)
            # To compare takes a while: another password that was set meanwhile stays.
            if row is not None and row.password == stored:
                row.password = renewed
                return renewed
    return stored


def proves(store: Store, name: str, password: str, code: str, now: datetime) -> str:
    """What proves that somebody is a user, as :func:`log_in` takes it; empty for nothing.

    It is proved by the password, and by a code where the user has a second factor; the code is used up.
    """
    proved = check_password(store, name, password)
    if not proved:
        return ""
    with store.reading() as session:
        if second_factors.counts(session, name) is None:
            return proved
    with store.writing() as session:
        return proved if second_factors.passes(session, name, code, now) else ""


def log_in(store: Store, name: str, proved: str, now: datetime, address: str, browser: str) -> str:
    """Begin a login of a user; its cookie. What is over, or too many, goes.

    :param proved: the hash that the user's password fitted. To compare takes a while, in which it may be changed.
    :raises NotFound: when the user is gone.
    :raises ChangeRefused: when the user has another password by now, or may not log in.
    """
    cookie = secrets.token_urlsafe(32)
    with store.writing() as session:
        row = find(session, name)
        if row.password != proved or not row.entry.enabled:
            raise _changed_meanwhile()
        row.last_login, row.last_address = now, address
        session.execute(delete(LoginRow).where(or_(LoginRow.ends <= now, LoginRow.seen <= now - IDLE)))
        mine = select(LoginRow).where(LoginRow.user == name).order_by(LoginRow.id.desc())
        for old in session.scalars(mine.offset(limits.LOGINS_PER_USER_MOST - 1)):
            session.delete(old)
        made = LoginRow(cookie_sha256=digest_of(cookie), user=name, made=now, seen=now, ends=now + LIFE)
        made.address, made.browser = address, browser[:_BROWSER_MOST]
        session.add(made)
    return cookie


def logged_in(store: Store, cookie: str, now: datetime, *, active: bool = True) -> LoggedIn | None:
    """Who is logged in with a cookie.

    :param active: whether the user does something; what a page asks by itself does not prolong a login.
    """
    with store.reading() as session:
        login = session.scalars(select(LoginRow).where(LoginRow.cookie_sha256 == digest_of(cookie))).one_or_none()
        if login is None or login.ends <= now or login.seen + IDLE <= now:
            return None
        user = _ROWS.get(session, login.user)
        if user is None or not user.entry.enabled:
            return None
        known = LoggedIn(name=user.name, role=user.entry.role, login=login.id, ends=login.ends)
        worth = active and abs(now - login.seen) >= NOTED_AGAIN
    if worth:
        store.note(now, lambda session: _note_seen(session, known.login, now))
    return known


def _note_seen(session: Session, number: int, now: datetime) -> None:
    row = session.get(LoginRow, number)
    if row is not None:
        row.seen = now


def log_out(store: Store, cookie: str) -> None:
    """End a login."""
    with store.writing() as session:
        session.execute(delete(LoginRow).where(LoginRow.cookie_sha256 == digest_of(cookie)))


def logins(session: Session, now: datetime, name: str | None = None) -> Sequence[LoginRow]:
    """The logins that have not ended, of one user or of all, the newest first."""
    query = select(LoginRow).where(LoginRow.ends > now, LoginRow.seen > now - IDLE).order_by(LoginRow.id.desc())
    return session.scalars(query if name is None else query.where(LoginRow.user == name)).all()


def end_login(session: Session, number: int, name: str | None = None) -> LoginRow:
    """End a login.

    :param name: whose it has to be; anybody's without it.
    :raises NotFound: when there is none.
    """
    row = session.get(LoginRow, number)
    if row is None or (name is not None and row.user != name):
        raise NotFound("this login has ended already")
    session.delete(row)
    return row


def end_logins(session: Session, name: str) -> None:
    """End all logins of a user."""
    session.execute(delete(LoginRow).where(LoginRow.user == name))


def digest_of(cookie: str) -> str:
    """What is kept of a cookie."""
    return sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()


def form_token(cookie: str) -> str:
    """What a form carries that was made for the browser with a cookie."""
    return hmac.new(cookie.encode("utf-8", "surrogatepass"), b"smartproxy form", sha256).hexdigest()


def same_form_token(cookie: str, given: str) -> bool:
    """Whether what a form carries was made for the browser with a cookie."""
    return hmac.compare_digest(form_token(cookie).encode("ascii"), given.encode("utf-8", "surrogatepass"))


def _check_gift(allowed: Collection[str], role: AdminRole, by: str) -> None:
    """Nobody gives, takes or takes over more than it may do itself."""
    beyond = sorted(each for each in role.scopes if not stands_for(allowed, each))
    if beyond:
        raise ChangeRefused(f"{by} may not decide about the role {role}: it lacks {', '.join(beyond)}")


def _check_other(change: Change, name: str) -> None:
    """Nobody shuts itself out on the page: so there is always somebody left who can let others in."""
    if change.channel is Channel.PAGE and change.by == name:
        raise ChangeRefused("this is your own account; have another administrator do it, or use the command")
    if change.channel is Channel.PAGE:
        # Two who shut each other out at once: whoever comes second has lost what it had when it began.
        mine = _ROWS.get(change.session, change.by)
        scopes = mine.entry.role.scopes if mine is not None and mine.entry.enabled else frozenset()
        if not all(stands_for(scopes, each) for each in change.allowed):
            raise _changed_meanwhile()


def _changed_meanwhile() -> ChangeRefused:
    return ChangeRefused("your account was changed meanwhile: log in again, and see what you may do")
