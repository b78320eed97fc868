"""Inputs and answers that many operations share."""

from collections.abc import Iterable

import attrs

from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, Optional, kind
from smartproxy.policy.values import NAME, Lines, Whole

WARNING_CHARACTERS_MOST = 10_000
WARNINGS_MOST = 1_000
WARNINGS = ListOf(item=Lines(most=WARNING_CHARACTERS_MOST), most=WARNINGS_MOST)
"""What the operator had better know although it was done."""


@attrs.frozen(kw_only=True)
class Nothing:
    """An input that says nothing further."""


@attrs.frozen(kw_only=True)
class Named:
    """Which one.

    :ivar name: its name.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(help="its name")))


@attrs.frozen(kw_only=True)
class Removed:
    """What is not there any more.

    :ivar name: its name.
    """

    name: str = attrs.field(metadata=kind(NAME))


@attrs.frozen(kw_only=True)
class Page:
    """Which part of a list.

    :ivar after: the cursor of the answer before; ``None`` for the first part.
    :ivar limit: how many entries.
    """

    after: str | None = attrs.field(
        default=None,
        metadata=kind(Optional(NAME), people=ForPeople(help="the cursor 'next' of the part before")),
    )
    limit: int = attrs.field(
        default=limits.PAGE.default, metadata=kind(Whole(limits.PAGE), people=ForPeople(help="how many entries"))
    )

    def of(self, names: Iterable[str]) -> tuple[list[str], str | None]:
        """The names that are on this page, and the cursor of the next one.

        Sorted here, and not by the database: each has an order of its own for what is not ASCII.
        """
        left = sorted(each for each in names if self.after is None or each > self.after)
        found = left[: self.limit]
        return found, found[-1] if len(left) > self.limit else None
