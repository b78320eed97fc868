"""Reads a trust list (ETSI TS 119 612): first its signature, then nothing but what is signed.

Duty: judge octets that come from anywhere. They are UTF-8 of a bounded size without a DTD, so that there is no entity
to expand; nothing is fetched while they are read. The signature has to be of a pinned certificate, beside the list's
parts, and over the whole list: what is read is what signxml says was signed, and not what stands in the file, so that a
signed list that is wrapped into another one gains nothing. Trusts no status of a service; whoever asks decides.

Standards: ETSI TS 119 612 (trusted lists), W3C XML Signature 1.1, ETSI EN 319 132 (XAdES).
"""

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs
from cryptography import x509
from lxml import etree  # type: ignore[import-untyped]  # lxml has no types
from signxml import SignatureConfiguration, XMLVerifier  # type: ignore[attr-defined]  # it re-exports without saying so
from signxml.exceptions import SignXMLException

from smartproxy.backend.certificates import certificates_to_pem
from smartproxy.backend.errors import Unusable
from smartproxy.logs.fields import utc_of
from smartproxy.logs.render import escape
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.decoding import Undecodable, certificate_in, decoding

_TSL: Final = "{http://uri.etsi.org/02231/v2#}"
_CA_SERVICES: Final = "/Svctype/CA/"
_GOOD: Final = ("granted", "recognisedatnationallevel", "accredited", "undersupervision", "setbynationallaw")
"""The ends of the statuses of services that are not withdrawn, of this version of the standard and of earlier ones."""


class TrustListRefused(Unusable):
    """A trust list cannot be used.

    :ivar cause: why, as a stable code.
    """

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@attrs.frozen(kw_only=True)
class ListedService:
    """A CA of a trust list.

    :ivar provider: who runs it.
    :ivar name: what it is called.
    :ivar certificate: its certificate.
    :ivar is_good: whether it is not withdrawn.
    :ivar status: the last part of its status.
    :ivar addresses: where it publishes, by http or https.
    """

    provider: str
    name: str
    certificate: x509.Certificate
    is_good: bool
    status: str
    addresses: tuple[str, ...] = ()

    @property
    def pem(self) -> str:
        """Its certificate as PEM."""
        return certificates_to_pem([self.certificate])


@attrs.frozen(kw_only=True)
class ParsedTrustList:
    """What a trust list says.

    :ivar sequence: its number, which rises.
    :ivar next_update: when the next one is due; ``None``: the scheme has ended.
    """

    sequence: int
    issued: datetime
    next_update: datetime | None
    services: tuple[ListedService, ...]


def parse(octets: bytes, signers: Sequence[x509.Certificate], now: datetime) -> ParsedTrustList:
    """Read a list that one of the signers signed.

    :raises TrustListRefused: with the cause.
    """
    found = _signed(_root(octets), signers, now)
    scheme = found.find(f"{_TSL}SchemeInformation")
    if scheme is None:
        raise _malformed("it has no SchemeInformation")
    try:
        sequence = int(_text(scheme, "TSLSequenceNumber")[:18])
        issued = utc_of(_text(scheme, "ListIssueDateTime"))
        due = _text(scheme, "NextUpdate", "dateTime")
        next_update = utc_of(due) if due else None
    except ValueError:
        raise _malformed("its number or its dates cannot be read") from None
    services: list[ListedService] = []
    for provider in found.iterfind(f"{_TSL}TrustServiceProviderList/{_TSL}TrustServiceProvider"):
        services += _services(provider)
        if len(services) > limits.TRUST_LIST_SERVICES_MOST:
            raise TrustListRefused(
                Cause.TRUST_LIST_SIZE, f"it has more than {limits.TRUST_LIST_SERVICES_MOST} CAs; it is not read"
            )
    return ParsedTrustList(sequence=sequence, issued=issued, next_update=next_update, services=tuple(services))


