"""The configuration document: one generation of everything that both daemons are told.

Duty: read a document's octets into frozen objects or refuse it with the place of the first fault, and write it back.
The client reads the whole; the server is given, and reads, only its own part. Trusts nothing about the octets: they
come through the tunnel. A document that is refused leaves the generation before in force; that is the caller's duty.

A site that is still being set up is a valid one: no listeners, no identity, no partners. A server opens its listeners
once there is an identity to show.
"""

import functools
import itertools
from collections.abc import Callable
from typing import TypeVar

import attrs

from smartproxy.oftp2.roles import Profile
from smartproxy.policy.addresses import address_of
from smartproxy.policy.alerts import check_mail
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.revocation import RevocationLists, RevocationSet
from smartproxy.policy.limits import (
    BALANCER_NETWORKS_MOST,
    COPY_HOURS,
    GENERATION,
    LICENCE_OCTETS_MOST,
    PARTNERS_MOST,
)
from smartproxy.policy.outbound import check_listeners, check_outbound
from smartproxy.policy.packing import pack, unpack
from smartproxy.policy.partners import (
    CertificatePin,
    KeyPin,
    Partner,
    Purpose,
    Rule,
    SanRule,
    ServerIdentity,
    TrustedCa,
    normalize_code,
    normalize_san,
)
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind, read_object, unique, write_object
from smartproxy.policy.settings import (
    BackendSettings,
    ClientLimits,
    Deadlines,
    Listener,
    OutboundListener,
    PenaltySettings,
    Pool,
    ServerLimits,
    SourceMissing,
    Station,
)
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import NAME, Address, Fixed, Line, Lines, Member, Network, Whole
from smartproxy.policy.watching import PartnerWatching

#: The version of the document's form. A daemon that is told another one is older or newer than its configuration.
FORMAT = 1


#: The form of a store's id.
STORE_ID = "[0-9a-f]{16}"


@attrs.frozen
class GenerationId:
    """Which generation it is: a number, in the store that made it.

    :ivar number: 0 for none.
    :ivar store: the store's id; ``None`` where it is not known.
    """

    number: int = 0
    store: str | None = None

    def replaces(self, held: "GenerationId") -> bool:
        """Whether it is put in force where another one is held: a later number, or any number of another store.

        A store that was set up anew or set back to a copy counts from a lower number, and is right all the same.
        """
        return self.number > 0 and (self.number > held.number or self.store != held.store)

    def __str__(self) -> str:
        return str(self.number)


class ConfigurationRefused(DocumentRefused):
    """A configuration document is not what it has to be; ``where`` and ``message`` say what is wrong."""


@attrs.frozen(kw_only=True)
class ServerConfiguration:
    """What the server in the DMZ is told.

    :ivar listeners: where partners are awaited.
    :ivar balancers: networks of load balancers; a connection from there begins with a header of the PROXY protocol,
        which says whose it is.
    :ivar identities: certificates and keys that are shown to partners; the first is shown unless asked for another.
    :ivar cas: the CAs that partners' certificates may come from.
    :ivar revocation: what those and their intermediate CAs have revoked.
    :ivar partners: who may connect.
    :ivar licence: a licence that is to replace the server's own, as text.
    :ivar source_address: the server's address that partners are called from; ``None``: the system chooses.
    :ivar source_address_missing: what the server does if it does not have this address.
    """

    listeners: tuple[Listener, ...] = attrs.field(default=(), metadata=kind(ListOf(item=ObjectOf(Listener))))
    balancers: tuple[str, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=Network(), most=BALANCER_NETWORKS_MOST))
    )
    deadlines: Deadlines = attrs.field(default=Deadlines(), metadata=kind(ObjectOf(Deadlines)))
    limits: ServerLimits = attrs.field(default=ServerLimits(), metadata=kind(ObjectOf(ServerLimits)))
    penalties: PenaltySettings = attrs.field(default=PenaltySettings(), metadata=kind(ObjectOf(PenaltySettings)))
    identities: tuple[ServerIdentity, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=ObjectOf(ServerIdentity)))
    )
    cas: tuple[TrustedCa, ...] = attrs.field(default=(), metadata=kind(ListOf(item=ObjectOf(TrustedCa))))
    revocation: tuple[RevocationSet, ...] = attrs.field(
        default=(), repr=False, metadata=kind(ListOf(item=ObjectOf(RevocationSet)))
    )
    partners: tuple[Partner, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=ObjectOf(Partner), most=PARTNERS_MOST))
    )
    licence: str | None = attrs.field(
        default=None, repr=False, metadata=kind(Optional(Lines(most=LICENCE_OCTETS_MOST)))
    )
    source_address: str | None = attrs.field(default=None, metadata=kind(Optional(Address())))
    source_address_missing: SourceMissing = attrs.field(
        default=SourceMissing.REFUSE, metadata=kind(Member(SourceMissing))
    )

    @functools.cached_property
    def lists(self) -> RevocationLists:
        """The revocation sets by their issuers."""
        return RevocationLists.of(self.revocation)

    @functools.cached_property
    def partners_of(self) -> dict[Rule, tuple[Partner, ...]]:
        """The partners, enabled or not, that each rule names; names in rules are in the form for comparing."""
        found: dict[Rule, tuple[Partner, ...]] = {}
        for partner in self.partners:
            for rule in partner.certificates:
                compared = attrs.evolve(rule, san=normalize_san(rule.san)) if isinstance(rule, SanRule) else rule
                found[compared] = (*found.get(compared, ()), partner)
        return found


