"""Trust lists (ETSI TS 119 612), made and signed here: good ones, and hostile ones."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lxml import etree  # type: ignore[import-untyped]  # lxml has no types
from signxml import SignatureMethod, XMLSigner  # type: ignore[attr-defined]  # it re-exports without saying so

from smartproxy.testing.pki import TestCa, TestCredential
from tests.unit.odd_files import der_of

NOW = datetime.now(UTC).replace(microsecond=0)
"""When the lists are made: their signers' certificates are made now, too."""
SPACE = "http://uri.etsi.org/02231/v2#"
GRANTED = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/granted"
WITHDRAWN = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/withdrawn"
ISSUES = "http://uri.etsi.org/TrstSvc/Svctype/CA/PKC"


def stamp(moment: datetime) -> str:
    """A time as lists have it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def service(ca: TestCa, status: str = GRANTED, address: str = "", kind: str = ISSUES) -> str:
    """One service of a list."""
    point = f"<ServiceSupplyPoints><ServiceSupplyPoint>{address}</ServiceSupplyPoint></ServiceSupplyPoints>"
    return (
        f"<TSPService><ServiceInformation><ServiceTypeIdentifier>{kind}</ServiceTypeIdentifier>"
        f'<ServiceName><Name xml:lang="en">Issuing of {ca.credential.certificate.subject.rfc4514_string()}</Name>'
        "</ServiceName><ServiceDigitalIdentity><DigitalId><X509Certificate>"
        f"{base64.b64encode(der_of(ca.credential.certificate)).decode()}"
        f"</X509Certificate></DigitalId></ServiceDigitalIdentity><ServiceStatus>{status}</ServiceStatus>"
        f"{point if address else ''}</ServiceInformation></TSPService>"
    )


def unsigned(
    services: Sequence[str], sequence: int = 1, due: timedelta | None = timedelta(days=30), head: str = ""
) -> bytes:
    """A list that nobody signed.

    :param due: when the next one is due, from now; ``None``: never, the scheme has ended.
    :param head: what stands in front of it.
    """
    next_update = f"<dateTime>{stamp(NOW + due)}</dateTime>" if due is not None else ""
    return (
        f'{head}<TrustServiceStatusList xmlns="{SPACE}" Id="list"><SchemeInformation>'
        f"<TSLSequenceNumber>{sequence}</TSLSequenceNumber><ListIssueDateTime>{stamp(NOW)}</ListIssueDateTime>"
        f"<NextUpdate>{next_update}</NextUpdate></SchemeInformation><TrustServiceProviderList><TrustServiceProvider>"
        '<TSPInformation><TSPName><Name xml:lang="en">Odette</Name></TSPName></TSPInformation>'
        f"<TSPServices>{''.join(services)}</TSPServices></TrustServiceProvider></TrustServiceProviderList>"
        "</TrustServiceStatusList>"
    ).encode()


def signed(octets: bytes, signer: TestCredential, uri: str | None = None) -> bytes:
    """The list with an enveloped signature."""
    root = etree.fromstring(octets)
    made: Any = XMLSigner(signature_algorithm=SignatureMethod.ECDSA_SHA256).sign(
        root, key=signer.key_pem, cert=signer.certificate_pem.decode(), reference_uri=uri
    )
    found: bytes = etree.tostring(made)
    return found
