"""The partners: what they may call themselves, how they prove it, and which freedoms they have.

A row holds a partner's entry, a :class:`~smartproxy.policy.partners.Partner`; a change reads it, evolves it and writes
it. What a value may be is judged by :mod:`smartproxy.policy.configuration` when the change becomes a generation; here
only names are looked up and kept unique.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from shlex import quote
from typing import Any

import attrs
from cryptography import x509

from smartproxy.backend import cas
from smartproxy.backend.certificates import (
    certificate_pin,
    key_pin,
    public_key_octets,
    short_name,
    subject_text,
)
from smartproxy.backend.change import Change, judged
from smartproxy.backend.errors import AlreadyThere, NotFound, Unusable
from smartproxy.backend.named import NamedRows
from smartproxy.backend.schema import PartnerRow, PinNote
from smartproxy.logs.render import escape
from smartproxy.net.tls.facts import certificate_facts, signs_certificates
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.certificates.facts import CertificateFacts
from smartproxy.policy.certificates.judge import (
    ANY_USAGE,
    CLIENT_AUTH,
    EXTENDED_KEY_USAGE,
    SERVER_AUTH,
    judge_key,
    judge_purpose,
)
from smartproxy.policy.partners import CertificatePin, KeyPin, Outbound, Partner, Rule, SanRule, SubjectRule, Verify
from smartproxy.policy.values import minute

PIN_DIGITS_LEAST = 8
"""Digits of a SHA-256 by which a pin may be named."""
SUBJECT_MOST = 2048
"""Characters of a pinned certificate's subject that are kept."""
_ROWS = NamedRows(
    PartnerRow, lambda name, known: NotFound(f"there is no partner {name!r}; 'smartproxy partner list' shows all")
)
find, listed = _ROWS.find, _ROWS.listed


def pinned(certificate: x509.Certificate, *, key: bool = False) -> tuple[CertificatePin | KeyPin, PinNote]:
    """The rule for a certificate that a partner sent, recognized by itself or by its key; and what stands in it."""
    rule = KeyPin(sha256=key_pin(certificate)) if key else CertificatePin(sha256=certificate_pin(certificate))
    # Whoever made the certificate chose its subject: it need not be fit for a document.
    subject = escape(subject_text(certificate), SUBJECT_MOST)[:SUBJECT_MOST].strip() or "-"
    return rule, PinNote(sha256=rule.sha256, subject=subject, not_after=certificate.not_valid_after_utc)


def doubts(certificate: x509.Certificate, now: datetime, partner: Partner, parts: Iterable[str]) -> Iterator[str]:
    """Why this partner would be refused with this certificate, by what a server judges of it.

    :param partner: the entry, as it is to be.
    :param parts: what the certificate is shown for: :data:`CLIENT_AUTH`, :data:`SERVER_AUTH` or both.
    """
    facts, name = certificate_facts(certificate), short_name(certificate)
    try:
        public_key_octets(certificate)
        judge_key(facts, 0)
    except Unusable as unusable:
        yield f"{unusable}; no TLS connection with it succeeds"
    except CertificateRefusal as refusal:
        yield f"{name}: {refusal.message} (needed: {refusal.detail['needed']}); the partner is refused with it"
    if facts.not_after <= now:
        yield f"{name}: the certificate ended on {minute(facts.not_after)}; the partner is refused with it"
    if facts.not_before > now:
        since = minute(facts.not_before)
        yield f"{name}: the certificate is not valid before {since}; the partner is refused until then"
    if facts.is_ca and not _is_own(certificate, facts):
        yield f"{name}: the certificate is a CA's; is it the right one? A CA is added with 'smartproxy ca add'"
    for part in parts:
        try:
            judge_purpose(facts, partner, part)
        except CertificateRefusal:
            yield from _purpose_doubts(facts, name, part)
            return


def _is_own(certificate: x509.Certificate, facts: CertificateFacts) -> bool:
    """Whether what says that it is a CA's is one that somebody made for itself, as ``openssl req -x509`` does."""
    for_itself = facts.extended_key_usage is not None or not signs_certificates(certificate)
    return facts.subject == facts.issuer and for_itself


def _purpose_doubts(facts: CertificateFacts, name: str, part: str) -> Iterator[str]:
    """What is wrong with the purpose for which a certificate is refused, and whether an entry can allow it."""
    usage = facts.extended_key_usage or frozenset()
    if EXTENDED_KEY_USAGE in facts.unreadable:
        yield f"{name}: the extended key usage cannot be read; the partner is refused unless its purpose is any"
    elif usage == {ANY_USAGE}:
        yield f"{name}: the certificate is for any purpose and names none; the partner is refused unless its own is any"
    elif not usage & {CLIENT_AUTH, SERVER_AUTH}:
        yield f"{name}: the certificate is neither for TLS clients nor for servers; is it the right one?"
    elif part == CLIENT_AUTH:
        yield (
            f"{name}: the certificate is not for TLS clients; the partner is refused with it unless its purpose is "
            "server_auth"
        )
    else:
        yield (
            f"{name}: the certificate is not for TLS servers; a call to the partner ends with it unless the partner's "
            "purpose is server_auth"
        )