@attrs.frozen(kw_only=True)
class ClientConfiguration:
    """What the client inside keeps for itself.

    :ivar station: where the station is.
    :ivar pool: the data connections in the tunnel.
    :ivar outbound: where callers are awaited that want to reach partners.
    :ivar copy_hours: for how long a client that starts while the backend cannot be reached may use its copy of the
        configuration; 0: it keeps none.
    """

    station: Station = attrs.field(default=Station(), metadata=kind(ObjectOf(Station)))
    pool: Pool = attrs.field(default=Pool(), metadata=kind(ObjectOf(Pool)))
    deadlines: Deadlines = attrs.field(default=Deadlines(), metadata=kind(ObjectOf(Deadlines)))
    limits: ClientLimits = attrs.field(default=ClientLimits(), metadata=kind(ObjectOf(ClientLimits)))
    outbound: OutboundListener = attrs.field(default=OutboundListener(), metadata=kind(ObjectOf(OutboundListener)))
    copy_hours: int = attrs.field(default=COPY_HOURS.default, metadata=kind(Whole(COPY_HOURS)))


@attrs.frozen(kw_only=True)
class Generation:
    """What both daemons are told of a generation.

    :ivar format: the version of the document's form, :data:`FORMAT`.
    :ivar generation: the number of this version of the configuration; a later one has a higher number.
    :ivar store: the id of the store that made it.
    :ivar site: the name of the company.
    """

    format: int = attrs.field(default=FORMAT, metadata=kind(Fixed(FORMAT), required=True))
    generation: int = attrs.field(metadata=kind(Whole(GENERATION)))
    store: str | None = attrs.field(default=None, metadata=kind(Optional(Line(pattern=STORE_ID, form="a store's id"))))
    site: str = attrs.field(metadata=kind(NAME))
    server: ServerConfiguration = attrs.field(
        default=ServerConfiguration(), metadata=kind(ObjectOf(ServerConfiguration))
    )

    @property
    def id(self) -> GenerationId:
        """Which generation it is."""
        return GenerationId(self.generation, self.store)


@attrs.frozen(kw_only=True)
class ServerPart(Generation):
    """The part of a generation that the server is given.

    :ivar station_profile: ``client.station.profile``: both daemons judge what the station sends.
    """

    station_profile: Profile = attrs.field(default=Profile.DEFAULT, metadata=kind(Member(Profile)))


@attrs.frozen(kw_only=True)
class Configuration(Generation):
    """A whole generation, as the backend hands it to the client."""

    client: ClientConfiguration = attrs.field(
        default=ClientConfiguration(), metadata=kind(ObjectOf(ClientConfiguration))
    )
    backend: BackendSettings = attrs.field(default=BackendSettings(), metadata=kind(ObjectOf(BackendSettings)))

    @property
    def server_part(self) -> ServerPart:
        """What of it is for the server: it downloads no lists and watches nobody, so what that takes stays inside."""
        cas = tuple(attrs.evolve(ca, lists=(), approve_lists=False) for ca in self.server.cas)
        nothing = PartnerWatching()
        partners = tuple(
            each if each.watching == nothing else attrs.evolve(each, watching=nothing) for each in self.server.partners
        )
        return ServerPart(
            format=self.format,
            generation=self.generation,
            store=self.store,
            site=self.site,
            server=attrs.evolve(self.server, cas=cas, partners=partners),
            station_profile=self.client.station.profile,
        )


_Part = TypeVar("_Part", bound=Generation)
_Given = TypeVar("_Given")


def parse(octets: bytes) -> Configuration:
    """Read a whole document.

    :raises ConfigurationRefused: with the place of the first fault.
    """
    return _whole(octets, unpack)


def parse_value(document: object) -> Configuration:
    """Read a whole document whose JSON is read already, and whose sets of serial numbers are in their places.

    :raises ConfigurationRefused: with the place of the first fault.
    """
    return _whole(document, lambda value: value)


def _whole(given: _Given, unpacking: Callable[[_Given], object]) -> Configuration:
    configuration = _parse(Configuration, given, unpacking)
    pool = configuration.client.pool
    if pool.ready > pool.most:
        raise ConfigurationRefused(
            where="client.pool.ready",
            cause=Cause.DOCUMENT_CONTRADICTION,
            message=f"is {pool.ready}; `most` is only {pool.most}",
        )
    try:
        check_mail(configuration.backend.mail)
        check_listeners(configuration.server.partners, configuration.client.outbound)
    except DocumentRefused as refused:
        raise ConfigurationRefused(
            where=refused.where, cause=refused.cause, message=refused.message, also=refused.also
        ) from None
    return configuration


