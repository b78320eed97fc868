"""Operations on partners: who may connect, how it is known, what it may do, and how the station reaches it."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import forecasts, partners
from smartproxy.backend.certificates import read_certificates
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused, Unusable
from smartproxy.backend.forecasts import Failing
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import WARNINGS, Named, Page, Removed
from smartproxy.backend.schema import PartnerRow, PinNote
from smartproxy.oftp2.grammars import IdentificationCode, IdentificationSet
from smartproxy.policy import limits
from smartproxy.policy.addresses import BadHostPort, see_called, see_one
from smartproxy.policy.certificates.judge import SERVER_AUTH
from smartproxy.policy.partners import (
    CODE_OCTETS,
    CertificatePin,
    KeyPin,
    Outbound,
    Partner,
    Rule,
    SanRule,
    SubjectRule,
)
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, PartOf, Tagged, kind
from smartproxy.policy.session_record import SESSION_PATTERN
from smartproxy.policy.values import NAME, Flag, Line, Pem, Whole


def _state(session: Session, name: str) -> Partner:
    return partners.find(session, name).entry


PARTNER = Family("partner", "partners", state=_state)
CODE_UNKNOWN: Final = "O0000CODE NOT KNOWN YET"
"""Stands for the code of a partner that nobody knows yet: no partner sends it, and so the partner is not let in."""

_RULE = Tagged("by", (CertificatePin, KeyPin, SubjectRule, SanRule))
_RULES = ListOf(item=_RULE, most=limits.CERTIFICATES_PER_PARTNER_MOST)
_NOTES = ListOf(item=ObjectOf(PinNote), most=2 * limits.CERTIFICATES_PER_PARTNER_MOST)
_WHICH_MOST = 2048


@attrs.frozen(kw_only=True)
class GivenCertificate:
    """A certificate that the partner sent, by which it is recognized.

    :ivar pem: the certificate.
    :ivar key: whether any certificate with the same key is accepted, and not this one alone.
    """

    pem: str = attrs.field(metadata=kind(Pem(label="CERTIFICATE", most=1)))
    key: bool = attrs.field(
        default=False,
        metadata=kind(Flag(), people=ForPeople(help="accept any certificate with the same key, not this one alone")),
    )


_GIVEN = ListOf(item=ObjectOf(GivenCertificate), most=limits.CERTIFICATES_PER_PARTNER_MOST)
_GIVEN_HELP = ForPeople(help="certificates of the partner, pinned beside the rules of the entry")
_REPLACING_HELP = ForPeople(
    help="certificates of the partner; with the rules that are given, they replace all that it had"
)
_FORCE = ForPeople(help="accept a name or code that looks like a mistake")


@attrs.frozen(kw_only=True)
class PartnerAddition:
    """A partner to add.

    :ivar partner: its entry; what it does not say is the default.
    :ivar pinned: certificates by which it is recognized, beside the rules of the entry.
    :ivar force: whether a name or a code that is refused as a mistake is taken.
    """

    partner: Mapping[str, Any] = attrs.field(
        metadata=kind(PartOf(cls=Partner, required=frozenset({"name", "codes"})), people=ForPeople(help="the entry"))
    )
    pinned: tuple[GivenCertificate, ...] = attrs.field(default=(), metadata=kind(_GIVEN, people=_GIVEN_HELP))
    force: bool = attrs.field(default=False, metadata=kind(Flag(), people=_FORCE))

    @property
    def name(self) -> str:
        """The partner's name."""
        return str(self.partner["name"])


@attrs.frozen(kw_only=True)
class PartnerAlteration:
    """A change of a partner.

    :ivar partner: the fields of its entry that change; all others stay as they are.
    :ivar pinned: certificates by which it is recognized; with the rules of the entry, if any, in place of all others.
    """

    name: str = attrs.field(metadata=kind(NAME))
    partner: Mapping[str, Any] = attrs.field(
        factory=dict,
        metadata=kind(
            PartOf(cls=Partner, without=frozenset({"name"})), people=ForPeople(help="the fields that change")
        ),
    )
    pinned: tuple[GivenCertificate, ...] = attrs.field(default=(), metadata=kind(_GIVEN, people=_REPLACING_HELP))
    force: bool = attrs.field(default=False, metadata=kind(Flag(), people=_FORCE))


