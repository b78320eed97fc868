"""Operations that show partners as people look for them: found by any word, with what was last seen of each."""

import enum
from collections.abc import Iterable, Iterator
from datetime import datetime

import attrs
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from smartproxy.backend import partners
from smartproxy.backend.operations.operation import Transaction
from smartproxy.backend.operations.partner import PARTNER
from smartproxy.backend.operations.shapes import Named, Nothing, Page, in_order
from smartproxy.backend.schema import PartnerRow, PinNote
from smartproxy.backend.sighting_tables import ProposalRow, SeenCertificateRow
from smartproxy.policy import limits
from smartproxy.policy.partners import CertificatePin, KeyPin, Partner, Rule, SanRule, SubjectRule
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, SHA256, Flag, Instant, Line, Lines, Member, Whole

_TEXT = Lines(most=10_000)
_WORD_MOST = 200


class PartnerState(enum.StrEnum):
    """Which partners are looked for."""

    ALL = "all"
    ENABLED = "enabled"
    DISABLED = "disabled"
    NEVER_SEEN = "never-seen"
    PROPOSED = "proposed"


@attrs.frozen(kw_only=True)
class PartnerSearch(Page):
    """What is looked for.

    :ivar word: a part of the name, of a code, or of what stands in a certificate; ``None``: any.
    """

    word: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Line(most=_WORD_MOST)),
            people=ForPeople(help="a part of its name, of a code, or of what stands in a certificate of it"),
        ),
    )
    state: PartnerState = attrs.field(
        default=PartnerState.ALL, metadata=kind(Member(PartnerState), people=ForPeople(help="only those in this state"))
    )


@attrs.frozen(kw_only=True)
class FoundPartner:
    """A partner in a list.

    :ivar called: where it is called, if it is.
    :ivar last_session: about when it had its last session in which it gave one of its codes; to the hour.
    :ivar ends: when the certificate ends that is valid longest, of those that are known.
    :ivar proposed: how many certificates wait for a decision.
    """

    name: str = attrs.field(metadata=kind(NAME))
    enabled: bool = attrs.field(metadata=kind(Flag()))
    codes: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=_TEXT)))
    called: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    last_session: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    ends: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    proposed: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))


@attrs.frozen(kw_only=True)
class FoundPartners:
    """A part of the partners that fit.

    :ivar count: how many fit in all.
    """

    items: tuple[FoundPartner, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(FoundPartner))))
    next: str | None = attrs.field(metadata=kind(Optional(NAME)))
    count: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))


@attrs.frozen(kw_only=True)
class PartnerNames:
    """What each partner is called, disabled ones too: what a field that takes a name proposes."""

    names: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=NAME)))


@attrs.frozen(kw_only=True)
class PartnerCertificate:
    """A certificate by which a partner is recognized, or with which it was admitted.

    :ivar rule: the rule that recognizes it, in words; ``None`` if none does any more.
    :ivar sha256: of the certificate, or of its key where the rule is one for a key; ``None`` where the rule has none.
    :ivar not_after: its end, if it is known.
    :ivar first_seen: when a partner was admitted with it first.
    :ivar proved: when the partner gave one of its codes with it last.
    """

    rule: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    sha256: str | None = attrs.field(metadata=kind(Optional(SHA256)))
    subject: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    serial: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    not_after: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    first_seen: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    last_seen: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    proved: datetime | None = attrs.field(metadata=kind(Optional(Instant())))


@attrs.frozen(kw_only=True)
class PartnerCertificates:
    """The certificates of a partner: those of its rules first, then those that were seen besides."""

    items: tuple[PartnerCertificate, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(PartnerCertificate))))


@PARTNER.reading("search", "Find partners by a word or a state, with the last session and the end of the certificate.")
def search(look: Transaction, wanted: PartnerSearch) -> FoundPartners:
    """The partners that fit, by name."""
    if wanted.word is None:
        fitting = set(look.session.scalars(select(PartnerRow.name)))
    else:
        fitting = _with_word(look.session, wanted.word)
    fitting &= _in_state(look.session, wanted.state, fitting)
    names, following = wanted.of(fitting)
    rows = {row.name: row for row in look.session.scalars(select(PartnerRow).where(PartnerRow.name.in_(names)))}
    seen_of = _seen(look.session, names)
    counts = select(ProposalRow.partner, func.count()).where(ProposalRow.partner.in_(names))
    proposed = dict(look.session.execute(counts.group_by(ProposalRow.partner)).tuples().all())
    items = [_found(rows[name], seen_of.get(name, []), proposed.get(name, 0)) for name in names]
    return FoundPartners(items=tuple(items), next=following, count=len(fitting))


@PARTNER.reading("names", "List the names of all partners.", path="GET :names")
def names(look: Transaction, wanted: Nothing) -> PartnerNames:
    """All names, as people sort them."""
    return PartnerNames(names=tuple(sorted(look.session.scalars(select(PartnerRow.name)), key=in_order)))


