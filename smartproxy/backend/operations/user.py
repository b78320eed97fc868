"""Operations on the page's users."""

from datetime import datetime

import attrs

from smartproxy.backend import users
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import Nothing, Removed
from smartproxy.backend.user_tables import UserRow
from smartproxy.policy import limits
from smartproxy.policy.permissions import ADMINISTRATOR_NAME, AdminRole
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind, masked
from smartproxy.policy.values import Instant, Line, Member

USER = Family("user", "users")

_TEXT = Line(most=1000)
_PASSWORD = Line(most=limits.PASSWORD.most)
_ROLE_HELP = (
    "viewer = read; auditor = read everything, also who did what; operator = read, and change partners, CAs and "
    "revocation lists; administrator = everything"
)


@attrs.frozen(kw_only=True)
class UserAddition:
    """A user to add.

    :ivar name: what the user is called at the login.
    :ivar password: at least 12 characters.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME, people=ForPeople(help="the name at the login")))
    role: AdminRole = attrs.field(metadata=kind(Member(AdminRole), people=ForPeople(help=_ROLE_HELP)))
    password: str = attrs.field(
        repr=masked, metadata=kind(_PASSWORD, people=ForPeople(help="at least 12 characters, such as four words"))
    )


@attrs.frozen(kw_only=True)
class UserWanted:
    """Which user.

    :ivar name: its name.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))


@attrs.frozen(kw_only=True)
class NewPassword:
    """Another password for a user."""

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    password: str = attrs.field(repr=masked, metadata=kind(_PASSWORD))


@attrs.frozen(kw_only=True)
class KnownUser:
    """A user, without the password.

    :ivar last_login: when it logged in last, if it ever did.
    :ivar last_address: from where.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    role: AdminRole = attrs.field(metadata=kind(Member(AdminRole)))
    created: datetime = attrs.field(metadata=kind(Instant()))
    created_by: str = attrs.field(metadata=kind(_TEXT))
    password_set: datetime = attrs.field(metadata=kind(Instant()))
    last_login: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    last_address: str | None = attrs.field(metadata=kind(Optional(_TEXT)))


@attrs.frozen(kw_only=True)
class KnownUsers:
    """All users."""

    items: tuple[KnownUser, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownUser))))


@USER.reading("list", "List the page's users; passwords are stored nowhere.", scope="user:audit")
def listed(look: Transaction, wanted: Nothing) -> KnownUsers:
    """All users by name."""
    return KnownUsers(items=tuple(map(_known, users.listed(look.session))))


@USER.changing("add", "Add a user of the page.")
def add(change: Change, wanted: UserAddition) -> KnownUser:
    """Add a user who may do no more than who adds it."""
    users.add(change, wanted.name, wanted.role, wanted.password)
    change.session.flush()
    return _known(users.found(change.session, wanted.name))


@USER.changing("password", "Give a user another password, and end its logins.")
def password(change: Change, wanted: NewPassword) -> KnownUser:
    """Set it."""
    users.set_password(change, wanted.name, wanted.password)
    return _known(users.found(change.session, wanted.name))


@USER.changing("remove", "Remove a user, and end its logins.")
def remove(change: Change, wanted: UserWanted) -> Removed:
    """Remove it."""
    users.remove(change, wanted.name)
    return Removed(name=wanted.name)


def _known(row: UserRow) -> KnownUser:
    entry = row.entry
    return KnownUser(
        name=entry.name,
        role=entry.role,
        created=entry.created,
        created_by=entry.created_by,
        password_set=entry.password_set,
        last_login=row.last_login,
        last_address=row.last_address,
    )