def parse_server_part(octets: bytes) -> ServerPart:
    """Read the server's part of a document.

    :raises ConfigurationRefused: with the place of the first fault.
    """
    return _parse(ServerPart, octets, unpack)


def dump(configuration: Generation) -> bytes:
    """The document from which :func:`parse` makes an equal :class:`Configuration`.

    Of a :class:`ServerPart`, the document for :func:`parse_server_part`.
    """
    return pack(write_object(configuration))


def _check_server(server: ServerConfiguration) -> None:
    """Refuse what no single value shows: names used twice or not known, and settings that contradict each other."""
    at = "server"
    _check_ports(server.listeners)
    unique(((f"{at}.identities[{i}].name", entry.name) for i, entry in enumerate(server.identities)), "this name")
    unique(((f"{at}.cas[{i}].name", entry.name) for i, entry in enumerate(server.cas)), "this name")
    unique(
        (
            (f"{at}.revocation[{i}].issuer", (entry.issuer_key_sha256, entry.issuer_name, entry.scope))
            for i, entry in enumerate(server.revocation)
        ),
        "this issuer, with this scope,",
    )
    penalties = server.penalties
    if penalties.ban_seconds > penalties.ban_seconds_most:
        raise DocumentRefused(
            where=f"{at}.penalties.ban_seconds",
            cause=Cause.DOCUMENT_CONTRADICTION,
            message=f"is {penalties.ban_seconds}; `ban_seconds_most` is only {penalties.ban_seconds_most}",
        )
    cas = {ca.name for ca in server.cas}
    _check_partners(server.partners, cas)
    check_outbound(server.partners, cas, {identity.name for identity in server.identities})


def _check_ports(listeners: tuple[Listener, ...]) -> None:
    """Refuse listeners that are one port: the second could never be opened. Port 0 is another one each time."""
    found = [
        (f"server.listeners[{i}]", address_of(entry.address), entry) for i, entry in enumerate(listeners) if entry.port
    ]
    unique(
        ((where, (entry.port, address, entry.address.partition("%")[2])) for where, address, entry in found),
        "this address and port",
    )
    for (first, one, before), (where, other, entry) in itertools.combinations(found, 2):
        if entry.port != before.port:
            continue
        for wild, text, address in ((one, before.address, other), (other, entry.address, one)):
            # As they are opened here, :: is every IPv4 address, too.
            if wild.is_unspecified and wild.version in (6, address.version):
                raise DocumentRefused(
                    where=where,
                    cause=Cause.DOCUMENT_NOT_UNIQUE,
                    message=f"is the same port as {first}: `{text}` includes the other address; keep one",
                    also=first,
                )


def _check_partners(partners: tuple[Partner, ...], cas: set[str]) -> None:
    """Each rule has to be usable, and each name, code and rule has to point to one partner.

    A code or a rule may stand in the entries of several partners if only one of them is enabled.
    """
    unique(((f"server.partners[{i}].name", partner.name) for i, partner in enumerate(partners)), "this name")
    for i, partner in enumerate(partners):
        for j, rule in enumerate(partner.certificates):
            where = f"server.partners[{i}].certificates[{j}]"
            if isinstance(rule, CertificatePin | KeyPin):
                continue
            if rule.ca not in cas:
                raise DocumentRefused(
                    where=f"{where}.ca",
                    cause=Cause.DOCUMENT_NAME_UNKNOWN,
                    message="no entry of server.cas has this name",
                )
            if partner.purpose is Purpose.ANY:
                raise DocumentRefused(
                    where=f"server.partners[{i}].purpose",
                    cause=Cause.DOCUMENT_CONTRADICTION,
                    message=f"`any` is for partners with pinned certificates only, and certificates[{j}] is no pin",
                )
    enabled = [(f"server.partners[{i}]", partner) for i, partner in enumerate(partners) if partner.enabled]
    unique(
        (
            (f"{where}.codes[{j}]", normalize_code(code))
            for where, partner in enabled
            for j, code in enumerate(partner.codes)
        ),
        "this code",
    )
    unique(
        (
            (f"{where}.certificates[{j}]", rule)
            for where, partner in enabled
            for j, rule in enumerate(partner.certificates)
        ),
        "this certificate rule",
    )


def _parse(cls: type[_Part], given: _Given, unpacking: Callable[[_Given], object]) -> _Part:
    try:
        part = read_object(cls, unpacking(given))
        _check_server(part.server)
    except DocumentRefused as refused:
        raise ConfigurationRefused(
            where=refused.where, cause=refused.cause, message=refused.message, also=refused.also
        ) from None
    return part
