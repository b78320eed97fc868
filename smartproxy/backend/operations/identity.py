"""Operations on identities: the certificates and keys that servers show to partners. No key is ever told."""

import functools
from datetime import datetime

import attrs
from cryptography import x509
from sqlalchemy.orm import Session

from smartproxy.backend import identities
from smartproxy.backend.certificates import (
    KeyAndChain,
    as_saved,
    fitting,
    read_certificates,
    read_pkcs12,
    read_private_key,
)
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused, Unusable
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import (
    GIVEN_FILES,
    WARNINGS,
    AnyText,
    GivenFile,
    KnownCertificate,
    Named,
    Nothing,
    Removed,
    Word,
)
from smartproxy.backend.schema import CertificateRequest, IdentityRow
from smartproxy.policy.partners import KEY_TYPE_USUAL, KEY_TYPES
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind, masked
from smartproxy.policy.values import NAME, Flag, Instant, Line

_PART = Optional(Line(most=256))
_USE_FROM = ForPeople(help="from when it is used, in the place of the one in use; at once without it")


@attrs.frozen(kw_only=True)
class GivenPair:
    """A key and its certificates.

    :ivar files: one PKCS#12 file, or PEM files with the key and the certificates.
    :ivar password: of the key or of the PKCS#12 file; ``None`` for none.
    """

    files: tuple[GivenFile, ...] = attrs.field(
        repr=masked,
        metadata=kind(GIVEN_FILES, people=ForPeople(help="one PKCS#12 file, or key and certificates in PEM")),
    )
    password: str | None = attrs.field(
        default=None, repr=masked, metadata=kind(Optional(AnyText()), people=ForPeople(help="the key's, if it has one"))
    )

    @functools.cached_property
    def prepared(self) -> KeyAndChain:
        """Key and certificates.

        :raises Unusable: when the files do not hold one key with its certificate.
        """
        source = _source(self.files)
        password = None if self.password is None else self.password.encode("utf-8", "replace")
        if len(self.files) == 1 and not is_pem(self.files[0].octets):
            return read_pkcs12(self.files[0].octets, password, source)
        key = read_private_key(key_of(self.files).octets, password, source)
        certificates = [each for file in self.files for each in read_certificates(file.octets, file.name, least=0)]
        return fitting(key, certificates, source)


@attrs.frozen(kw_only=True)
class IdentityImport(GivenPair):
    """A key and its certificates, for an identity.

    :ivar use_from: from when they are used; ``None``: at once.
    """

    name: str = attrs.field(metadata=kind(NAME))
    use_from: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant()), people=_USE_FROM))


@attrs.frozen(kw_only=True)
class RequestWanted:
    """For whom a certificate is to be asked for, with a new key.

    :ivar serial_number: the Odette ID, where the CA wants it in the subject.
    :ivar names: host names and addresses.
    :ivar key_type: the kind of the key.
    """

    name: str = attrs.field(metadata=kind(NAME))
    common_name: str = attrs.field(metadata=kind(Line(most=256)))
    organization: str | None = attrs.field(default=None, metadata=kind(_PART))
    organizational_unit: str | None = attrs.field(default=None, metadata=kind(_PART))
    country: str | None = attrs.field(default=None, metadata=kind(_PART, people=ForPeople(help="two letters")))
    locality: str | None = attrs.field(default=None, metadata=kind(_PART))
    serial_number: str | None = attrs.field(
        default=None, metadata=kind(_PART, people=ForPeople(help="subject serialNumber: the Odette ID"))
    )
    names: tuple[str, ...] = attrs.field(
        default=(),
        metadata=kind(ListOf(item=Line(most=256), most=100), people=ForPeople(help="host names and addresses")),
    )
    key_type: str = attrs.field(default=KEY_TYPE_USUAL, metadata=kind(Word(KEY_TYPES)))

    @functools.cached_property
    def prepared(self) -> CertificateRequest:
        """The request, with a new key; making it may take seconds."""
        about = identities.Subject(
            common_name=self.common_name,
            organization=self.organization,
            organizational_unit=self.organizational_unit,
            country=self.country,
            locality=self.locality,
            serial_number=self.serial_number,
            names=self.names,
        )
        return identities.make_request(self.name, about, self.key_type)


@attrs.frozen(kw_only=True)
class RequestAnswer:
    """The certificate that a CA issued for the request.

    :ivar files: the certificate and its chain.
    :ivar use_from: from when it is used; ``None``: at once.
    """

    name: str = attrs.field(metadata=kind(NAME))
    files: tuple[GivenFile, ...] = attrs.field(
        metadata=kind(GIVEN_FILES, people=ForPeople(help="the certificate, and its chain"))
    )
    use_from: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant()), people=_USE_FROM))

    @functools.cached_property
    def prepared(self) -> list[x509.Certificate]:
        """The certificates.

        :raises Unusable: when the files hold none.
        """
        found = [each for file in self.files for each in read_certificates(file.octets, file.name, least=0)]
        if not found:
            raise Unusable(f"there is no certificate in {_source(self.files)}")
        return found


@attrs.frozen(kw_only=True)
class IdentityRemoval:
    """Which identity is removed, with its key.

    :ivar force: whether the only one is, too, without which no partner can connect.
    """

    name: str = attrs.field(metadata=kind(NAME))
    force: bool = attrs.field(
        default=False,
        metadata=kind(Flag(), people=ForPeople(help="even the only one, without which no partner connects")),
    )


