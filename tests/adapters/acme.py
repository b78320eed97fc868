"""A partner ACME, its certificates, and configurations with it: for tests of certificates."""

import datetime
from collections.abc import Iterable
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from smartproxy.policy.certificates.revocation import RevocationSet
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import Partner, RevocationMode, Rule, SubjectRule
from smartproxy.policy.partners import TrustedCa as AuthorityEntry
from smartproxy.policy.settings import PenaltySettings
from smartproxy.testing.pki import TestCa, TestCredential, self_signed

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

ROOT = TestCa.root("partners' root")
MIDDLE = ROOT.intermediate("partners' intermediate")
ODETTE_ID = "O0013000001ACME"
LEAF = MIDDLE.issue("oftp.acme.example", serial_number=ODETTE_ID, sans=("DNS:oftp.acme.example",))
ALONE = self_signed("acme, self-signed", serial_number=ODETTE_ID)

BY_SUBJECT = SubjectRule(ca="ca", serial_number=ODETTE_ID)


def acme(*rules: Rule, **others: Any) -> Partner:
    """The partner's entry."""
    return attrs.evolve(Partner(name="ACME", codes=(ODETTE_ID,), certificates=rules or (BY_SUBJECT,)), **others)


def revoked(issuer: TestCa, *credentials: TestCredential, **others: Any) -> RevocationSet:
    """A current revocation set of an authority."""
    return attrs.evolve(
        RevocationSet(
            issuer_key_sha256=issuer.credential.key_sha256,
            this_update=NOW - HOUR,
            next_update=NOW + DAY,
            serials=frozenset(credential.certificate.serial_number for credential in credentials),
        ),
        **others,
    )


def configuration(
    *partners: Partner, mode: RevocationMode = RevocationMode.OFF, lists: Iterable[RevocationSet] = ()
) -> ServerConfiguration:
    """A configuration with the root as its authority."""
    entry = AuthorityEntry(name="ca", certificates=ROOT.certificate_pem.decode(), revocation=mode)
    return ServerConfiguration(
        cas=(entry,),
        revocation=tuple(lists),
        partners=partners or (acme(),),
        penalties=PenaltySettings(threshold=100),
    )


def with_issuing(server: ServerConfiguration, issuing: TestCa = MIDDLE) -> ServerConfiguration:
    """The same configuration, with an issuing CA as a CA of its own beside its root."""
    entry = AuthorityEntry(name="other", certificates=issuing.certificate_pem.decode(), revocation=RevocationMode.OFF)
    return attrs.evolve(server, cas=(*server.cas, entry))


def tampered(credential: TestCredential) -> TestCredential:
    """The same certificate with the last octet of its signature changed."""
    der = credential.certificate.public_bytes(serialization.Encoding.DER)
    return attrs.evolve(credential, certificate=x509.load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1])))


def limited(ca: TestCa, length: int | None, constraints: x509.NameConstraints | None = None) -> x509.Certificate:
    """Another certificate of a CA, with limits on what may stand below it."""
    old = ca.credential
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.certificate.subject)
        .issuer_name(old.certificate.subject)
        .public_key(old.key.public_key())
        .serial_number(7)
        .not_valid_before(old.certificate.not_valid_before_utc)
        .not_valid_after(old.certificate.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(old.key, hashes.SHA256())
