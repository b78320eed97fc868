"""A partner's sheet: what a partner has to be told to connect, as text or as a page, in English or German.

Made of a partner's entry and of what the backend knows of this site; what nobody has said yet is named as missing and
stands on the sheet as "told separately". Nothing on it is secret. What comes from certificates and entries is escaped.
"""

import enum
import html
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import attrs

from smartproxy.oftp2.roles import Level
from smartproxy.policy.partners import (
    ANY_CODE,
    Authentication,
    CertificatePin,
    KeyPin,
    Outbound,
    Partner,
    Purpose,
    Rule,
    SanRule,
    SubjectRule,
    Verify,
)
from smartproxy.policy.settings import Offer, SheetSettings
from smartproxy.policy.sheet_words import WORDS, Language, SheetWords
from smartproxy.policy.values import minute

_WIDTH = 100
_LABEL = 50
_STYLE = (
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:normal;width:38%;color:#444}"
    "th,td{vertical-align:top;padding:.25em .5em;border-bottom:1px solid #ddd;overflow-wrap:anywhere}"
)


class SheetFormat(enum.StrEnum):
    """A form of the sheet."""

    TEXT = "text"
    HTML = "html"


@attrs.frozen(kw_only=True)
class ShownCertificate:
    """What stands in one of our certificates, or in one that the partner sent."""

    subject: str
    not_after: datetime
    sha256: str
    issuer: str = ""
    serial: str = ""


@attrs.frozen(kw_only=True)
class OurSide:
    """What a partner is told of this site.

    :ivar site: the company.
    :ivar said: what an operator said for sheets.
    :ivar ports: where the server listens.
    :ivar answering: the certificate that it shows; ``None`` if it has none yet.
    :ivar calling: the certificate that it shows when it calls this partner.
    :ivar source: the address that it calls from; ``None`` if that is not fixed.
    :ivar lists: whether a revocation list of the partner's CA is required.
    """

    site: str
    said: SheetSettings
    ports: tuple[int, ...]
    answering: ShownCertificate | None
    calling: ShownCertificate | None
    source: str | None
    lists: bool


@attrs.frozen
class SheetRow:
    """A label and what stands beside it."""

    label: str
    values: tuple[str, ...]


@attrs.frozen(kw_only=True)
class SheetSection:
    """A part of the sheet: rows, sentences, or both."""

    title: str
    rows: tuple[SheetRow, ...] = ()
    sentences: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Sheet:
    """The sheet, before it has a form.

    :ivar missing: the settings that would say what it cannot say.
    """

    language: Language
    title: str
    intro: str
    sections: tuple[SheetSection, ...]
    missing: tuple[str, ...]


def compose(
    partner: Partner, ours: OurSide, pins: Mapping[str, ShownCertificate], language: Language, now: datetime
) -> Sheet:
    """The sheet of a partner.

    :param pins: what is known of the certificates that the partner's entry pins, by their SHA-256.
    """
    words = WORDS[language]
    names = {"partner": partner.name, "site": ours.site}
    sections = [
        _call_us(words, ours, now),
        *_certificate(words.our_certificate, words, ours.answering),
        *([] if partner.outbound is None else _call_you(words, partner.outbound, ours)),
        *([SheetSection(title=words.call_you, sentences=(words.never,))] if partner.outbound is None else []),
        _session(words, partner, ours.said),
        _of_you(words, partner, pins),
        SheetSection(title=words.needed, sentences=tuple(_needed(words, partner, ours))),
    ]
    return Sheet(
        language=language,
        title=words.title.format(**names),
        intro=words.intro.format(**names),
        sections=tuple(sections),
        missing=tuple(_missing(ours)),
    )


def render(sheet: Sheet, form: SheetFormat) -> str:
    """The sheet in a form, with a newline at its end."""
    return _text(sheet) if form is SheetFormat.TEXT else _page(sheet)


