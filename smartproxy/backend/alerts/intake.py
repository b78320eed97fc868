"""What becomes of an event when it is stored: whether a rule silences it, and whether it starts script or mail.

Decided in the transaction that stores the event, so that each stored event starts each channel once, whatever ends in
between: a row of ``alerts`` is written with it, and :mod:`smartproxy.backend.alerts.desk` works off these rows. Trusts
no text of an event. What must never be silent is not silenced by any rule: bugs of the program, violations of the
tunnel's protocol, and what operators did; events of this package itself start nothing, so that no failure feeds itself.
"""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from smartproxy.backend.alert_tables import AlertRow, IgnoreRow
from smartproxy.backend.named import by_name
from smartproxy.backend.schema import SettingRow
from smartproxy.logs.fields import Value
from smartproxy.logs.render import line, shorten
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from smartproxy.policy.alerts import AlertLevel, AlertSelection, IgnoreRule, folded
from smartproxy.policy.schema import read_object
from smartproxy.policy.settings import BackendSettings

COMMAND_SOURCE: Final = "command"
"""The source of events that the ``smartproxy`` command records."""
IGNORED_BY: Final = "ignored_by"
"""The field of a stored event that names the rule that silenced it."""
OWN_SUBJECTS: Final = frozenset({"event_script", "mail", "ignore"})
"""Subjects whose events start nothing: they tell of this package's own work."""

_NEVER_IGNORED: Final = frozenset({"internal.error", "tunnel.violation"})
_AUDIT: Final = "audit"
_BACKEND: Final = "backend."
_UNLIMITED: Final = 1_000_000


class AlertChannel(enum.StrEnum):
    """What an event can start."""

    SCRIPT = "script"
    MAIL = "mail"


class AlertState(enum.StrEnum):
    """How far it is with what an event started."""

    WAITING = "waiting"  #: to be begun when it is due, also again
    DONE = "done"
    FAILED = "failed"
    OLD = "old"  #: the event was too old when it came, or when its turn came
    DROPPED = "dropped"  #: too many waited; not told yet
    LOST = "lost"  #: too many waited, and that was told


def never_ignored(name: str) -> bool:
    """Whether no rule silences the events of a name."""
    subject = name.partition(".")[0]
    return name in _NEVER_IGNORED or subject in OWN_SUBJECTS or subject == _AUDIT


def together(named: Mapping[str, Value | None], others: Mapping[str, Value]) -> dict[str, Value]:
    """All fields of an event, in the order in which they are shown.

    :param named: those that have a column of their own; ``None`` for one that the event does not have.
    """
    return {**{key: value for key, value in named.items() if value is not None}, **others}


@attrs.frozen
class Arrival:
    """An event that is about to be stored; its texts are safe to show.

    :ivar others: what it says, but for *named*.
    :ivar named: the fields that have a column of their own.
    """

    name: str
    level: Severity
    source: str
    time: datetime
    others: Mapping[str, Value]
    named: Mapping[str, Value | None] = attrs.field(factory=dict)

    @property
    def fields(self) -> Mapping[str, Value]:
        """All that it says, in the order in which it is shown."""
        return together(self.named, self.others)

    @property
    def partner(self) -> str | None:
        """The partner that it names."""
        found = self.named.get("partner") or self.others.get("partner")
        return found if isinstance(found, str) else None

    @property
    def subject(self) -> str:
        """The first part of its name."""
        return self.name.partition(".")[0]

    @property
    def may_be_ignored(self) -> bool:
        """Whether a rule may silence it."""
        return not (self.source == COMMAND_SOURCE or never_ignored(self.name))

    def folded(self) -> str:
        """Its line as people read it, long and short, in the form for comparing."""
        begin = f"{self.level.label} {self.source}"
        # A break between the two: no text of a rule spans both.
        both = (line(self.name, self.fields), shorten(self.name, self.fields, _UNLIMITED))
        return "\n".join(folded(f"{begin} {each}") for each in both)