@attrs.frozen(kw_only=True)
class PlannedChangeOver:
    """The successor of an identity's certificate.

    :ivar use_from: from when it is used.
    :ivar certificates: the leaf first.
    :ivar pem: the certificates, for partners.
    """

    use_from: datetime = attrs.field(metadata=kind(Instant()))
    certificates: tuple[KnownCertificate, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownCertificate))))
    pem: str = attrs.field(metadata=kind(AnyText()))


@attrs.frozen(kw_only=True)
class KnownIdentity:
    """An identity, without its key.

    :ivar request: the request that is out, in PEM.
    :ivar certificates: the leaf first; none while only a request is out.
    :ivar pem: the certificates, for partners.
    :ivar planned: the change-over that is planned.
    :ivar warnings: what the operator had better know.
    """

    name: str = attrs.field(metadata=kind(NAME))
    request: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    certificates: tuple[KnownCertificate, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownCertificate))))
    pem: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    planned: PlannedChangeOver | None = attrs.field(default=None, metadata=kind(Optional(ObjectOf(PlannedChangeOver))))
    warnings: tuple[str, ...] = attrs.field(default=(), metadata=kind(WARNINGS))


@attrs.frozen(kw_only=True)
class KnownIdentities:
    """Every certificate that partners are shown, by its identity's name, with requests and plans; without keys."""

    items: tuple[KnownIdentity, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownIdentity))))


def _state(session: Session, name: str) -> KnownIdentity:
    return _known(identities.find(session, name))


IDENTITY = Family("identity", "identities", state=_state)


@IDENTITY.reading("list", "List identities.")
def listed(look: Transaction, wanted: Nothing) -> KnownIdentities:
    """All of them by name."""
    return KnownIdentities(items=tuple(_known(row, look.now) for row in identities.listed(look.session)))


@IDENTITY.reading("show", "Show an identity's certificates; its key is never shown.")
def show(look: Transaction, wanted: Named) -> KnownIdentity:
    """One identity."""
    return _known(identities.find(look.session, wanted.name), look.now)


@IDENTITY.changing("import", "Import a key and its certificate with the chain: PKCS#12, or PEM.")
def take_in(change: Change, wanted: IdentityImport) -> KnownIdentity:
    """Use them under the name, in the place of what it had before, at once or from a date on."""
    if wanted.use_from is not None:
        return _known(identities.plan(change, wanted.name, wanted.prepared, wanted.use_from), change.now)
    return _known(identities.keep(change, wanted.name, wanted.prepared), change.now)


@IDENTITY.changing("request", "Make a key and a request (CSR) for its certificate; the one in use stays meanwhile.")
def request(change: Change, wanted: RequestWanted) -> KnownIdentity:
    """Keep the request with its key."""
    identities.request(change, wanted.prepared)
    return _known(identities.find(change.session, wanted.name), change.now)


@IDENTITY.changing("complete", "Import the certificate that a CA issued for the request.")
def complete(change: Change, wanted: RequestAnswer) -> KnownIdentity:
    """Use the certificate with the request's key, at once or from a date on."""
    identities.complete(change, wanted.name, wanted.prepared, _source(wanted.files), wanted.use_from)
    return _known(identities.find(change.session, wanted.name), change.now)


@IDENTITY.changing("undo-plan", "Undo a planned change-over: the certificate in use stays.")
def undo_plan(change: Change, wanted: Named) -> KnownIdentity:
    """Leave what is in use; a request that was answered stays out."""
    return _known(identities.undo_plan(change, wanted.name), change.now)


@IDENTITY.changing("remove", "Remove an identity with its key.")
def remove(change: Change, wanted: IdentityRemoval) -> Removed:
    """Remove the identity."""
    used = [row.name for row in identities.listed(change.session) if row.entry is not None]
    if used == [wanted.name] and not wanted.force:
        raise ChangeRefused(
            f"{wanted.name} is the only identity: without it the server closes its ports to all partners; give --yes "
            "to remove it all the same"
        )
    identities.remove(change, wanted.name)
    return Removed(name=wanted.name)


def is_pem(octets: bytes) -> bool:
    """Whether a file holds PEM; a single one that does not is a PKCS#12 file."""
    return b"-----BEGIN " in as_saved(octets)


def holds_key(octets: bytes) -> bool:
    """Whether a file holds a private key in PEM."""
    return b"PRIVATE KEY-----" in as_saved(octets)


def key_of(files: tuple[GivenFile, ...]) -> GivenFile:
    """The one file with a private key in PEM.

    :raises Unusable: when there is none, or more than one.
    """
    keys = [each for each in files if holds_key(each.octets)]
    if len(keys) != 1:
        found = "no private key" if not keys else "more than one private key"
        raise Unusable(
            f"there is {found} in {_source(files)}; give one key and its certificates, in PEM, or one PKCS#12 file"
        )
    return keys[0]


def _source(files: tuple[GivenFile, ...]) -> str:
    return " and ".join(each.name for each in files)


def _known(row: IdentityRow, now: datetime | None = None) -> KnownIdentity:
    """An identity as it is told.

    :param now: by when its warnings are; none without it.
    """
    chain, planned = identities.chain_of(row), None
    if row.planned is not None and row.planned_since is not None:
        planned = PlannedChangeOver(
            use_from=row.planned_since,
            certificates=tuple(map(KnownCertificate.of, identities.planned_chain_of(row))),
            pem=row.planned.certificate,
        )
    return KnownIdentity(
        name=row.name,
        request=None if row.request is None else row.request.request,
        certificates=tuple(map(KnownCertificate.of, chain)),
        pem=None if row.entry is None else row.entry.certificate,
        planned=planned,
        warnings=() if now is None else tuple(identities.warnings_of(row, now)),
    )
