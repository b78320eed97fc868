"""Operations of a user of the page on its own account: password, second factor, logins.

Whose account it is, is whoever calls. They need a scope that every user has on the page, and no token of the API.
"""

from typing import Final

import attrs

from smartproxy.backend import second_factors, users
from smartproxy.backend.authority import site_row
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Nothing
from smartproxy.backend.operations.user import KNOWN_LOGINS, KnownLogin, LoginWanted
from smartproxy.policy import limits
from smartproxy.policy.permissions import ADMINISTRATOR_NAME
from smartproxy.policy.schema import ListOf, Optional, kind, masked
from smartproxy.policy.values import Line, Whole

OWN: Final = "account:own"
"""The scope."""
ACCOUNT = Family("account", "account", key="")


@attrs.frozen(kw_only=True)
class KnownAccount:
    """The account of who calls.

    :ivar recovery_codes: how many recovery codes are left of its second factor; ``None`` if it has none.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    recovery_codes: int | None = attrs.field(metadata=kind(Optional(Whole(limits.EVENT_NUMBER))))
    logins: tuple[KnownLogin, ...] = attrs.field(metadata=kind(KNOWN_LOGINS))


@attrs.frozen(kw_only=True)
class OwnPassword:
    """Another password for who calls; whoever takes the call has compared the old one."""

    password: str = attrs.field(repr=masked, metadata=kind(Line(most=limits.PASSWORD.most)))


@attrs.frozen(kw_only=True)
class BegunSecondFactor:
    """What an authenticator needs; it is told only once.

    :ivar secret: in base32.
    :ivar address: the same as an address that authenticators take.
    """

    secret: str = attrs.field(repr=masked, metadata=kind(AnyText()))
    address: str = attrs.field(repr=masked, metadata=kind(AnyText()))


@attrs.frozen(kw_only=True)
class ShownCode:
    """A code of the authenticator."""

    code: str = attrs.field(repr=masked, metadata=kind(Line(most=40)))


@attrs.frozen(kw_only=True)
class RecoveryCodes:
    """Codes for when the authenticator is lost; they are told only here."""

    codes: tuple[str, ...] = attrs.field(repr=masked, metadata=kind(ListOf(item=AnyText())))


@ACCOUNT.reading("show", "Show one's own account.", path="GET ", scope=OWN)
def show(look: Transaction, wanted: Nothing) -> KnownAccount:
    """The account."""
    users.find(look.session, look.by)
    return KnownAccount(
        name=look.by,
        recovery_codes=second_factors.counts(look.session, look.by),
        logins=tuple(map(KnownLogin.of, users.logins(look.session, look.now, look.by))),
    )


@ACCOUNT.changing("password", "Give oneself another password, and end one's logins.", scope=OWN)
def password(change: Change, wanted: OwnPassword) -> KnownAccount:
    """Set the new password."""
    users.set_password(change, change.by, wanted.password)
    counts = second_factors.counts(change.session, change.by)
    return KnownAccount(name=change.by, recovery_codes=counts, logins=())


@ACCOUNT.acting("begin-second-factor", "Make the secret of one's own second factor.", scope=OWN)
def begin_second_factor(work: Transaction, wanted: Nothing) -> BegunSecondFactor:
    """Make the second factor; one that was begun before and not confirmed is forgotten."""
    users.find(work.session, work.by)
    secret = second_factors.begin(work.session, work.by)
    return BegunSecondFactor(
        secret=secret, address=second_factors.address(work.by, site_row(work.session).name, secret)
    )


@ACCOUNT.acting("confirm-second-factor", "Let one's own second factor count, by a first code.", scope=OWN)
def confirm_second_factor(work: Transaction, wanted: ShownCode) -> RecoveryCodes:
    """Confirm the second factor, and make recovery codes."""
    return RecoveryCodes(codes=tuple(second_factors.confirm(work.session, work.by, wanted.code, work.now)))


@ACCOUNT.acting("drop-second-factor", "Log in by password alone again.", scope=OWN)
def drop_second_factor(work: Transaction, wanted: Nothing) -> KnownAccount:
    """Forget one's own second factor."""
    second_factors.drop(work.session, work.by)
    return KnownAccount(name=work.by, recovery_codes=None, logins=())


@ACCOUNT.acting("end-login", "End one of one's own logins.", path="POST :end-login", scope=OWN)
def end_login(work: Transaction, wanted: LoginWanted) -> KnownLogin:
    """End one login."""
    return KnownLogin.of(users.end_login(work.session, wanted.number, work.by))