@attrs.frozen(kw_only=True)
class CallingAlteration:
    """How a partner is to be called.

    :ivar outbound: the fields that change; all others stay as they are; ``None``: it is never called.
    :ivar pinned: certificates that it shows when it is called, beside the rules in *outbound*.
    """

    name: str = attrs.field(metadata=kind(NAME))
    outbound: Mapping[str, Any] | None = attrs.field(
        metadata=kind(
            Optional(PartOf(cls=Outbound)), people=ForPeople(help="the fields that change; null: it is never called")
        )
    )
    pinned: tuple[GivenCertificate, ...] = attrs.field(default=(), metadata=kind(_GIVEN, people=_REPLACING_HELP))


@attrs.frozen(kw_only=True)
class RuleAddition:
    """Further certificates by which a partner is recognized; those that it has stay valid.

    :ivar rules: rules for certificates.
    :ivar pinned: certificates themselves.
    """

    name: str = attrs.field(metadata=kind(NAME))
    rules: tuple[Rule, ...] = attrs.field(
        default=(), metadata=kind(_RULES, people=ForPeople(help="rules for certificates"))
    )
    pinned: tuple[GivenCertificate, ...] = attrs.field(
        default=(), metadata=kind(_GIVEN, people=ForPeople(help="certificates themselves"))
    )


@attrs.frozen(kw_only=True)
class RuleRemoval:
    """Certificates by which a partner is not recognized any more.

    :ivar which: of each, the SHA-256 (8 digits or more of it), the serial number or the name.
    """

    name: str = attrs.field(metadata=kind(NAME))
    which: tuple[str, ...] = attrs.field(
        metadata=kind(
            ListOf(item=Line(most=_WHICH_MOST), least=1, most=limits.CERTIFICATES_PER_PARTNER_MOST),
            people=ForPeople(help="SHA-256 (8 digits or more of it), serial number or name of each"),
        )
    )


@attrs.frozen(kw_only=True)
class KnownPartner:
    """A partner.

    :ivar partner: its entry.
    :ivar notes: what stands in the certificates that it pins.
    :ivar warnings: what the operator had better know.
    """

    partner: Partner = attrs.field(metadata=kind(ObjectOf(Partner)))
    notes: tuple[PinNote, ...] = attrs.field(metadata=kind(_NOTES))
    warnings: tuple[str, ...] = attrs.field(default=(), metadata=kind(WARNINGS))


@attrs.frozen(kw_only=True)
class PartnerPage:
    """A part of the list of partners.

    :ivar next: the cursor of the next part; ``None`` after the last.
    """

    items: tuple[KnownPartner, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownPartner))))
    next: str | None = attrs.field(metadata=kind(Optional(NAME)))


@attrs.frozen(kw_only=True)
class ChangedRules:
    """Rules that were added or removed.

    :ivar rules: those that are new, or gone.
    :ivar notes: what stands in the certificates that they pin.
    :ivar warnings: what the operator had better know of certificates that were given.
    """

    name: str = attrs.field(metadata=kind(NAME))
    rules: tuple[Rule, ...] = attrs.field(metadata=kind(_RULES))
    notes: tuple[PinNote, ...] = attrs.field(metadata=kind(_NOTES))
    warnings: tuple[str, ...] = attrs.field(default=(), metadata=kind(WARNINGS))


@attrs.frozen(kw_only=True)
class Ahead:
    """How far to look ahead.

    :ivar days: so many days.
    """

    days: int = attrs.field(
        default=limits.DAYS_AHEAD.default,
        metadata=kind(Whole(limits.DAYS_AHEAD), people=ForPeople(help="look so many days ahead")),
    )


@attrs.frozen(kw_only=True)
class FailingCertificates:
    """Certificates that will be refused, the first one first."""

    items: tuple[Failing, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(Failing))))


@PARTNER.reading("list", "List partners.")
def listed(look: Transaction, wanted: Page) -> PartnerPage:
    """The partners by name."""
    names, following = wanted.of(look.session.scalars(select(PartnerRow.name)))
    rows = look.session.scalars(select(PartnerRow).where(PartnerRow.name.in_(names)))
    by_name = {row.name: row for row in rows}
    return PartnerPage(items=tuple(_known(by_name[name]) for name in names), next=following)