def shown_for(entry: Partner) -> tuple[str, ...]:
    """What a certificate of the partner's entry is shown for: for its calls, and for ours where no other is pinned."""
    called = entry.outbound
    both = called is not None and called.verify is Verify.PIN and not called.certificates
    return (CLIENT_AUTH, SERVER_AUTH) if both else (CLIENT_AUTH,)


def add(change: Change, partner: Partner, notes: Iterable[PinNote] = ()) -> PartnerRow:
    """Add a partner.

    :param notes: what is known of certificates that it is recognized by.
    :raises AlreadyThere: when there is one of this name.
    :raises NotFound: when a CA that is named is not there.
    """
    if _ROWS.get(change.session, partner.name) is not None:
        raise AlreadyThere(
            f"there is a partner {partner.name!r} already; 'smartproxy partner change {quote(partner.name)}' changes it"
        )
    row = _write(change, PartnerRow(name=partner.name, notes=()), partner, notes)
    change.session.add(row)
    return row


def alter(change: Change, name: str, notes: Iterable[PinNote] = (), **values: Any) -> PartnerRow:
    """Change fields of a partner's entry; all others stay as they are.

    :raises NotFound: when there is no such partner, or a CA that is named is not there.
    """
    row = find(change.session, name)
    return _write(change, row, attrs.evolve(row.entry, **values), notes)


def alter_outbound(change: Change, name: str, notes: Iterable[PinNote] = (), **values: Any) -> PartnerRow:
    """Change fields of how a partner is called; all others stay as they are, or are the defaults.

    :param notes: what is known of certificates that it is recognized by when it is called.
    :raises NotFound: when there is no such partner, or it has no host yet and none is given.
    """
    outbound = find(change.session, name).entry.outbound
    if outbound is None and "host" not in values:
        raise NotFound(f"where {name} is called is not known yet: give --host")
    made = Outbound(**values) if outbound is None else attrs.evolve(outbound, **values)
    return alter(change, name, notes, outbound=made)


def add_rules(change: Change, name: str, rules: Iterable[Rule], notes: Iterable[PinNote] = ()) -> list[Rule]:
    """Recognize further certificates of a partner, beside those that there are; return those that are new."""
    known = find(change.session, name).entry.certificates
    new = [each for each in dict.fromkeys(rules) if each not in known]
    alter(change, name, notes, certificates=(*known, *new))
    return new


def remove_rules(change: Change, name: str, texts: Sequence[str]) -> list[Rule]:
    """Stop recognizing certificates of a partner, each named by its text or by the beginning of its SHA-256.

    :return: the rules that are removed.
    :raises NotFound: when one of the texts fits none of them, or more than one.
    """
    row = find(change.session, name)
    left = list(row.entry.certificates)
    removed: list[Rule] = []
    for text in texts:
        fits = [each for each in left if _names(text, each)]
        if len(fits) != 1:
            known = "; ".join(rule_text(each, row.notes) for each in left) or "none"
            count = "none" if not fits else "more than one"
            raise NotFound(f"{count} of the certificates of {name} is {text!r}; there are: {known}")
        left.remove(fits[0])
        removed.append(fits[0])
    alter(change, name, certificates=tuple(left))
    return removed


def remove(change: Change, name: str) -> PartnerRow:
    """Remove a partner."""
    row = find(change.session, name)
    change.session.delete(row)
    _note(change, row)
    return row


def rule_text(rule: Rule, notes: Iterable[PinNote] = ()) -> str:
    """A rule for people; of a pinned certificate that is known, with what stands in it."""
    match rule:
        case SubjectRule():
            return f"{rule.by} {rule.serial_number} below the CA {rule.ca}"
        case SanRule():
            return f"{rule.by} {rule.san} below the CA {rule.ca}"
        case _:
            note = next((each for each in notes if each.sha256 == rule.sha256), None)
            about = "" if note is None else f" ({note.subject}, until {note.not_after.date()})"
            return f"{rule.by} {rule.sha256}{about}"


def _write(change: Change, row: PartnerRow, partner: Partner, notes: Iterable[PinNote]) -> PartnerRow:
    """Write an entry: what stands in it twice once, and no note of a certificate that it does not pin."""
    rules = tuple(dict.fromkeys(partner.certificates))
    for rule in rules:
        if isinstance(rule, SubjectRule | SanRule):
            cas.find(change.session, rule.ca)
    called = () if partner.outbound is None else partner.outbound.certificates
    pins = {rule.sha256 for rule in (*rules, *called) if isinstance(rule, CertificatePin | KeyPin)}
    known = {each.sha256: each for each in (*row.notes, *notes) if each.sha256 in pins}
    entry = attrs.evolve(partner, codes=tuple(dict.fromkeys(partner.codes)), certificates=rules)
    entry, told = judged(entry, f"partner {row.name}"), tuple(known.values())
    change.compare((row.entry, row.notes), (entry, told))
    row.entry, row.notes = entry, told
    _note(change, row)
    return row


def _names(text: str, rule: Rule) -> bool:
    match rule:
        case SubjectRule():
            return rule.serial_number == text
        case SanRule():
            return rule.san == text
        case _:
            wanted = text.lower().replace(":", "")
            return len(wanted) >= PIN_DIGITS_LEAST and rule.sha256.startswith(wanted)


def _note(change: Change, row: PartnerRow) -> None:
    change.note("partner.changed", partner=row.name, command=change.what, codes=list(row.entry.codes))
