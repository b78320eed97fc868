"""Certificates that the page is given or shows: what stands in them, and where they lie on a time line.

Parsing takes time and trusts nothing: it is done where it does not hold the reactor.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from smartproxy.backend.certificates import (
    certificate_pin,
    certificates_to_pem,
    issuer_text,
    own_of,
    read_certificates,
    short_names,
    subject_text,
)
from smartproxy.backend.operations.partner_views import PartnerCertificate
from smartproxy.net.tls.facts import serial_number_of_subject
from smartproxy.policy.certificates.decoding import Undecodable, public_key

_AHEAD_MOST = timedelta(days=3 * 365)
_BEFORE = timedelta(days=60)
WIDTH = 1000
"""Of the time line, in its own units."""


@attrs.frozen(kw_only=True)
class DroppedCertificate:
    """What stands in a certificate.

    :ivar odette_id: the serialNumber in its subject: with Odette's CAs the holder's Odette ID.
    :ivar key: the kind of its key and the size.
    :ivar others: the names of further certificates of the file, which are not needed, and how many these are.
    """

    pem: str
    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    sha256: str
    key: str
    odette_id: str | None
    others: str = ""
    others_count: int = 0


@attrs.frozen(kw_only=True)
class TimeBar:
    """A certificate on the time line, in units of its width; the end may be cut off at its edge."""

    label: str
    start: float
    length: float
    until: datetime
    current: bool


@attrs.frozen(kw_only=True)
class TimeLine:
    """Certificates from their first use to their end.

    :ivar today: where today is.
    :ivar years: where years begin, with their numbers.
    """

    bars: Sequence[TimeBar]
    today: float
    years: Sequence[tuple[float, int]]


def facts_in(octets: bytes, source: str) -> DroppedCertificate:
    """What stands in the holder's certificate of a file.

    :raises Unusable: when there is none, or several of different holders.
    """
    own, others = own_of(octets, source)
    return attrs.evolve(facts_of(own), others=short_names(others), others_count=len(others))


def pem_of(octets: bytes, source: str) -> str:
    """The certificates of a file as PEM.

    :raises Unusable: when there is none.
    """
    return certificates_to_pem(read_certificates(octets, source))


def facts_of(certificate: x509.Certificate) -> DroppedCertificate:
    """What stands in a certificate."""
    return DroppedCertificate(
        pem=certificates_to_pem([certificate]),
        subject=subject_text(certificate),
        issuer=issuer_text(certificate),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=certificate_pin(certificate),
        key=_key(certificate),
        odette_id=serial_number_of_subject(certificate),
    )


@attrs.frozen(kw_only=True)
class InUse:
    """A certificate, and from when until when it is used."""

    label: str
    begins: datetime
    until: datetime
    current: bool


def of_partner(items: Iterable[PartnerCertificate], now: datetime) -> list[InUse]:
    """The certificates of a partner whose end is known."""
    return [
        InUse(
            label=each.subject or each.rule or "",
            begins=each.first_seen or now,
            until=each.not_after,
            current=each.not_after > now and each.rule is not None,
        )
        for each in items
        if each.not_after is not None
    ]


def time_line(items: Sequence[InUse], now: datetime) -> TimeLine | None:
    """Certificates on one line; nothing for none."""
    if not items:
        return None
    begin = min([now - _BEFORE, *(each.begins for each in items)])
    end = min(max([now + _BEFORE, *(each.until for each in items)]), now + _AHEAD_MOST)
    unit = WIDTH / (end - begin).total_seconds()

    def place(moment: datetime) -> float:
        return round(min(max((moment - begin).total_seconds(), 0), (end - begin).total_seconds()) * unit, 1)

    bars = [
        TimeBar(
            label=each.label,
            start=place(each.begins),
            length=max(place(each.until) - place(each.begins), 4),
            until=each.until,
            current=each.current,
        )
        for each in items
    ]
    years = [(place(datetime(year, 1, 1, tzinfo=now.tzinfo)), year) for year in range(begin.year + 1, end.year + 1)]
    return TimeLine(bars=bars, today=place(now), years=years)


def _key(certificate: x509.Certificate) -> str:
    try:
        found = public_key(certificate)
    except Undecodable:
        return "unknown"
    match found:
        case rsa.RSAPublicKey() as key:
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey() as key:
            return f"EC {key.curve.name}"
        case key:
            return type(key).__name__.removesuffix("PublicKey").lstrip("_")
