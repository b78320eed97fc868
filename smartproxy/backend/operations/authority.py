"""Operations on the site's authority: its certificates, and plain clients, which it certifies. No key of it is told."""

import difflib
from datetime import datetime, timedelta

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import audit, authority, identities, licences, page_certificate, settings
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.authority import SiteAuthority
from smartproxy.backend.change import Change
from smartproxy.backend.errors import NotFound, Unusable
from smartproxy.backend.operations.identity import GivenPair
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import WARNINGS, AnyText, KnownCertificate, Named, Nothing
from smartproxy.backend.page_certificate import CertificateSource
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.credential import dump
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind, masked
from smartproxy.policy.values import NAME, Flag, Instant, Line, Lines, Member, Whole

AUTHORITY = Family("authority", "authority", key="")

_HOSTS = ListOf(item=Line(most=256), most=100)
_WITHDRAW_UNKNOWN = ForPeople(help="withdraw a name that the audit trail does not know")
_HOSTS_HELP = ForPeople(help="host names and addresses by which clients reach the backend, beside loopback")


@attrs.frozen(kw_only=True)
class SiteAddition:
    """A new site.

    :ivar site: the company, as it stands in licences.
    :ivar names: by which clients reach the backend, beside loopback.
    """

    site: str = attrs.field(metadata=kind(AnyText(), people=ForPeople(help="the company, as it stands in licences")))
    names: tuple[str, ...] = attrs.field(default=(), metadata=kind(_HOSTS, people=_HOSTS_HELP))

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return f"--site {self.site!r}"

    @property
    def prepared(self) -> None:
        """See, before there is a store, that the site can be called so.

        :raises Unusable: when it cannot.
        """
        authority.see_names(self.site, self.names)


@attrs.frozen(kw_only=True)
class HttpsNames:
    """By which names clients reach the backend.

    :ivar names: host names and addresses, beside loopback.
    """

    names: tuple[str, ...] = attrs.field(default=(), metadata=kind(_HOSTS, people=_HOSTS_HELP))