@PARTNER.reading("show", "Show a partner.")
def show(look: Transaction, wanted: Named) -> KnownPartner:
    """One partner."""
    return _known(partners.find(look.session, wanted.name))


@PARTNER.reading("expiring", "List partners whose certificate will be refused, the first to fail first.")
def expiring(look: Transaction, wanted: Ahead) -> FailingCertificates:
    """Whose certificates fail next."""
    found = forecasts.failing(look.session, look.now + timedelta(days=wanted.days))
    return FailingCertificates(items=tuple(found))


@PARTNER.changing("add", "Add a partner.")
def add(change: Change, wanted: PartnerAddition) -> KnownPartner:
    """Add a partner with its certificates."""
    entry = Partner(**{"certificates": (), **wanted.partner})
    rules, notes, doubts = _pinned(wanted.pinned, change.now, entry, partners.shown_for(entry))
    if not wanted.force:
        _refuse_name(wanted.name)
    warnings = (*doubts, *_doubts(entry.codes, wanted.force))
    _refuse_hosts(entry.outbound)
    entry = attrs.evolve(entry, certificates=(*rules, *entry.certificates))
    return _known(partners.add(change, entry, notes), warnings)


@PARTNER.changing("change", "Change a partner: the given fields replace the old values, everything else stays.")
def alter(change: Change, wanted: PartnerAlteration) -> KnownPartner:
    """Change fields of a partner."""
    values = dict(wanted.partner)
    entry = attrs.evolve(partners.find(change.session, wanted.name).entry, **values)
    rules, notes, doubts = _pinned(wanted.pinned, change.now, entry, partners.shown_for(entry))
    if rules:
        values["certificates"] = (*rules, *values.get("certificates", ()))
    warnings = (*doubts, *_doubts(values.get("codes", ()), wanted.force))
    _refuse_hosts(values.get("outbound"))
    return _known(partners.alter(change, wanted.name, notes, **values), warnings)


@PARTNER.changing("enable", "Let a partner connect and be called.")
def enable(change: Change, wanted: Named) -> KnownPartner:
    """Let it connect and be called."""
    return _known(partners.alter(change, wanted.name, enabled=True))


@PARTNER.changing(
    "disable", "Stop a partner from connecting and from being called; its running sessions end when they are idle."
)
def disable(change: Change, wanted: Named) -> KnownPartner:
    """Stop it from connecting and from being called."""
    return _known(partners.alter(change, wanted.name, enabled=False))


@PARTNER.changing("remove", "Remove a partner.")
def remove(change: Change, wanted: Named) -> Removed:
    """Remove the partner."""
    partners.remove(change, wanted.name)
    return Removed(name=wanted.name)


@PARTNER.changing(
    "certificate.add",
    "Add certificates by which a partner is recognized; those that it has stay valid.",
    path="POST {name}/certificates",
)
def add_rules(change: Change, wanted: RuleAddition) -> ChangedRules:
    """Recognize further certificates; the answer has those that are new."""
    entry = partners.find(change.session, wanted.name).entry
    rules, notes, doubts = _pinned(wanted.pinned, change.now, entry, partners.shown_for(entry))
    if not rules and not wanted.rules:
        raise Unusable("no certificate and no rule is given; give at least one")
    new = partners.add_rules(change, wanted.name, (*rules, *wanted.rules), notes)
    notes_now = partners.find(change.session, wanted.name).notes
    return ChangedRules(name=wanted.name, rules=tuple(new), notes=notes_now, warnings=tuple(doubts))


@PARTNER.changing(
    "certificate.remove",
    "Remove certificates: the partner is not recognized by them any more.",
    path="POST {name}/certificates/remove",
)
def remove_rules(change: Change, wanted: RuleRemoval) -> ChangedRules:
    """Stop recognizing certificates; the answer has those that are gone."""
    notes = partners.find(change.session, wanted.name).notes
    gone = partners.remove_rules(change, wanted.name, wanted.which)
    return ChangedRules(name=wanted.name, rules=tuple(gone), notes=notes)


