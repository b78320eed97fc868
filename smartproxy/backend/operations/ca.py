"""Operations on the CAs that partners' certificates may chain to."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import cas, sightings
from smartproxy.backend.certificates import read_certificates
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import WARNINGS, KnownCertificate, Named, Page, Removed
from smartproxy.backend.schema import CaRow
from smartproxy.policy.partners import TrustedCa
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, PartOf, kind
from smartproxy.policy.values import NAME, Lines, Pem


def _state(session: Session, name: str) -> TrustedCa:
    return cas.find(session, name).entry


CA = Family("ca", "cas", state=_state)

_BUNDLES_MOST = 100
_BUNDLES = ListOf(item=Pem(label="CERTIFICATE", most=1000), most=_BUNDLES_MOST)
_BUNDLES_HELP = ForPeople(help="root and intermediate certificates, together or one by one")
_OTHERS = PartOf(cls=TrustedCa, without=frozenset({"name", "certificates"}))
_URLS = ListOf(item=Lines(most=10_000))


@attrs.frozen(kw_only=True)
class CaAddition:
    """A CA to add.

    :ivar certificates: its certificates.
    :ivar ca: the other fields of its entry; what it does not say is the default.
    """

    name: str = attrs.field(metadata=kind(NAME))
    certificates: tuple[str, ...] = attrs.field(metadata=kind(attrs.evolve(_BUNDLES, least=1), people=_BUNDLES_HELP))
    ca: Mapping[str, Any] = attrs.field(
        factory=dict, metadata=kind(_OTHERS, people=ForPeople(help="the other fields of its entry"))
    )


@attrs.frozen(kw_only=True)
class CaAlteration:
    """A change of a CA.

    :ivar certificates: its certificates in place of all old ones; none: they stay.
    :ivar ca: the other fields that change.
    """

    name: str = attrs.field(metadata=kind(NAME))
    certificates: tuple[str, ...] = attrs.field(default=(), metadata=kind(_BUNDLES, people=_BUNDLES_HELP))
    ca: Mapping[str, Any] = attrs.field(
        factory=dict, metadata=kind(_OTHERS, people=ForPeople(help="the fields that change"))
    )


@attrs.frozen(kw_only=True)
class KnownCa:
    """A CA.

    :ivar ca: its entry, with its certificates.
    :ivar certificates: what stands in them.
    :ivar crl_urls: the addresses of revocation lists that certificates of it name.
    :ivar warnings: what the operator had better know of certificates that were given.
    """

    ca: TrustedCa = attrs.field(metadata=kind(ObjectOf(TrustedCa)))
    certificates: tuple[KnownCertificate, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownCertificate))))
    crl_urls: tuple[str, ...] = attrs.field(metadata=kind(_URLS))
    warnings: tuple[str, ...] = attrs.field(default=(), metadata=kind(WARNINGS))


@attrs.frozen(kw_only=True)
class CaPage:
    """A part of the list of CAs.

    :ivar next: the cursor of the next part; ``None`` after the last.
    """

    items: tuple[KnownCa, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownCa))))
    next: str | None = attrs.field(metadata=kind(Optional(NAME)))


@CA.reading("list", "List CAs.")
def listed(look: Transaction, wanted: Page) -> CaPage:
    """The CAs by name."""
    names, following = wanted.of(look.session.scalars(select(CaRow.name)))
    rows = {row.name: row for row in look.session.scalars(select(CaRow).where(CaRow.name.in_(names)))}
    return CaPage(items=tuple(known(look.session, rows[name]) for name in names), next=following)


@CA.reading("show", "Show the certificates of a CA.")
def show(look: Transaction, wanted: Named) -> KnownCa:
    """One CA."""
    return known(look.session, cas.find(look.session, wanted.name))


@CA.changing("add", "Add a CA: its root and intermediate certificates.")
def add(change: Change, wanted: CaAddition) -> KnownCa:
    """Add the CA."""
    row = cas.add(change, wanted.name, _read(wanted.certificates), **wanted.ca)
    return known(change.session, row, cas.doubts(cas.certificates_of(row), change.now))


@CA.changing("change", "Replace a CA's certificates, or change how revocation is checked.")
def alter(change: Change, wanted: CaAlteration) -> KnownCa:
    """Change the CA."""
    certificates = _read(wanted.certificates) if wanted.certificates else None
    row = cas.alter(change, wanted.name, certificates=certificates, **wanted.ca)
    return known(change.session, row, cas.doubts(certificates or (), change.now))


@CA.changing("remove", "Remove a CA that no partner uses.")
def remove(change: Change, wanted: Named) -> Removed:
    """Remove the CA."""
    cas.remove(change, wanted.name)
    return Removed(name=wanted.name)


def _read(bundles: Iterable[str]) -> list[x509.Certificate]:
    octets = [each.encode("utf-8", "replace") for each in bundles]
    return [each for number, pem in enumerate(octets, 1) for each in read_certificates(pem, f"certificate {number}")]


def known(session: Session, row: CaRow, doubts: Iterable[str] = ()) -> KnownCa:
    """What is told of a CA; within the transaction that changes it, so that nothing is changed where this fails."""
    return KnownCa(
        ca=row.entry,
        certificates=tuple(map(KnownCertificate.of, cas.certificates_of(row))),
        crl_urls=tuple(each.url for each in sightings.urls(session, row.name)),
        warnings=tuple(doubts),
    )