def _missing(ours: OurSide) -> Iterator[str]:
    said = ours.said
    for name, known in (
        ("host", said.host),
        ("codes", said.codes),
        ("buffer_octets", said.buffer_octets),
        ("credit", said.credit),
        ("compression", said.compression is not Offer.UNSAID),
        ("restart", said.restart is not Offer.UNSAID),
        ("contact", said.contact),
    ):
        if not known:
            yield f"backend.sheet.{name}"


def _call_us(words: SheetWords, ours: OurSide, now: datetime) -> SheetSection:
    said = ours.said
    ports = (said.port,) if said.port else ours.ports
    rows = (
        SheetRow(words.made, (_day(now),)),
        SheetRow(words.company, (ours.site,)),
        SheetRow(words.contact, (said.contact or words.unsaid,)),
        SheetRow(words.host, (said.host or words.unsaid,)),
        SheetRow(words.port, tuple(map(str, ports)) or (words.unsaid,)),
        SheetRow(words.transport, (words.transport_value,)),
        SheetRow(words.our_codes, said.codes or (words.unsaid,)),
        SheetRow(words.our_file_codes, said.file_codes or said.codes or (words.unsaid,)),
    )
    return SheetSection(title=words.call_us, rows=rows)


def _certificate(title: str, words: SheetWords, shown: ShownCertificate | None) -> list[SheetSection]:
    if shown is None:
        return [SheetSection(title=title, sentences=(words.unsaid,))]
    rows = (
        SheetRow(words.subject, (shown.subject,)),
        SheetRow(words.issuer, (shown.issuer,)),
        SheetRow(words.serial, (shown.serial,)),
        SheetRow(words.sha256, (_fingerprint(shown.sha256),)),
        SheetRow(words.valid_until, (_day(shown.not_after),)),
    )
    return [SheetSection(title=title, rows=rows)]


def _call_you(words: SheetWords, outbound: Outbound, ours: OurSide) -> list[SheetSection]:
    verified = {
        Verify.NAME: words.by_name.format(name=outbound.name),
        Verify.PIN: words.pinned,
        Verify.ODETTE: words.by_odette,
    }
    rows = (
        SheetRow(words.host, (outbound.host,)),
        SheetRow(words.port, (str(outbound.port),)),
        SheetRow(words.from_address, (ours.source or words.any_address,)),
        SheetRow(words.your_name, (verified[outbound.verify],)),
    )
    found = [SheetSection(title=words.call_you, rows=rows)]
    if ours.calling != ours.answering:
        found += _certificate(words.our_calling_certificate, words, ours.calling)
    return found


def _session(words: SheetWords, partner: Partner, said: SheetSettings) -> SheetSection:
    secure = {
        Authentication.REQUIRED: words.secure_required,
        Authentication.REFUSED: words.secure_refused,
        Authentication.EITHER: words.secure_either,
    }
    offers = {Offer.YES: words.yes, Offer.NO: words.no, Offer.UNSAID: words.unsaid}
    levels = [level.label for level in reversed(Level) if level >= partner.lowest_level]
    rows = (
        SheetRow(words.levels, (", ".join(levels),)),
        SheetRow(words.secure, (secure[partner.authentication],)),
        SheetRow(
            words.buffer, (words.octets.format(count=said.buffer_octets) if said.buffer_octets else words.unsaid,)
        ),
        SheetRow(words.credit, (str(said.credit) if said.credit else words.unsaid,)),
        SheetRow(words.compression, (offers[said.compression],)),
        SheetRow(words.restart, (offers[said.restart],)),
    )
    return SheetSection(title=words.session, rows=rows)


def _of_you(words: SheetWords, partner: Partner, pins: Mapping[str, ShownCertificate]) -> SheetSection:
    rows = (
        SheetRow(words.your_codes, partner.codes),
        SheetRow(words.originators, _codes(words, partner.originators)),
        SheetRow(words.destinations, _codes(words, partner.destinations)),
        SheetRow(words.certificates, tuple(_rule(words, each, pins) for each in partner.certificates)),
    )
    return SheetSection(title=words.of_you, rows=rows)