@attrs.frozen(kw_only=True)
class Treatment:
    """What becomes of an event.

    :ivar ignored_by: the rule that silences it.
    :ivar channels: what it starts.
    """

    ignored_by: str | None = None
    channels: tuple[AlertChannel, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything becomes of it."""
        return self.ignored_by is not None or bool(self.channels)


_NOTHING: Final = Treatment()


def backend_settings(session: Session) -> BackendSettings:
    """The backend's own settings as they are now."""
    document: dict[str, Any] = {}
    rows = session.scalars(select(SettingRow).where(SettingRow.name.startswith(_BACKEND, autoescape=True)))
    for row in rows:
        place = document
        *parents, last = row.name.split(".")[1:]
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = row.value
    return read_object(BackendSettings, document, "backend")


def means(selection: AlertSelection, arrival: Arrival, received: datetime) -> bool:
    """Whether a selection means an event that arrives now."""
    if arrival.subject in OWN_SUBJECTS or not selection.admits_partner(arrival.partner):
        return False
    if arrival.time < received - timedelta(hours=selection.hours):
        return False
    least = selection.level
    return (least is not AlertLevel.NONE and arrival.level >= Severity.named(least)) or selection.names_event(
        arrival.name
    )


def judge(session: Session, arrivals: Sequence[Arrival], received: datetime) -> list[Treatment]:
    """What becomes of events, in their order; hits of rules are counted.

    :param received: when they arrived: rules count by the backend's clock.
    """
    settings = backend_settings(session)
    selections: dict[AlertChannel, AlertSelection] = {}
    if settings.event_script.is_on:
        selections[AlertChannel.SCRIPT] = settings.event_script
    if settings.mail.is_on:
        selections[AlertChannel.MAIL] = settings.mail
    wanted = {
        index: tuple(channel for channel, selection in selections.items() if means(selection, each, received))
        for index, each in enumerate(arrivals if selections else ())
    }
    heard = [index for index, each in enumerate(arrivals) if wanted.get(index) or each.level >= Severity.WARNING]
    treatments = [_NOTHING] * len(arrivals)
    if not heard:
        return treatments
    rules = [rule for rule in _rules(session) if rule.counts(received)]
    for index in heard:
        arrival = arrivals[index]
        rule = _first_hit(rules, arrival)
        if rule is not None:
            treatments[index] = Treatment(ignored_by=rule.name)
        elif channels := wanted.get(index):
            treatments[index] = Treatment(channels=channels)
    return treatments


def take_in(session: Session, numbers: Sequence[int], treatments: Sequence[Treatment], received: datetime) -> None:
    """Note what events start and which rules were hit, once the events are stored.

    :param numbers: the events' numbers in the store.
    """
    _count_hits(session, numbers, treatments, received)
    _queue(session, numbers, treatments, received)


def _rules(session: Session) -> list[IgnoreRule]:
    return [row.entry for row in by_name(session, IgnoreRow)]


def _first_hit(rules: Sequence[IgnoreRule], arrival: Arrival) -> IgnoreRule | None:
    if not rules or not arrival.may_be_ignored:
        return None
    text = arrival.folded()
    return next((rule for rule in rules if rule.hits(text)), None)


def _count_hits(session: Session, numbers: Sequence[int], treatments: Sequence[Treatment], received: datetime) -> None:
    hits: dict[str, list[int]] = {}
    for number, treatment in zip(numbers, treatments, strict=True):
        if treatment.ignored_by is not None:
            hits.setdefault(treatment.ignored_by, []).append(number)
    # In one order everywhere: two transactions that count the same rules wait for each other and not both.
    for name in sorted(hits):
        query = select(IgnoreRow).where(IgnoreRow.name == name).with_for_update()
        row = session.scalars(query.execution_options(populate_existing=True)).one()
        row.hits += len(hits[name])
        row.last_hit, row.last_event = received, hits[name][-1]


def _queue(session: Session, numbers: Sequence[int], treatments: Sequence[Treatment], received: datetime) -> None:
    wanted = [
        (channel, number)
        for number, treatment in zip(numbers, treatments, strict=True)
        for channel in treatment.channels
    ]
    if not wanted:
        return
    room = _room(session)
    rows = []
    for channel, number in wanted:
        fits = room[channel] > 0
        room[channel] -= 1
        state = AlertState.WAITING if fits else AlertState.DROPPED
        rows.append(
            {
                "event": number,
                "channel": channel.value,
                "state": state.value,
                "received": received,
                "due": received,
                "attempts": 0,
            }
        )
    session.execute(insert(AlertRow), rows)


def _room(session: Session) -> dict[AlertChannel, int]:
    """How many more events each channel takes."""
    settings = backend_settings(session)
    most = {AlertChannel.SCRIPT: settings.event_script.waiting, AlertChannel.MAIL: limits.MAIL_WAITING_MOST}
    count = select(AlertRow.channel, func.count()).where(AlertRow.state == AlertState.WAITING.value)
    waiting = {AlertChannel(channel): number for channel, number in session.execute(count.group_by(AlertRow.channel))}
    return {channel: limit - waiting.get(channel, 0) for channel, limit in most.items()}


def take_dropped(session: Session, channel: AlertChannel) -> int:
    """How many events a channel dropped since this was asked last."""
    dropped = (AlertRow.state == AlertState.DROPPED.value) & (AlertRow.channel == channel.value)
    count = session.scalar(select(func.count()).select_from(AlertRow).where(dropped)) or 0
    if count:
        session.execute(update(AlertRow).where(dropped).values(state=AlertState.LOST.value))
    return count
