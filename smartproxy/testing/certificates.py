"""A folder of certificates to try SmartProxy with: a site, partners of every kind, their CA and its revocation list.

Duty: make them anew and write them as PEM files. Keys are made for trying only: mode 0600, without a password. Never
overwrites a file: a folder that holds anything is refused.
"""

from collections.abc import Iterator
from pathlib import Path

from smartproxy.testing.pki import TestCa, TestCredential, self_signed

SITE_CODE = "O0013000001MUSTER"
PARTNER_CODE = "O0013000001ACME"


class FolderNotEmpty(Exception):
    """The folder is not empty; certificates are written into a new or an empty folder only. The message says so."""


def write_certificates(folder: Path) -> Iterator[tuple[str, str]]:
    """Make certificates and write them; yields each file's name and what it is for.

    ``NAME.crt`` is a chain, leaf first, and ``NAME.key`` its private key.

    :raises FolderNotEmpty: if the folder holds anything.
    :raises OSError: if it cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FolderNotEmpty(f"{folder} is not empty: name a new folder, or empty this one")
    site_ca, partner_ca = TestCa.root("Trial site CA"), TestCa.root("Trial partner CA")
    revoked = partner_ca.issue("revoked.acme.example", serial_number=PARTNER_CODE)
    (folder / "site-ca.crt").write_bytes(site_ca.certificate_pem)
    yield "site-ca.crt", "the CA that partners check your server by"
    site = site_ca.issue("oftp.muster.example", serial_number=SITE_CODE, sans=["DNS:oftp.muster.example"])
    yield from _written(folder, "site", site, "what your server shows to partners: smartproxy identity import")
    (folder / "partner-ca.crt").write_bytes(partner_ca.certificate_pem)
    yield "partner-ca.crt", "the partners' CA: smartproxy ca add"
    (folder / "partner-ca.crl").write_bytes(partner_ca.crl([revoked]))
    yield "partner-ca.crl", "its revocation list, which revokes revoked.crt: smartproxy crl load"
    partner = partner_ca.issue("oftp.acme.example", serial_number=PARTNER_CODE, sans=["DNS:oftp.acme.example"])
    yield from _written(folder, "partner", partner, f"a good partner, {PARTNER_CODE}: smartproxy partner add")
    yield from _written(folder, "revoked", revoked, "a partner whose certificate is revoked")
    expired = partner_ca.issue_expired("expired.acme.example", serial_number=PARTNER_CODE)
    yield from _written(folder, "expired", expired, "a partner whose certificate expired yesterday")
    yield from _written(
        folder, "stranger", self_signed("stranger.example"), "a certificate that no CA issued: self-signed, not pinned"
    )


def _written(folder: Path, name: str, credential: TestCredential, meaning: str) -> Iterator[tuple[str, str]]:
    files = credential.write(folder, name)
    yield files.certificate.name, meaning
    yield files.key.name, f"the private key of {files.certificate.name}"
