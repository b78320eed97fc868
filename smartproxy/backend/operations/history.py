"""Operations on the history: who changed what, when and why."""

from datetime import datetime

import attrs

from smartproxy.backend import history
from smartproxy.backend.change import Channel
from smartproxy.backend.history import HistoryEntry
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import EntryDifference
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import Instant, Lines, Member, Whole

HISTORY = Family("history", "history", key="number")
_SCOPE = "history:audit"
_TEXT = Lines(most=100_000)


@attrs.frozen(kw_only=True)
class GenerationsWanted:
    """Which part of the history.

    :ivar before: only generations with a lower number: the cursor; ``None``: the newest.
    :ivar limit: how many.
    """

    before: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.GENERATION)), people=ForPeople(help="the cursor 'next' of the part before")
        ),
    )
    limit: int = attrs.field(
        default=limits.PAGE.default, metadata=kind(Whole(limits.PAGE), people=ForPeople(help="how many"))
    )


@attrs.frozen(kw_only=True)
class GenerationWanted:
    """Which generation.

    :ivar number: its number.
    """

    number: int = attrs.field(metadata=kind(Whole(limits.GENERATION)))


@attrs.frozen(kw_only=True)
class KnownGeneration:
    """A generation: who made it, and why.

    :ivar channel: how the change came in.
    :ivar change: what was done, in the operator's words.
    """

    number: int = attrs.field(metadata=kind(Whole(limits.GENERATION)))
    made: datetime = attrs.field(metadata=kind(Instant()))
    made_by: str = attrs.field(metadata=kind(_TEXT))
    channel: Channel = attrs.field(metadata=kind(Member(Channel)))
    change: str = attrs.field(metadata=kind(_TEXT))
    comment: str | None = attrs.field(metadata=kind(Optional(_TEXT)))


@attrs.frozen(kw_only=True)
class GenerationPage:
    """A part of the history, oldest first.

    :ivar next: the cursor of the part before; ``None`` where the history begins.
    """

    items: tuple[KnownGeneration, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownGeneration))))
    next: int | None = attrs.field(metadata=kind(Optional(Whole(limits.GENERATION))))


@attrs.frozen(kw_only=True)
class ShownGeneration:
    """A generation and what it changed, without secrets."""

    generation: KnownGeneration = attrs.field(metadata=kind(ObjectOf(KnownGeneration)))
    differences: tuple[EntryDifference, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(EntryDifference), most=limits.DOCUMENT_CONTAINERS_MOST))
    )


@HISTORY.reading("list", "List the generations of the configuration: who changed what, when and why.", scope=_SCOPE)
def listed(look: Transaction, wanted: GenerationsWanted) -> GenerationPage:
    """The newest generations before a number."""
    found = history.listed(look.session, wanted.limit, before=wanted.before)
    more = bool(found) and found[0].number > 1 and len(found) == wanted.limit
    return GenerationPage(items=tuple(map(_known, found)), next=found[0].number if more else None)


@HISTORY.reading("show", "Show what a generation changed, compared with the one before; never a secret.", scope=_SCOPE)
def show(look: Transaction, wanted: GenerationWanted) -> ShownGeneration:
    """One generation with its differences."""
    entry = history.find(look.session, wanted.number)
    found = history.differences_of(look.session, entry.number)
    return ShownGeneration(generation=_known(entry), differences=tuple(map(EntryDifference.of, found)))


def _known(entry: HistoryEntry) -> KnownGeneration:
    return KnownGeneration(
        number=entry.number,
        made=entry.made,
        made_by=entry.made_by,
        channel=entry.channel,
        change=entry.change,
        comment=entry.comment,
    )
