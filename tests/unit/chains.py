"""Facts about certificates for the tests of policy: a root, an intermediate authority, and leaves below it.

No certificate is made: policy judges facts. SHA-256 values are made of names, and the anchors in the configuration are
PEM blocks that hold nothing but a name.
"""

import datetime
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import values as pem_text
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal, Detail
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts, PathError
from smartproxy.policy.certificates.judge import Match, judge_chain
from smartproxy.policy.certificates.revocation import RevocationSet
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import Partner, RevocationMode, Rule, SubjectRule, TrustedCa
from tests.unit.documents import pem

NOW = datetime.datetime(2026, 11, 20, 10, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
MAIL = "1.3.6.1.5.5.7.3.4"


def sha256(name: str) -> str:
    """The SHA-256 that stands for the certificate of a name."""
    return pem_text.sha256(name.encode())


def key_sha256(name: str) -> str:
    """The SHA-256 that stands for the key of a name."""
    return sha256(f"key of {name}")


def facts(name: str, issuer: str, serial: int, **others: Any) -> CertificateFacts:
    """A good certificate."""
    return attrs.evolve(
        CertificateFacts(
            subject=f"CN={name}",
            issuer=f"CN={issuer}",
            serial=serial,
            not_before=NOW - 10 * DAY,
            not_after=NOW + 10 * DAY,
            sha256=sha256(name),
            key_sha256=key_sha256(name),
            key_type="RSA",
            key_bits=2048,
            signature_hash="sha256",
        ),
        **others,
    )


ROOT = facts("root", "root", 1, is_ca=True, signature_hash="sha1")
MIDDLE = facts("middle", "root", 2, is_ca=True)
LEAF = facts(
    "leaf",
    "middle",
    0xA3,
    key_type="EC",
    key_bits=256,
    subject_serial_number="O0013000001ACME",
    sans=("DNS:oftp.acme.example", "URI:https://acme.example/", "EMAIL:oftp@acme.example"),
    extended_key_usage=frozenset({CLIENT_AUTH, SERVER_AUTH}),
)


def authority(name: str, *anchors: str, revocation: RevocationMode = RevocationMode.OFF, grace: int = 0) -> TrustedCa:
    """An authority of the configuration whose anchors are the certificates of these names."""
    return TrustedCa(
        name=name,
        certificates="".join(pem("CERTIFICATE", anchor.encode()) for anchor in anchors),
        revocation=revocation,
        grace_hours=grace,
    )


BY_SUBJECT = SubjectRule(ca="ca", serial_number="O0013000001ACME")


def partner(*rules: Rule, name: str = "ACME", **others: Any) -> Partner:
    """A partner with these certificate rules."""
    return attrs.evolve(Partner(name=name, codes=("O0013000001ACME",), certificates=rules or (BY_SUBJECT,)), **others)


def revocation(issuer: str, *serials: int, **others: Any) -> RevocationSet:
    """A current revocation set of the authority of a name."""
    return attrs.evolve(
        RevocationSet(
            issuer_key_sha256=key_sha256(issuer),
            this_update=NOW - DAY,
            next_update=NOW + DAY,
            serials=frozenset(serials),
        ),
        **others,
    )


def server(*partners: Partner, **others: Any) -> ServerConfiguration:
    """A configuration with the authority ``ca``, whose anchor is the root, without revocation."""
    return attrs.evolve(
        ServerConfiguration(cas=(authority("ca", "root"),), partners=partners or (partner(),)), **others
    )


def chain(*path: CertificateFacts, errors: tuple[PathError, ...] = ()) -> ChainFacts:
    """A chain whose path OpenSSL found up to its last certificate, which is not presented."""
    path = path or (LEAF, MIDDLE, ROOT)
    return ChainFacts(presented=path[:-1] or path, path=path, path_errors=errors)


def judged(chain: ChainFacts, configuration: ServerConfiguration | None = None) -> Match | CertificateRefusal:
    """What policy says of a chain."""
    try:
        return judge_chain(chain, configuration or server(), NOW)
    except CertificateRefusal as refusal:
        return refusal


class JudgingTestCase(SynchronousTestCase):
    """Tests of what policy says of a chain."""

    def assertMatch(
        self, chain: ChainFacts, configuration: ServerConfiguration, by: str, authority: str | None, name: str = "ACME"
    ) -> None:
        """The chain is good and names the partner *name*."""
        match = judged(chain, configuration)
        assert isinstance(match, Match), match
        self.assertEqual((match.partner.name, match.by, match.ca), (name, by, authority))
        self.assertIs(match.certificate, chain.presented[0])

    def assertRefused(
        self,
        chain: ChainFacts,
        configuration: ServerConfiguration,
        cause: Cause,
        depth: int = 0,
        **detail: Detail,
    ) -> CertificateRefusal:
        """The chain is refused for *cause*, which is about the certificate at *depth*."""
        refused = judged(chain, configuration)
        assert isinstance(refused, CertificateRefusal), refused
        self.assertEqual((refused.cause, refused.depth), (cause, depth), refused)
        if chain.presented:
            about = (chain.path or chain.presented)[depth]
            self.assertEqual((refused.subject, refused.issuer), (about.subject, about.issuer))
            self.assertEqual(refused.detail["serial"], f"{about.serial:x}")
            self.assertEqual(refused.detail["certificate_sha256"], about.sha256)
        for name, value in detail.items():
            self.assertEqual(refused.detail[name], value, name)
        return refused