def _root(octets: bytes) -> Any:
    """The document, if reading it can do no harm."""
    if len(octets) > limits.TRUST_LIST_OCTETS_MOST:
        raise TrustListRefused(
            Cause.TRUST_LIST_SIZE, f"it is larger than {limits.TRUST_LIST_OCTETS_MOST // 2**20} MiB; it is not read"
        )
    upper = octets.upper()
    if b"\0" in octets or b"<!DOCTYPE" in upper or b"<!ENTITY" in upper:
        # Before any parser sees it. In other encodings than UTF-8 it would have to be looked for in another way.
        raise TrustListRefused(Cause.TRUST_LIST_XML, "it has a DTD, or is not in UTF-8; it is not read")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False
    )
    try:
        root = etree.fromstring(octets, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise TrustListRefused(Cause.TRUST_LIST_XML, "it is not well-formed XML") from error
    if root.getroottree().docinfo.internalDTD is not None or root.tag != f"{_TSL}TrustServiceStatusList":
        raise TrustListRefused(Cause.TRUST_LIST_XML, "it is no TrustServiceStatusList (ETSI TS 119 612)")
    return root


def _signed(root: Any, signers: Sequence[x509.Certificate], now: datetime) -> Any:
    """What is signed: the whole list."""
    config = SignatureConfiguration(
        # The signature is a child of the list, and not of anything in it.
        location="./",
        expect_references=True,
        ignore_ambiguous_key_info=True,
        verification_time=now,
    )
    results: Any = None
    for signer in signers:
        try:
            with decoding():
                results = XMLVerifier().verify(root, x509_cert=signer, expect_config=config)
            break
        except (SignXMLException, Undecodable, etree.LxmlError, AttributeError):
            continue
    if results is None:
        raise TrustListRefused(
            Cause.TRUST_LIST_SIGNATURE,
            "it is not signed by one of the certificates that are pinned for it, or one of these has ended",
        )
    signed = [each.signed_xml for each in (results if isinstance(results, list) else [results])]
    whole = [each for each in signed if each is not None and each.tag == root.tag and each.get("Id") == root.get("Id")]
    if len(whole) != 1:
        raise TrustListRefused(Cause.TRUST_LIST_SIGNATURE, "its signature is not over the whole list")
    return whole[0]


def _services(provider: Any) -> Iterator[ListedService]:
    """The CAs of a provider."""
    who = _shown(provider.find(f"{_TSL}TSPInformation/{_TSL}TSPName/{_TSL}Name"))
    for service in provider.iterfind(f"{_TSL}TSPServices/{_TSL}TSPService/{_TSL}ServiceInformation"):
        if _CA_SERVICES not in _text(service, "ServiceTypeIdentifier"):
            continue
        status = _text(service, "ServiceStatus").rstrip("/").rpartition("/")[2]
        addresses = [
            (each.text or "").strip()
            for each in service.iterfind(f"{_TSL}ServiceSupplyPoints/{_TSL}ServiceSupplyPoint")
        ]
        for each in service.iterfind(f"{_TSL}ServiceDigitalIdentity/{_TSL}DigitalId/{_TSL}X509Certificate"):
            try:
                der = base64.b64decode("".join((each.text or "").split()), validate=True)
                certificate = certificate_in(der)
            except ValueError:
                # One that cannot be read is proposed to nobody; the others are.
                continue
            yield ListedService(
                provider=who,
                name=_shown(service.find(f"{_TSL}ServiceName/{_TSL}Name")),
                certificate=certificate,
                is_good=status.lower() in _GOOD,
                status=escape(status, 60),
                addresses=tuple(each for each in addresses if each.startswith(("http://", "https://"))),
            )


def _text(element: Any, *names: str) -> str:
    """The text of an element's descendant; empty if there is none."""
    found = element.find("/".join(f"{_TSL}{name}" for name in names))
    return "" if found is None else (found.text or "").strip()


def _shown(element: Any) -> str:
    """A name, fit to be shown."""
    text = "" if element is None else " ".join((element.text or "").split())
    return escape(text, limits.TRUST_LIST_TEXT_MOST)[: limits.TRUST_LIST_TEXT_MOST].strip() or "-"


def _malformed(why: str) -> TrustListRefused:
    return TrustListRefused(Cause.TRUST_LIST_XML, f"{why}; it is no trust list that can be used")


def is_over(found: ParsedTrustList, now: datetime) -> bool:
    """Whether the next list is overdue, or there will be none."""
    return found.next_update is None or found.next_update <= now.astimezone(UTC)
