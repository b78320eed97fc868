"""What administrators may do: scopes, the roles that stand for several of them, and an administrator's entry.

Duty: judge whether the scopes that somebody has stand for the one that is needed. A scope is the family of an operation
and what it does: ``partner:change``. A star stands for all families or for everything that is done: ``*:read``,
``partner:*``, ``*``. What operations there are is the backend's to say.
"""

import datetime
import enum
from collections.abc import Collection
from typing import Final

import attrs

from smartproxy.policy.schema import ForPeople, ListOf, Optional, kind
from smartproxy.policy.values import SHA256, Flag, Instant, Line, Member

EVERYTHING: Final = "*"
"""The scope that stands for all."""
SCOPES_MOST: Final = 100
SCOPE: Final = Line(
    most=100,
    pattern=r"\*|[a-z][a-z-]*:\*|(\*|[a-z][a-z-]*):[a-z]+",
    form="a scope such as partner:change, partner:*, *:read or *",
)
ADMINISTRATOR_NAME: Final = Line(
    most=64,
    pattern=r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?",
    form="a name of letters, digits, '.', '_' and '-', at most 64",
)


class AdminRole(enum.StrEnum):
    """Scopes that go together."""

    VIEWER = "viewer"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    @property
    def scopes(self) -> frozenset[str]:
        """What the role may do."""
        return _SCOPES[self]

    @classmethod
    def told(cls) -> str:
        """What the roles may do, for people."""
        return "; ".join(f"{each.value} = {_TOLD[each]}" for each in cls)


_SCOPES = {
    AdminRole.VIEWER: frozenset({"*:read"}),
    AdminRole.AUDITOR: frozenset({"*:read", "*:audit"}),
    AdminRole.OPERATOR: frozenset({"*:read", "partner:*", "ca:*", "crl:*", "trial:*", "session:*", "history:undo"}),
    AdminRole.ADMINISTRATOR: frozenset({EVERYTHING}),
}
_TOLD = {
    AdminRole.VIEWER: "read everything but history, audit trail, users and tokens",
    AdminRole.AUDITOR: "read everything",
    AdminRole.OPERATOR: "read as a viewer does, change partners, CAs and revocation lists and undo such a change, test "
    "connections, end sessions and set their log level",
    AdminRole.ADMINISTRATOR: "everything",
}


def stands_for(scopes: Collection[str], wanted: str) -> bool:
    """Whether somebody with these scopes may do what a scope allows; the scope may have a star, too."""
    family, _, effect = wanted.partition(":")
    return any(each in scopes for each in (EVERYTHING, wanted, f"{family}:*", f"*:{effect}"))


@attrs.frozen(kw_only=True)
class AdministratorEntry:
    """An administrator's token.

    :ivar name: what it is called, and whose it is.
    :ivar token_sha256: the SHA-256 of the token; the token itself is not stored.
    :ivar role: scopes that go together; ``None`` for none.
    :ivar scopes: what it may do beside.
    :ivar until: its end.
    :ivar created_by: who made it.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME, people=ForPeople(listed=True)))
    token_sha256: str = attrs.field(repr=False, metadata=kind(SHA256))
    role: AdminRole | None = attrs.field(
        default=None, metadata=kind(Optional(Member(AdminRole)), people=ForPeople(listed=True))
    )
    scopes: tuple[str, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=SCOPE, most=SCOPES_MOST), people=ForPeople(listed=True))
    )
    until: datetime.datetime = attrs.field(metadata=kind(Instant()))
    created: datetime.datetime = attrs.field(metadata=kind(Instant()))
    created_by: str = attrs.field(metadata=kind(Line(most=1000)))

    @property
    def may(self) -> frozenset[str]:
        """All its scopes."""
        return frozenset(self.scopes) | (frozenset() if self.role is None else self.role.scopes)


@attrs.frozen(kw_only=True)
class UserEntry:
    """Somebody who logs in to the page.

    :ivar name: what the user is called, at the login and in the history.
    :ivar created_by: who made the account.
    :ivar password_set: when its password was set last.
    :ivar enabled: whether it may log in.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME, people=ForPeople(listed=True)))
    role: AdminRole = attrs.field(metadata=kind(Member(AdminRole), people=ForPeople(listed=True)))
    created: datetime.datetime = attrs.field(metadata=kind(Instant()))
    created_by: str = attrs.field(metadata=kind(Line(most=1000)))
    password_set: datetime.datetime = attrs.field(metadata=kind(Instant()))
    enabled: bool = attrs.field(default=True, metadata=kind(Flag(), people=ForPeople(listed=True)))
