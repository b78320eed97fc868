"""Operations on the rules that silence events."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend.alerts import ignore_rules
from smartproxy.backend.alerts.ignore_rules import IgnoreRuleState, IgnoreTrial
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import WARNINGS, Instantaneous, Named, Nothing
from smartproxy.policy import limits
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, PartOf, kind
from smartproxy.policy.values import NAME, Whole

_NUMBER = Whole(limits.EVENT_NUMBER)
_TIME = Optional(Instantaneous())
_FIELDS = PartOf(cls=IgnoreRule, without=frozenset({"name"}))


@attrs.frozen(kw_only=True)
class IgnoreAddition:
    """A rule to add.

    :ivar rule: its text, and what else is to be said of it.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(help="what the rule is called")))
    rule: Mapping[str, Any] = attrs.field(
        metadata=kind(attrs.evolve(_FIELDS, required=frozenset({"text"})), people=ForPeople(help="the rule"))
    )


@attrs.frozen(kw_only=True)
class IgnoreAlteration:
    """A change of a rule.

    :ivar rule: the fields that change; all others stay as they are.
    """

    name: str = attrs.field(metadata=kind(NAME))
    rule: Mapping[str, Any] = attrs.field(metadata=kind(_FIELDS, people=ForPeople(help="the fields that change")))


@attrs.frozen(kw_only=True)
class TriedRule:
    """A rule that is in force, and what it would have silenced lately.

    :ivar hits: how many of the events of WARNING and above of the last 7 days it would have silenced.
    :ivar tried: of how many.
    :ivar warnings: what lets one doubt that it does what its author wants.
    """

    rule: IgnoreRule = attrs.field(metadata=kind(ObjectOf(IgnoreRule)))
    hits: int = attrs.field(metadata=kind(_NUMBER))
    tried: int = attrs.field(metadata=kind(_NUMBER))
    warnings: tuple[str, ...] = attrs.field(metadata=kind(WARNINGS))


@attrs.frozen(kw_only=True)
class KnownIgnoreRule:
    """A rule, and how often it silenced something.

    :ivar last_event: the number of the event that it silenced last.
    """

    rule: IgnoreRule = attrs.field(metadata=kind(ObjectOf(IgnoreRule)))
    hits: int = attrs.field(metadata=kind(_NUMBER))
    last_hit: datetime | None = attrs.field(metadata=kind(_TIME))
    last_event: int | None = attrs.field(metadata=kind(Optional(_NUMBER)))


@attrs.frozen(kw_only=True)
class KnownIgnoreRules:
    """All rules."""

    items: tuple[KnownIgnoreRule, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownIgnoreRule))))


def _rule(session: Session, name: str) -> IgnoreRule:
    return ignore_rules.find(session, name).entry


IGNORE = Family("ignore", "ignore-rules", state=_rule)


@IGNORE.reading("list", "List the rules that silence events, with their hits.")
def listed(look: Transaction, wanted: Nothing) -> KnownIgnoreRules:
    """All rules by name."""
    return KnownIgnoreRules(items=tuple(map(_known, ignore_rules.listed(look.session))))


@IGNORE.changing("add", "Silence events whose line has a text in it: they are stored and marked, and start nothing.")
def add(change: Change, wanted: IgnoreAddition) -> TriedRule:
    """Add a rule."""
    return _tried(change, wanted.name, ignore_rules.add(change, IgnoreRule(name=wanted.name, **wanted.rule)))


@IGNORE.changing("change", "Change a rule; what is not given stays.")
def alter(change: Change, wanted: IgnoreAlteration) -> TriedRule:
    """Change fields of a rule."""
    return _tried(change, wanted.name, ignore_rules.alter(change, wanted.name, **wanted.rule))


@IGNORE.changing("remove", "Remove a rule.")
def remove(change: Change, wanted: Named) -> KnownIgnoreRule:
    """Remove it; the answer says what it was."""
    return _known(ignore_rules.remove(change, wanted.name))


def _tried(change: Change, name: str, trial: IgnoreTrial) -> TriedRule:
    change.session.flush()
    rule = _rule(change.session, name)
    return TriedRule(rule=rule, hits=trial.hits, tried=trial.tried, warnings=tuple(ignore_rules.doubts(rule, trial)))


def _known(state: IgnoreRuleState) -> KnownIgnoreRule:
    return KnownIgnoreRule(rule=state.rule, hits=state.hits, last_hit=state.last_hit, last_event=state.last_event)
