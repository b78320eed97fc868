"""What a change of the configuration would do to partners: whom it would refuse, before it is made.

Judges differences of entries, not connections: that a partner is named means that something with which it may connect
today is refused afterwards. Changes nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import forecasts, partners, sightings
from smartproxy.backend.forecasts import Forecast, Verdict
from smartproxy.backend.schema import ClientRow, PinNote
from smartproxy.backend.settings import LISTENERS
from smartproxy.backend.states import Difference, EntryKind, Json
from smartproxy.policy.narrowing import narrowings
from smartproxy.policy.partners import Partner, RevocationMode, TrustedCa
from smartproxy.policy.schema import ListOf, ObjectOf, read_object

EVERYBODY = "*"
"""In the place of a partner: whoever connects so."""


@attrs.frozen(kw_only=True)
class Refusal:
    """A partner that would be refused where it is admitted today.

    :ivar partner: its name; :data:`EVERYBODY` for all.
    :ivar why: what would be refused, as a sentence without full stop.
    """

    partner: str
    why: str


def refused_by_lists(session: Session, now: datetime) -> dict[tuple[str, str | None], Refusal]:
    """Whose certificates the lists in the store refuse, where their CAs require lists.

    A certificate is known by its partner and its SHA-256; that is ``None`` where the partner never connected.
    """
    return {
        (each.partner, each.sha256): _by_list(each)
        for each in forecasts.revocation(session, now)
        if each.verdict is Verdict.REFUSED and each.mode == RevocationMode.REQUIRE
    }


def refusals(session: Session, differences: Sequence[Difference], now: datetime) -> list[Refusal]:
    """Whom a change would refuse that makes these differences; not what other revocation lists refuse."""
    found: list[Refusal] = []
    for each in differences:
        name = each.place.name
        match each.place.subject:
            case EntryKind.PARTNER if each.before is not None and each.before["entry"]["enabled"]:
                before, notes = entry_of(each.before)
                after = None if each.after is None else entry_of(each.after)[0]
                found += (Refusal(partner=name, why=why) for why in _partner(before, after, notes))
            case EntryKind.CA if each.before is not None:
                after_ca = None if each.after is None else read_object(TrustedCa, each.after)
                found += _ca(session, read_object(TrustedCa, each.before), after_ca, now)
            case EntryKind.SETTING if name == LISTENERS:
                gone = _ports(each.before) - _ports(each.after)
                found += (Refusal(partner=EVERYBODY, why=f"nothing listens at {port} any more") for port in gone)
    return found + _clients(session, differences)


def _clients(session: Session, differences: Sequence[Difference]) -> list[Refusal]:
    """What follows from the last client's end: without a client there is no tunnel, and no session."""
    clients = [each for each in differences if each.place.subject is EntryKind.CLIENT]
    gone = {each.place.name for each in clients if _may_call(each.before) and not _may_call(each.after)}
    if not gone:
        return []
    # Whether the session has the state before the change or after it: what differs is known.
    left = {row.name for row in session.scalars(select(ClientRow)) if row.entry.enabled} - gone
    left |= {each.place.name for each in clients if _may_call(each.after)}
    return [] if left else [Refusal(partner=EVERYBODY, why="no client is left that may call the backend")]


def _may_call(content: Json) -> bool:
    return content is not None and bool(content["enabled"])


def _by_list(forecast: Forecast) -> Refusal:
    return Refusal(partner=forecast.partner, why=f"revocation lists are required: {forecast.cause}")


def entry_of(content: Json) -> tuple[Partner, tuple[PinNote, ...]]:
    """A partner's entry, and what is known of its pinned certificates, of a :class:`Difference`."""
    return read_object(Partner, content["entry"]), ListOf(item=ObjectOf(PinNote)).read(content["notes"], "notes")


def _partner(before: Partner, after: Partner | None, notes: Sequence[PinNote]) -> Iterator[str]:
    if after is None:
        yield "it is no partner any more"
        return
    if not after.enabled:
        yield "it is disabled"
        return
    yield from narrowings(before, after)
    for rule in before.certificates:
        if rule not in after.certificates:
            yield f"its certificate is not recognized any more: {partners.rule_text(rule, notes)}"


def _ca(session: Session, before: TrustedCa, after: TrustedCa | None, now: datetime) -> Iterator[Refusal]:
    gone = before.anchors - (frozenset() if after is None else after.anchors)
    if gone:
        users = {each.partner for each in sightings.certificates(session) if each.ca == before.name}
        why = f"a certificate of the CA {before.name} is not trusted any more, and its own may depend on it"
        if len(gone) > 1:
            why = (
                f"{len(gone)} certificates of the CA {before.name} are not trusted any more, and its own may depend on "
                "one of them"
            )
        for user in sorted(users):
            yield Refusal(partner=user, why=why)
    if after is not None and after.revocation is RevocationMode.REQUIRE is not before.revocation:
        for forecast in forecasts.revocation(session, now):
            if forecast.ca == before.name and forecast.verdict is Verdict.REFUSED:
                yield _by_list(forecast)


def _ports(content: Json) -> set[str]:
    listeners = [] if content is None else content["value"]
    return {f"{each['address']} port {each.get('port')}" for each in listeners}