@PARTNER.reading(
    "certificates", "Show the certificates of a partner: which rule recognizes each, until when, and when it was used."
)
def certificates(look: Transaction, wanted: Named) -> PartnerCertificates:
    """Those of its rules, and those that it was admitted with."""
    row = partners.find(look.session, wanted.name)
    seen = _seen(look.session, [wanted.name]).get(wanted.name, [])
    items, told = [], set()
    for rule in row.entry.certificates:
        pin = rule.sha256 if isinstance(rule, CertificatePin | KeyPin) else None
        note = next((each for each in row.notes if each.sha256 == pin), None)
        shown = next((each for each in seen if pin is not None and pin in (each.sha256, each.key_sha256)), None)
        if shown is not None:
            told.add(shown.sha256)
        items.append(
            PartnerCertificate(
                rule=partners.rule_text(rule),
                sha256=pin,
                subject=note.subject if note else shown.subject if shown else None,
                serial=shown.serial if shown else None,
                not_after=note.not_after if note else shown.not_after if shown else None,
                first_seen=shown.first_seen if shown else None,
                last_seen=shown.last_seen if shown else None,
                proved=shown.proved if shown else None,
            )
        )
    below = {rule.ca for rule in row.entry.certificates if not isinstance(rule, CertificatePin | KeyPin)}
    for each in seen:
        if each.sha256 not in told:
            items.append(
                PartnerCertificate(
                    rule=f"below the CA {each.ca}" if each.ca in below else None,
                    sha256=each.sha256,
                    subject=each.subject,
                    serial=each.serial,
                    not_after=each.not_after,
                    first_seen=each.first_seen,
                    last_seen=each.last_seen,
                    proved=each.proved,
                )
            )
    return PartnerCertificates(items=tuple(items))


def _seen(session: Session, names: list[str]) -> dict[str, list[SeenCertificateRow]]:
    """The certificates with which some partners were admitted, the last one first."""
    query = select(SeenCertificateRow).where(SeenCertificateRow.partner.in_(names))
    found: dict[str, list[SeenCertificateRow]] = {}
    for row in session.scalars(query.order_by(SeenCertificateRow.last_seen.desc())):
        found.setdefault(row.partner, []).append(row)
    return found


def _with_word(session: Session, word: str) -> set[str]:
    """Those with a word in what people know of them; databases know neither all letters nor what is a field's name."""
    rows = session.execute(select(PartnerRow.name, PartnerRow.entry, PartnerRow.notes)).tuples()
    texts = {name: list(_known_by(entry, notes)) for name, entry, notes in rows}
    shown = SeenCertificateRow.subject, SeenCertificateRow.serial, SeenCertificateRow.sha256
    for name, *certificate in session.execute(select(SeenCertificateRow.partner, *shown)):
        texts.get(name, []).extend(certificate)
    wanted = word.casefold()
    return {name for name, known in texts.items() if any(wanted in each.casefold() for each in known)}


def _known_by(entry: Partner, notes: Iterable[PinNote]) -> Iterator[str]:
    """The texts of an entry, and of the certificates that it pins, by which people know a partner."""
    yield entry.name
    yield from entry.codes
    for rule in (*entry.certificates, *(() if entry.outbound is None else entry.outbound.certificates)):
        match rule:
            case SubjectRule():
                yield rule.serial_number
            case SanRule():
                yield rule.san
            case _:
                yield rule.sha256
    for note in notes:
        yield note.subject


def _in_state(session: Session, state: PartnerState, names: set[str]) -> set[str]:
    match state:
        case PartnerState.ALL:
            return names
        case PartnerState.PROPOSED:
            return set(session.scalars(select(ProposalRow.partner)))
        case PartnerState.NEVER_SEEN:
            return names - set(session.scalars(select(SeenCertificateRow.partner)))
        case _:
            rows = session.execute(select(PartnerRow.name, PartnerRow.entry))
            return {name for name, entry in rows if entry.enabled is (state is PartnerState.ENABLED)}


def _found(row: PartnerRow, seen: list[SeenCertificateRow], proposed: int) -> FoundPartner:
    entry = row.entry
    return FoundPartner(
        name=row.name,
        enabled=entry.enabled,
        codes=entry.codes,
        called=None if entry.outbound is None else entry.outbound.address,
        last_session=max((each.proved for each in seen if each.proved), default=None),
        ends=max(_ends(row, entry.certificates, seen), default=None),
        proposed=proposed,
    )


def _ends(row: PartnerRow, rules: tuple[Rule, ...], seen: list[SeenCertificateRow]) -> list[datetime]:
    """The ends of the certificates that its rules recognize, as far as they are known."""
    pins = {rule.sha256 for rule in rules if isinstance(rule, CertificatePin | KeyPin)}
    below = {rule.ca for rule in rules if not isinstance(rule, CertificatePin | KeyPin)}
    ends = [note.not_after for note in row.notes if note.sha256 in pins]
    return ends + [
        each.not_after for each in seen if each.ca in below or each.sha256 in pins or each.key_sha256 in pins
    ]