def _codes(words: SheetWords, codes: tuple[str, ...]) -> tuple[str, ...]:
    return (words.any,) if ANY_CODE in codes else codes


def _rule(words: SheetWords, rule: Rule, pins: Mapping[str, ShownCertificate]) -> str:
    match rule:
        case SubjectRule():
            return words.by_subject.format(ca=rule.ca, name=rule.serial_number)
        case SanRule():
            return words.by_san.format(ca=rule.ca, name=rule.san)
        case CertificatePin():
            pin = words.pin_of_certificate.format(sha256=_fingerprint(rule.sha256))
        case KeyPin():
            pin = words.pin_of_key.format(sha256=_fingerprint(rule.sha256))
    known = pins.get(rule.sha256)
    if known is None:
        return pin
    return words.known_pin.format(pin=pin, subject=known.subject, until=_day(known.not_after))


def _needed(words: SheetWords, partner: Partner, ours: OurSide) -> Iterator[str]:
    usages = {
        Purpose.STRICT: words.need_usage_strict,
        Purpose.SERVER_AUTH: words.need_usage_server_auth,
        Purpose.ANY: words.need_usage_any,
    }
    yield f"{words.need_certificate} {usages[partner.purpose]}"
    if ours.lists:
        yield words.need_lists
    yield words.need_notice
    yield words.need_codes
    if partner.outbound is None:
        yield words.need_address
    yield words.need_contact
    yield words.need_password


def _day(moment: datetime) -> str:
    return minute(moment)


def _fingerprint(sha256: str) -> str:
    """As most programs show it: pairs of capital digits."""
    return ":".join(sha256[place : place + 2] for place in range(0, len(sha256), 2)).upper()


def _text(sheet: Sheet) -> str:
    lines = [_printable(sheet.title), "=" * min(_WIDTH, len(sheet.title)), "", *_wrapped(sheet.intro)]
    for section in sheet.sections:
        lines += ["", section.title, "-" * len(section.title)]
        for row in section.rows:
            lines += _beside(row)
        for sentence in section.sentences:
            lines += _wrapped(sentence, first="- ", rest="  ")
    return "\n".join(lines) + "\n"


def _beside(row: SheetRow) -> Iterator[str]:
    """A label with its values beside it; a value with a word that is too long for that stands below it, unbroken."""
    label, room = row.label, _WIDTH - _LABEL
    for value in map(_printable, row.values):
        if max(map(len, value.split()), default=0) > room:
            if label:
                yield label
            yield from textwrap.wrap(value, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
        else:
            for line in textwrap.wrap(value, room) or [""]:
                yield f"{label:<{_LABEL}}{line}".rstrip()
                label = ""
        label = ""


def _wrapped(text: str, first: str = "", rest: str = "") -> Iterable[str]:
    return textwrap.wrap(_printable(text), _WIDTH, initial_indent=first, subsequent_indent=rest)


def _printable(text: str) -> str:
    """A text that cannot act on a terminal; certificates' subjects are escaped where they are read."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _page(sheet: Sheet) -> str:
    title = html.escape(_printable(sheet.title))
    parts = [
        f'<!DOCTYPE html>\n<html lang="{sheet.language.value}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n<p>{html.escape(_printable(sheet.intro))}</p>\n"
    ]
    for section in sheet.sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>\n")
        if section.rows:
            parts.append("<table>\n")
            for row in section.rows:
                values = "<br>".join(html.escape(_printable(value)) for value in row.values)
                parts.append(f"<tr><th>{html.escape(row.label)}</th><td>{values}</td></tr>\n")
            parts.append("</table>\n")
        if section.sentences:
            items = "".join(f"<li>{html.escape(_printable(each))}</li>\n" for each in section.sentences)
            parts.append(f"<ul>\n{items}</ul>\n")
    return "".join(parts) + "</body>\n</html>\n"
