"""Operations on the history: who changed what, when and why."""

from datetime import datetime

import attrs

from smartproxy.backend import history, rollback
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.change import Change, Channel
from smartproxy.backend.errors import ChangeRefused, ScopeMissing
from smartproxy.backend.history import HistoryEntry
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, EntryDifference, ForeseenRefusal
from smartproxy.backend.rollback import RollBack
from smartproxy.backend.states import EntryKind
from smartproxy.policy import limits
from smartproxy.policy.permissions import stands_for
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


@attrs.frozen(kw_only=True)
class RollBackWanted:
    """Which generation is wanted again.

    :ivar number: its number.
    :ivar newest: the generation that its caller has seen in force: if there is another one, nothing is done.
    """

    number: int = attrs.field(metadata=kind(Whole(limits.GENERATION)))
    newest: int = attrs.field(
        metadata=kind(Whole(limits.GENERATION), people=ForPeople(help="the generation in force that the plan is from"))
    )

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return str(self.number)


@attrs.frozen(kw_only=True)
class NotBroughtBack:
    """An entry that stays as it is, although the earlier generation held another one.

    :ivar difference: from the earlier generation to the present.
    :ivar why: why it cannot be brought back.
    """

    difference: EntryDifference = attrs.field(metadata=kind(ObjectOf(EntryDifference)))
    why: str = attrs.field(metadata=kind(AnyText()))


@attrs.frozen(kw_only=True)
class PlannedRollBack:
    """What a roll-back does.

    :ivar number: the generation whose content is wanted.
    :ivar newest: the generation that it starts from.
    :ivar differences: what it changes.
    :ivar refusals: whom it refuses.
    :ivar kept: what cannot be brought back.
    """

    number: int = attrs.field(metadata=kind(Whole(limits.GENERATION)))
    newest: int = attrs.field(metadata=kind(Whole(limits.GENERATION)))
    differences: tuple[EntryDifference, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(EntryDifference), most=limits.DOCUMENT_CONTAINERS_MOST))
    )
    refusals: tuple[ForeseenRefusal, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(ForeseenRefusal), most=limits.DOCUMENT_CONTAINERS_MOST))
    )
    kept: tuple[NotBroughtBack, ...] = attrs.field(
        metadata=kind(ListOf(item=ObjectOf(NotBroughtBack), most=limits.DOCUMENT_CONTAINERS_MOST))
    )


@attrs.frozen(kw_only=True)
class DoneRollBack:
    """A roll-back that was done.

    :ivar generation: the number of the generation that it made.
    :ivar plan: what it changed.
    """

    generation: int = attrs.field(metadata=kind(Whole(limits.GENERATION)))
    plan: PlannedRollBack = attrs.field(metadata=kind(ObjectOf(PlannedRollBack)))


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


@HISTORY.reading("plan", "Say what a roll-back to a generation would change, and whom it would refuse.", scope=_SCOPE)
def plan(look: Transaction, wanted: GenerationWanted) -> PlannedRollBack:
    """What would be done."""
    return _planned(rollback.plan(look.session, wanted.number, look.now))


@HISTORY.changing(
    "roll-back", "Have settings, CAs, partners and ignore rules of an earlier generation again, as a new one."
)
def roll_back(change: Change, wanted: RollBackWanted) -> DoneRollBack:
    """Have them again, unless something was changed since it was planned."""
    found = attrs.evolve(rollback.plan(change.session, wanted.number, change.now), newest=wanted.newest)
    rollback.carry_out(change, found)
    return DoneRollBack(generation=change.generation, plan=_planned(found))


@HISTORY.changing("undo", "Take the newest generation back as a whole, if nothing came after it.", scope="history:undo")
def undo(change: Change, wanted: GenerationWanted) -> DoneRollBack:
    """Have the generation before again: what its caller may change, and one administrator alone may decide."""
    done = history.differences_of(change.session, wanted.number)
    if not rollback.takes_back(done, change.now):
        raise ChangeRefused(f"generation {wanted.number} holds what cannot be brought back; change it by hand")
    if backend_settings(change.session).four_eyes:
        raise ChangeRefused("two administrators decide here (backend.four_eyes): make the change that undoes it")
    for scope in sorted({_SCOPE_OF[each.place.subject] for each in done}):
        if not stands_for(change.allowed, scope):
            raise ScopeMissing(f"{change.by} may not undo generation {wanted.number}: it needs the scope {scope}")
    found = attrs.evolve(rollback.plan(change.session, wanted.number - 1, change.now), newest=wanted.number)
    rollback.carry_out(change, found)
    return DoneRollBack(generation=change.generation, plan=_planned(found))


_SCOPE_OF = {
    EntryKind.SETTING: "settings:change",
    EntryKind.CA: "ca:change",
    EntryKind.PARTNER: "partner:change",
    EntryKind.IGNORE: "ignore:change",
}
"""What somebody needs who changes such an entry."""


def _planned(found: RollBack) -> PlannedRollBack:
    return PlannedRollBack(
        number=found.number,
        newest=found.newest,
        differences=tuple(map(EntryDifference.of, found.differences)),
        refusals=tuple(ForeseenRefusal(partner=each.partner, why=each.why) for each in found.refusals),
        kept=tuple(NotBroughtBack(difference=EntryDifference.of(each.difference), why=each.why) for each in found.kept),
    )


def _known(entry: HistoryEntry) -> KnownGeneration:
    return KnownGeneration(
        number=entry.number,
        made=entry.made,
        made_by=entry.made_by,
        channel=entry.channel,
        change=entry.change,
        comment=entry.comment,
    )
