"""Operations on the page's users."""

from datetime import datetime

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import second_factors, users
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Nothing, Removed
from smartproxy.backend.user_tables import LoginRow, UserRow
from smartproxy.policy import limits
from smartproxy.policy.permissions import ADMINISTRATOR_NAME, AdminRole
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind, masked
from smartproxy.policy.values import Flag, Instant, Line, Member, Whole

USER = Family("user", "users")

_TEXT = Line(most=1000)
_PASSWORD = Line(most=limits.PASSWORD.most)
_ROLE_HELP = AdminRole.told()


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
class UserAlteration:
    """What is changed of a user.

    :ivar role: another role; ``None``: as it is.
    :ivar enabled: whether it may log in; ``None``: as it is.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    role: AdminRole | None = attrs.field(
        default=None, metadata=kind(Optional(Member(AdminRole)), people=ForPeople(help=_ROLE_HELP))
    )
    enabled: bool | None = attrs.field(
        default=None, metadata=kind(Optional(Flag()), people=ForPeople(help="whether the user may log in"))
    )


@attrs.frozen(kw_only=True)
class KnownUser:
    """A user, without the password.

    :ivar enabled: whether it may log in.
    :ivar second_factor: whether it logs in with a second factor.
    :ivar last_login: when it logged in last, if it ever did.
    :ivar last_address: from where.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    role: AdminRole = attrs.field(metadata=kind(Member(AdminRole)))
    enabled: bool = attrs.field(metadata=kind(Flag()))
    second_factor: bool = attrs.field(metadata=kind(Flag()))
    created: datetime = attrs.field(metadata=kind(Instant()))
    created_by: str = attrs.field(metadata=kind(_TEXT))
    password_set: datetime = attrs.field(metadata=kind(Instant()))
    last_login: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    last_address: str | None = attrs.field(metadata=kind(Optional(_TEXT)))


@attrs.frozen(kw_only=True)
class KnownUsers:
    """Everybody who can log in with a browser, by name; without passwords."""

    items: tuple[KnownUser, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownUser))))


@attrs.frozen(kw_only=True)
class KnownLogin:
    """A user who is logged in with a browser.

    :ivar number: what the login is known by.
    :ivar made: when it began.
    :ivar seen: when its user did something last.
    :ivar ends: when it ends at the latest.
    :ivar browser: what the browser says that it is.
    """

    number: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))
    user: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    made: datetime = attrs.field(metadata=kind(Instant()))
    seen: datetime = attrs.field(metadata=kind(Instant()))
    ends: datetime = attrs.field(metadata=kind(Instant()))
    address: str = attrs.field(metadata=kind(_TEXT))
    browser: str = attrs.field(metadata=kind(AnyText()))

    @classmethod
    def of(cls, row: LoginRow) -> "KnownLogin":
        """The login as its row has it."""
        return cls(
            number=row.id,
            user=row.user,
            made=row.made,
            seen=row.seen,
            ends=row.ends,
            address=row.address,
            browser=row.browser,
        )


KNOWN_LOGINS = ListOf(item=ObjectOf(KnownLogin))


@attrs.frozen(kw_only=True)
class KnownLogins:
    """All logins, the newest first."""

    items: tuple[KnownLogin, ...] = attrs.field(metadata=kind(KNOWN_LOGINS))


@attrs.frozen(kw_only=True)
class LoginWanted:
    """Which login.

    :ivar number: what it is known by.
    """

    number: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))

    @property
    def spoken(self) -> str:
        """What the audit trail says after the operation's name."""
        return str(self.number)


@USER.reading("list", "List the page's users; passwords are stored nowhere.", scope="user:audit")
def listed(look: Transaction, wanted: Nothing) -> KnownUsers:
    """All users by name."""
    return KnownUsers(items=tuple(_known(look.session, row) for row in users.listed(look.session)))


@USER.changing("add", "Add a user of the page.")
def add(change: Change, wanted: UserAddition) -> KnownUser:
    """Add a user who may do no more than who adds it."""
    users.add(change, wanted.name, wanted.role, wanted.password)
    change.session.flush()
    return _known(change.session, users.find(change.session, wanted.name))


@USER.changing("password", "Give a user another password, and end their logins.")
def password(change: Change, wanted: NewPassword) -> KnownUser:
    """Set the new password."""
    users.set_password(change, wanted.name, wanted.password)
    return _known(change.session, users.find(change.session, wanted.name))


@USER.changing("change", "Give a user another role, or let them log in or not; their logins end.")
def alter(change: Change, wanted: UserAlteration) -> KnownUser:
    """Change the user, within what the caller may do."""
    users.alter(change, wanted.name, role=wanted.role, enabled=wanted.enabled)
    return _known(change.session, users.find(change.session, wanted.name))


@USER.changing("forget-second-factor", "Have a user who lost their authenticator log in by password alone.")
def forget_second_factor(change: Change, wanted: UserWanted) -> KnownUser:
    """Forget it, and end the user's logins."""
    users.forget_second_factor(change, wanted.name)
    return _known(change.session, users.find(change.session, wanted.name))


@USER.reading("logins", "List who is logged in to the page.", scope="user:audit")
def logins(look: Transaction, wanted: Nothing) -> KnownLogins:
    """All logins that have not ended."""
    return KnownLogins(items=tuple(map(KnownLogin.of, users.logins(look.session, look.now))))


@USER.acting("end-login", "End somebody's login to the page.", path="POST :end-login")
def end_login(work: Transaction, wanted: LoginWanted) -> KnownLogin:
    """End the login."""
    return KnownLogin.of(users.end_login(work.session, wanted.number))


@USER.changing("remove", "Remove a user, and end their logins.")
def remove(change: Change, wanted: UserWanted) -> Removed:
    """Remove the user."""
    users.remove(change, wanted.name)
    return Removed(name=wanted.name)


def _known(session: Session, row: UserRow) -> KnownUser:
    entry = row.entry
    return KnownUser(
        name=entry.name,
        role=entry.role,
        enabled=entry.enabled,
        second_factor=second_factors.counts(session, row.name) is not None,
        created=entry.created,
        created_by=entry.created_by,
        password_set=entry.password_set,
        last_login=row.last_login,
        last_address=row.last_address,
    )