@attrs.frozen(kw_only=True)
class KnownAuthority:
    """The site's authority, without its key.

    :ivar certificate: what stands in its certificate.
    :ivar pem: its certificate, for ``--backend-ca``.
    :ivar https_pin: SHA-256 of the key of the backend's https certificate, for ``--backend-pin``.
    """

    site: str = attrs.field(metadata=kind(AnyText()))
    created: datetime = attrs.field(metadata=kind(Instant()))
    certificate: KnownCertificate = attrs.field(metadata=kind(ObjectOf(KnownCertificate)))
    pem: str = attrs.field(metadata=kind(AnyText()))
    https_pin: str = attrs.field(metadata=kind(AnyText()))
    https_names: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=AnyText())))
    https_until: datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class CredentialWanted:
    """For whom a credential is made: a plain client, which has no backend.

    :ivar name: as servers will log it.
    :ivar days: so long it is valid.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(help="the client's name, as servers will log it")))
    days: int = attrs.field(
        default=limits.CREDENTIAL_DAYS.default,
        metadata=kind(Whole(limits.CREDENTIAL_DAYS), people=ForPeople(help="days that it is valid")),
    )

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return self.name


@attrs.frozen(kw_only=True)
class MadeCredential:
    """A credential; it is told only here.

    :ivar credential: what stands in the client's file: its key, its certificate, and the servers.
    :ivar proxy_ids: the servers that the client may speak to.
    """

    name: str = attrs.field(metadata=kind(NAME))
    credential: str = attrs.field(repr=masked, metadata=kind(Lines(most=1_000_000)))
    not_after: datetime = attrs.field(metadata=kind(Instant()))
    proxy_ids: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=AnyText())))


@attrs.frozen(kw_only=True)
class WithdrawnCredentials:
    """Whose credentials are withdrawn.

    :ivar licences: how many licences were signed anew, which say so.
    """

    name: str = attrs.field(metadata=kind(NAME))
    licences: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))


@attrs.frozen(kw_only=True)
class PlainClient(Named):
    """Which plain client.

    :ivar name: the name in its credential.
    :ivar force: whether a name is taken for which this site issued no credential, as far as its audit trail tells.
    """

    force: bool = attrs.field(default=False, metadata=kind(Flag(), people=_WITHDRAW_UNKNOWN))

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return self.name


@attrs.frozen(kw_only=True)
class KnownPageCertificate:
    """What the page shows at its own address, without its key.

    :ivar at: where that is; ``None``: the page is at the API's port, with the backend's certificate.
    :ivar source: where the certificate is from.
    :ivar path: the file that it is from.
    :ivar certificate: what stands in it; ``None`` if the file cannot be used.
    :ivar fault: why not.
    :ivar warnings: what the operator had better know of it.
    """

    at: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    source: CertificateSource = attrs.field(metadata=kind(Member(CertificateSource)))
    path: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    certificate: KnownCertificate | None = attrs.field(metadata=kind(Optional(ObjectOf(KnownCertificate))))
    fault: str | None = attrs.field(metadata=kind(Optional(AnyText())))
    warnings: tuple[str, ...] = attrs.field(default=(), metadata=kind(WARNINGS))


@AUTHORITY.reading("show", "Show the authority and what clients need to trust the backend.", path="GET ")
def show(look: Transaction, wanted: Nothing) -> KnownAuthority:
    """The authority."""
    return _known(authority.load(look.session))


@AUTHORITY.changing("create", "Make a new site: its authority, and the backend's https certificate.", path="POST ")
def create(change: Change, wanted: SiteAddition) -> KnownAuthority:
    """Make the authority of a new site, with a first listener."""
    made = authority.create(change, wanted.site, wanted.names)
    settings.put(change, settings.LISTENERS, settings.FIRST_LISTENERS)
    return _known(made)


@AUTHORITY.changing("https", "Issue the backend's https certificate anew, for other names; its key and pin stay.")
def rename(change: Change, wanted: HttpsNames) -> KnownAuthority:
    """Issue it; the backend uses it after a restart."""
    return _known(authority.rename_https(change, wanted.names))


@AUTHORITY.reading("page", "Show the certificate that the page shows at its own address.", path="GET page")
def page(look: Transaction, wanted: Nothing) -> KnownPageCertificate:
    """What is shown there, or would be."""
    return _page(look.session, look.now)


@AUTHORITY.changing("page-import", "Have the page show this certificate at its own address.", path="POST page")
def page_import(change: Change, wanted: GivenPair) -> KnownPageCertificate:
    """Keep it with its key; it is shown within seconds."""
    page_certificate.keep(change, wanted.prepared)
    return _page(change.session, change.now)


@AUTHORITY.changing("page-reset", "Have the page show the authority's certificate again.", path="POST page:reset")
def page_reset(change: Change, wanted: Nothing) -> KnownPageCertificate:
    """Forget what was uploaded."""
    page_certificate.forget(change)
    return _page(change.session, change.now)


@AUTHORITY.exporting("issue-client", "Make the credential of a plain client, with its key and the licensed servers.")
def issue_client(work: Transaction, wanted: CredentialWanted) -> MadeCredential:
    """Make it; the store keeps neither the key nor the certificate."""
    made, until = authority.issue_credential(
        work.session,
        wanted.name,
        licences.licensed(work.session, work.now),
        now=work.now,
        days=wanted.days,
        after=licences.withdrawn(work.session, wanted.name),
    )
    return MadeCredential(name=made.name, credential=dump(made), not_after=until, proxy_ids=made.proxy_ids)


@AUTHORITY.changing("withdraw-client", "Have servers refuse a plain client: all its credentials so far.")
def withdraw_client(change: Change, wanted: PlainClient) -> WithdrawnCredentials:
    """Say so in the licences.

    :raises NotFound: for a name that no credential has: a slip would leave the stolen one good.
    """
    known = audit.about(change.session, issue_client.words)
    if not wanted.force and wanted.name not in known:
        near = difflib.get_close_matches(wanted.name, sorted(known), n=1)
        meant = f"; was {near[0]!r} meant?" if near else "; if the audit trail does not go back so far: --force"
        raise NotFound(f"no credential was issued for {wanted.name!r}, so nothing is withdrawn{meant}")
    count = licences.shut_out(change, wanted.name, timedelta(days=limits.CREDENTIAL_DAYS.most))
    change.note("client.changed", command=change.what, names=[wanted.name])
    return WithdrawnCredentials(name=wanted.name, licences=count)


def _page(session: Session, now: datetime) -> KnownPageCertificate:
    access = backend_settings(session).page
    source, certificate, fault = CertificateSource.FILE, None, None
    warnings: list[str] = []
    try:
        found = page_certificate.in_force(session, access)
        source, certificate = found.source, KnownCertificate.of(found.shown.certificate)
        warnings = identities.warnings(found.shown.certificate, now)
    except Unusable as unusable:
        fault = str(unusable)
    return KnownPageCertificate(
        at=None if access.address is None else str(HostPort(access.address, access.port)),
        source=source,
        path=access.certificate_file,
        certificate=certificate,
        fault=fault,
        warnings=tuple(warnings),
    )


def _known(found: SiteAuthority) -> KnownAuthority:
    return KnownAuthority(
        site=found.site,
        created=found.created,
        certificate=KnownCertificate.of(found.certificate),
        pem=found.certificate_pem,
        https_pin=found.https_pin,
        https_names=tuple(found.https_names),
        https_until=found.https_certificate.not_valid_after_utc,
    )
