"""The rules that silence events which are known: what an operator does with them, and their end.

A rule takes effect when an event is stored (:mod:`smartproxy.backend.alerts.intake`): the event is marked with the
rule's name, the hit is counted, and nothing is started. Rules are in no configuration document; a change of them is a
generation all the same, so that the history says who silenced what.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import Any, Final

import attrs
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from smartproxy.backend import journal
from smartproxy.backend.alert_tables import IgnoreRow
from smartproxy.backend.alerts.intake import Arrival, never_ignored
from smartproxy.backend.change import Change, judged
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound
from smartproxy.backend.journal import Filter
from smartproxy.backend.named import NamedRows
from smartproxy.logs.catalogue import EVENTS
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from smartproxy.policy.alerts import IgnoreRule, folded
from smartproxy.policy.schema import declarations

LOOKED_BACK: Final = timedelta(days=7)
"""How far a new rule is tried on what is stored."""
TRIED_MOST: Final = 10_000
"""The newest events of that time that it is tried on."""
_MANY: Final = 20
"""Of fewer events it says nothing that a rule hits most of them."""
_NAME: Final = re.compile(r"[a-z_]+\.[a-z_]*")
_SUBJECTS: Final = frozenset(name.partition(".")[0] for name in EVENTS)
_ROWS = NamedRows(
    IgnoreRow, lambda name, known: NotFound(f"there is no ignore rule {name!r}; 'smartproxy ignore list' shows all")
)
find = _ROWS.find


@attrs.frozen(kw_only=True)
class IgnoreRuleState:
    """A rule, and how often it silenced something.

    :ivar last_event: the number of the event that it silenced last.
    """

    rule: IgnoreRule
    hits: int
    last_hit: datetime | None
    last_event: int | None


@attrs.frozen(kw_only=True)
class IgnoreTrial:
    """What a rule would have silenced of the events of WARNING and above in :data:`LOOKED_BACK`."""

    hits: int
    tried: int


def add(change: Change, rule: IgnoreRule) -> IgnoreTrial:
    """Add a rule; returns what it would have silenced lately.

    :raises AlreadyThere: when there is one of this name.
    :raises ChangeRefused: when it is over already, ends before it begins, or there are too many rules.
    """
    if _ROWS.get(change.session, rule.name) is not None:
        raise AlreadyThere(
            f"there is an ignore rule {rule.name!r} already; 'smartproxy ignore change {quote(rule.name)}' changes it"
        )
    if (change.session.scalar(select(func.count()).select_from(IgnoreRow)) or 0) >= limits.IGNORE_RULES_MOST:
        raise ChangeRefused(f"there are {limits.IGNORE_RULES_MOST} ignore rules already; remove one first")
    entry = _judged(change, rule)
    change.session.add(IgnoreRow(name=rule.name, entry=entry))
    change.note("ignore.changed", ignored_by=rule.name, command=change.what, until=entry.valid_until)
    return trial(change.session, entry, change.now)


def alter(change: Change, name: str, **values: Any) -> IgnoreTrial:
    """Change fields of a rule; returns what it would have silenced lately as it is then.

    :raises NotFound: when there is none of this name.
    :raises ChangeRefused: when it is over already, or ends before it begins.
    """
    row = find(change.session, name)
    entry = _judged(change, attrs.evolve(row.entry, **values))
    change.compare(row.entry, entry)
    row.entry = entry
    change.note("ignore.changed", ignored_by=name, command=change.what, until=row.entry.valid_until)
    return trial(change.session, row.entry, change.now)


def remove(change: Change, name: str) -> IgnoreRuleState:
    """Remove a rule; returns what it was.

    :raises NotFound: when there is none of this name.
    """
    row = find(change.session, name)
    change.session.delete(row)
    change.note("ignore.changed", ignored_by=name, command=change.what, count=row.hits)
    return _state(row)


def put(change: Change, name: str, rule: IgnoreRule | None) -> None:
    """Have a rule, or none of this name, whatever is there: one that ended by itself is gone already."""
    there = _ROWS.get(change.session, name) is not None
    if rule is None:
        if there:
            remove(change, name)
    elif there:
        alter(change, name, **{each.name: getattr(rule, each.name) for each in declarations(IgnoreRule)[1:]})
    else:
        add(change, rule)


def take(change: Change, rules: Sequence[IgnoreRule]) -> None:
    """Put these rules in the place of all others; one whose name stays keeps its hits."""
    rows = {row.name: row for row in change.session.scalars(select(IgnoreRow))}
    for rule in rules:
        row = rows.pop(rule.name, None)
        if row is None:
            change.session.add(IgnoreRow(name=rule.name, entry=rule))
        elif row.entry == rule:
            continue
        else:
            row.entry = rule
        change.note("ignore.changed", ignored_by=rule.name, command=change.what, until=rule.valid_until)
    for row in rows.values():
        change.session.delete(row)
        change.note("ignore.changed", ignored_by=row.name, command=change.what, count=row.hits)


def listed(session: Session) -> Sequence[IgnoreRuleState]:
    """All rules by name."""
    return [_state(row) for row in _ROWS.listed(session)]


def trial(session: Session, rule: IgnoreRule, now: datetime) -> IgnoreTrial:
    """Try a rule on what is stored."""
    wanted = Filter(level=Severity.WARNING, since=now - LOOKED_BACK)
    found = journal.find(session, wanted, most=TRIED_MOST)
    arrivals = [Arrival(each.name, each.level, each.source, each.time, each.fields) for each in found]
    hits = sum(1 for each in arrivals if each.may_be_ignored and rule.hits(each.folded()))
    return IgnoreTrial(hits=hits, tried=len(arrivals))


def doubts(rule: IgnoreRule, tried: IgnoreTrial) -> Iterator[str]:
    """What lets one doubt that a rule does what its author wants, as sentences.

    :param tried: what it would have silenced lately.
    """
    for word in folded(rule.text).split():
        if not (_NAME.fullmatch(word) and word.partition(".")[0] in _SUBJECTS):
            continue
        meant = [name for name in EVENTS if word in name]
        if not meant:
            yield f"no event is called {word}; 'smartproxy events' shows how events are written"
        elif all(map(never_ignored, meant)):
            yield (
                f"no rule silences {word}: it tells of a bug, of a violation of the tunnel's protocol, of what "
                "operators did, or of rules, script and mail themselves; remove this rule, and see to the cause"
            )
        elif all(EVENTS[name].level < Severity.WARNING for name in meant):
            yield f"{word} is below WARNING: it is silenced only where event script or mail name it"
    if tried.tried >= _MANY and tried.hits * 2 > tried.tried:
        yield (
            f"it would have silenced {tried.hits} of the {tried.tried} events of the last 7 days: "
            "say more in its text, or nobody learns of what is new"
        )


def take_expired(session: Session, now: datetime) -> list[IgnoreRuleState]:
    """Remove the rules whose time is over; returns what they were."""
    over = [row for row in _ROWS.listed(session) if row.entry.is_over(now)]
    for row in over:
        session.delete(row)
    return [_state(row) for row in over]


def _judged(change: Change, rule: IgnoreRule) -> IgnoreRule:
    rule = judged(rule, f"ignore rule {rule.name}")
    if rule.is_over(change.now):
        raise ChangeRefused(f"the time of the ignore rule {rule.name!r} is over already; give a later --until")
    if rule.valid_from is not None and rule.valid_until is not None and rule.valid_until <= rule.valid_from:
        raise ChangeRefused(f"the ignore rule {rule.name!r} would end before it begins; nothing is changed")
    return rule


def _state(row: IgnoreRow) -> IgnoreRuleState:
    return IgnoreRuleState(rule=row.entry, hits=row.hits, last_hit=row.last_hit, last_event=row.last_event)
