"""The partners of the demonstration: what each one shows, and how the site recognizes it."""

import attrs

from smartproxy.testing.pki import CredentialFiles, TestCa, self_signed
from smartproxy.testing.site import Site

CA_NAME = "trust-center"


@attrs.frozen(kw_only=True)
class DemoPartner:
    """One partner.

    :ivar name: the partner's name at the site.
    :ivar code: its SSIDCODE.
    :ivar files: its certificate and key.
    :ivar tls: the TLS version that it uses.
    """

    name: str
    code: str
    files: CredentialFiles
    tls: str


@attrs.frozen(kw_only=True)
class Partners:
    """All partners, and the certificates that attackers show.

    :ivar acme: its certificate is self-signed and pinned; TLS 1.3.
    :ivar bolt: recognized by its CA and the serialNumber in the subject, with a revocation list; secure
        authentication required; TLS 1.2.
    :ivar unknown: a certificate like bolt's, of a CA that the site does not know.
    :ivar expired: a certificate of bolt's that has expired.
    :ivar revoked: a certificate of bolt's that was stolen and revoked.
    """

    acme: DemoPartner
    bolt: DemoPartner
    unknown: CredentialFiles
    expired: CredentialFiles
    revoked: CredentialFiles


async def introduce(site: Site) -> Partners:
    """Make the partners' certificates, and add the partners with the operator's commands."""
    folder = site.certificates
    trusted, unknown = TestCa.root("Demo Trust Center"), TestCa.root("Unheard-of CA")
    acme = DemoPartner(
        name="ACME",
        code="O0013000001ACME",
        files=self_signed("oftp.acme.example").write(folder, "acme"),
        tls="1.3",
    )
    serial = "O0013000002BOLT"
    bolt = DemoPartner(
        name="BOLT",
        code=serial,
        files=trusted.issue("oftp.bolt.example", serial_number=serial).write(folder, "bolt"),
        tls="1.2",
    )
    stolen = trusted.issue("oftp.bolt.example", serial_number=serial)
    ca, crl = folder / "trust-center.crt", folder / "trust-center.crl"
    ca.write_bytes(trusted.certificate_pem)
    crl.write_bytes(trusted.crl([stolen]))
    await site.smartproxy("ca", "add", CA_NAME, str(ca), "--revocation", "require")
    await site.smartproxy("crl", "load", str(crl))
    await site.smartproxy(
        "partner", "add", acme.name, "--code", acme.code, "--certificate", str(acme.files.certificate)
    )
    await site.smartproxy(
        *("partner", "add", bolt.name, "--code", bolt.code),
        *("--ca", CA_NAME, "--subject-serial", serial, "--authentication", "required"),
    )
    return Partners(
        acme=acme,
        bolt=bolt,
        unknown=unknown.issue("oftp.bolt.example", serial_number=serial).write(folder, "unknown-ca"),
        expired=trusted.issue_expired("oftp.bolt.example", serial_number=serial).write(folder, "expired"),
        revoked=stolen.write(folder, "revoked"),
    )