@PARTNER.changing(
    "outbound",
    "Set how a partner is called: the given fields replace the old values, everything else stays.",
    path="PATCH {name}/outbound",
)
def outbound(change: Change, wanted: CallingAlteration) -> KnownPartner:
    """Set how a partner is called, or that it is not."""
    if wanted.outbound is None:
        return _known(partners.alter(change, wanted.name, outbound=None))
    values = dict(wanted.outbound)
    entry = partners.find(change.session, wanted.name).entry
    rules, notes, doubts = _pinned(wanted.pinned, change.now, entry, (SERVER_AUTH,))
    if rules:
        values["certificates"] = (*rules, *values.get("certificates", ()))
    _see_hosts(values.get("host"), values.get("source"))
    return _known(partners.alter_outbound(change, wanted.name, notes, **values), tuple(doubts))


def _known(row: PartnerRow, warnings: tuple[str, ...] = ()) -> KnownPartner:
    return KnownPartner(partner=row.entry, notes=row.notes, warnings=warnings)


def _pinned(
    given: Iterable[GivenCertificate], now: datetime, entry: Partner, parts: Iterable[str]
) -> tuple[list[Rule], list[PinNote], list[str]]:
    """The rules for certificates, what stands in them, and what is doubtful about them.

    :param entry: the partner's entry, which says of which purpose they may be.
    :param parts: what the partner shows them for.
    """
    rules: list[Rule] = []
    notes: list[PinNote] = []
    doubts: list[str] = []
    for each in given:
        certificate = _certificate(each.pem)
        rule, note = partners.pinned(certificate, key=each.key)
        rules.append(rule)
        notes.append(note)
        doubts += partners.doubts(certificate, now, entry, parts)
    return rules, notes, doubts


def _certificate(pem: str) -> x509.Certificate:
    found = read_certificates(pem.encode("utf-8", "replace"), "the certificate")
    if len(found) > 1:
        raise Unusable("the PEM block of a certificate holds several; give the partner's own alone")
    return found[0]


_NAME = r"[^\W_][\w .&+()-]*"


def _refuse_name(name: str) -> None:
    """Refuse a name that commands would take for something else, or that has to be quoted.

    :raises ChangeRefused: saying what names have.
    """
    try:
        known = "a number" if name.isdecimal() else f"an address of IPv{ipaddress.ip_address(name).version}"
    except ValueError:
        known = "no name for commands and logs" if re.fullmatch(_NAME, name) is None else ""
        if re.fullmatch(SESSION_PATTERN, name) is not None:
            known = "the form of a session's id"
    if known:
        raise ChangeRefused(
            f"{name!r} is {known}: a partner's name has letters, digits, blanks and . _ - & + ( ), and begins with a "
            "letter or a digit; give --force to take it all the same"
        )


def _refuse_hosts(outbound: object) -> None:
    if isinstance(outbound, Outbound):
        _see_hosts(outbound.host, outbound.source)


def _see_hosts(host: object, source: object) -> None:
    """Refuse what cannot be called, and what is not one address to call from.

    An address with a slip would be looked up as a name at every call.

    :raises ChangeRefused: saying so.
    """
    try:
        if isinstance(host, str):
            see_called(host)
        if isinstance(source, str):
            see_one(source)
    except BadHostPort as bad:
        raise ChangeRefused(str(bad)) from None


def _doubts(codes: Iterable[str], force: bool) -> Iterator[str]:
    """What is odd about codes of an unusual form (RFC 5024 section 5.4).

    :raises ChangeRefused: for a code that no SSID can contain, unless it is forced.
    """
    for code in codes:
        if code == CODE_UNKNOWN:
            continue
        octets = code.encode("ascii", "replace")
        if IdentificationSet().fault(octets, CODE_OCTETS) is not None:
            if not force:
                upper = f"; is it {code.upper()}?" if code != code.upper() else ""
                raise ChangeRefused(
                    f"{code!r} is no SSIDCODE, which has only capital letters, digits, blanks and / - . & ( ){upper}; "
                    "give --force to take it all the same"
                )
        elif not code.startswith("O") or IdentificationCode().fault(octets, CODE_OCTETS) is not None:
            yield (
                f"the code {code} does not have the usual form of an SSIDCODE: O, the four digits of its issuer, the "
                "company's code, as in O0013000001ACME; it has to be exactly what the partner sends"
            )
