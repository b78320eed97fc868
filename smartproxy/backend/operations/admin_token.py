"""Operations on administrators' tokens: who may use the API, and for what."""

import difflib
from collections.abc import Iterable
from datetime import datetime, timedelta

import attrs

from smartproxy.backend import administrators
from smartproxy.backend.access_tables import AdministratorRow
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations.operation import Family, Transaction, every_operation
from smartproxy.backend.operations.shapes import Nothing, Removed
from smartproxy.policy.permissions import ADMINISTRATOR_NAME, EVERYTHING, SCOPE, SCOPES_MOST, AdminRole
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind, masked
from smartproxy.policy.values import Instant, Line, Member

ADMIN_TOKEN = Family("admin-token", "admin-tokens")

LIFE = timedelta(days=365)
"""Until the end of a token for which none is given."""
_TEXT = Line(most=1000)


@attrs.frozen(kw_only=True)
class TokenAddition:
    """A token to make.

    :ivar name: what it is called: whose it is.
    :ivar role: scopes that go together.
    :ivar scopes: scopes beside those of the role.
    :ivar until: its end; a year from now if none is given.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME, people=ForPeople(help="whose it is")))
    role: AdminRole | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Member(AdminRole)),
            people=ForPeople(help=AdminRole.told()),
        ),
    )
    scopes: tuple[str, ...] = attrs.field(
        default=(),
        metadata=kind(
            ListOf(item=SCOPE, most=SCOPES_MOST),
            people=ForPeople(help="what it may do beside, such as partner:change, ca:* or *:read", option="--scope"),
        ),
    )
    until: datetime | None = attrs.field(
        default=None, metadata=kind(Optional(Instant()), people=ForPeople(help="its end; a year from now if not given"))
    )


@attrs.frozen(kw_only=True)
class KnownToken:
    """A token, without the token itself.

    :ivar until: its end.
    :ivar last_used: when it was used last, if it ever was.
    :ivar last_address: from where.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    role: AdminRole | None = attrs.field(metadata=kind(Optional(Member(AdminRole))))
    scopes: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=SCOPE, most=SCOPES_MOST)))
    until: datetime = attrs.field(metadata=kind(Instant()))
    created: datetime = attrs.field(metadata=kind(Instant()))
    created_by: str = attrs.field(metadata=kind(_TEXT))
    last_used: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    last_address: str | None = attrs.field(metadata=kind(Optional(_TEXT)))


@attrs.frozen(kw_only=True)
class NewToken:
    """A token that was made; it is shown only here.

    :ivar token: what its owner sends with each call.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    token: str = attrs.field(repr=masked, metadata=kind(Line(most=200)))
    until: datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class TokenWanted:
    """Which token.

    :ivar name: its name.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))


@attrs.frozen(kw_only=True)
class KnownTokens:
    """Every token of an administrator, by name, with what it may do; the tokens themselves are stored nowhere."""

    items: tuple[KnownToken, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownToken))))


@ADMIN_TOKEN.reading(
    "list", "List administrators' tokens; the tokens themselves are stored nowhere.", scope="admin-token:audit"
)
def listed(look: Transaction, wanted: Nothing) -> KnownTokens:
    """All tokens by name."""
    return KnownTokens(items=tuple(map(_known, administrators.listed(look.session))))


@ADMIN_TOKEN.changing("create", "Make a token for the API; it is shown once and never again.", path="POST ")
def create(change: Change, wanted: TokenAddition) -> NewToken:
    """Make a token that may do no more than who makes it.

    :raises ChangeRefused: for a scope that no operation has.
    """
    _see_scopes(wanted.scopes)
    entry, token = administrators.create(
        change,
        wanted.name,
        role=wanted.role,
        scopes=wanted.scopes,
        until=wanted.until or change.now + LIFE,
        allowed=change.allowed,
    )
    return NewToken(name=entry.name, token=token, until=entry.until)


@ADMIN_TOKEN.changing("revoke", "Revoke a token at once.", path="DELETE {name}")
def revoke(change: Change, wanted: TokenWanted) -> Removed:
    """Revoke the token."""
    administrators.revoke(change, wanted.name)
    return Removed(name=wanted.name)


def _see_scopes(scopes: Iterable[str]) -> None:
    """Refuse a scope that no operation has: the token could not do what its maker believes.

    :raises ChangeRefused: with the scope that may have been meant.
    """
    parts = [each.scope.partition(":") for each in every_operation().values()]
    known = {EVERYTHING, *(form for a, _, b in parts for form in (f"{a}:{b}", f"{a}:*", f"*:{b}"))}
    for each in scopes:
        if ":" in each and each not in known:
            near = difflib.get_close_matches(each, sorted(known), n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ChangeRefused(f"no operation has the scope {each!r}{meant}")


def _known(row: AdministratorRow) -> KnownToken:
    entry = row.entry
    return KnownToken(
        name=entry.name,
        role=entry.role,
        scopes=entry.scopes,
        until=entry.until,
        created=entry.created,
        created_by=entry.created_by,
        last_used=row.last_used,
        last_address=row.last_address,
    )
