"""Tests of :mod:`smartproxy.policy.identity`: a partner speaks for itself only, in the way its entry has it."""

import hashlib

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.faults import (
    AuthenticationRefused,
    FileCodeRefused,
    IdentityMismatch,
    LevelTooLow,
    PolicyRefusal,
    UnknownIdentity,
)
from smartproxy.policy.identity import VerifiedPartner, judge_code, judge_file, judge_ssid
from smartproxy.policy.licence import is_proxy_id, proxy_id
from smartproxy.policy.partners import Authentication, CertificatePin, NotACode, Partner, normalize_code
from tests.unit.chains import LEAF
from tests.unit.samples import sfid

ACME = Partner(
    name="ACME", codes=("O0013000001ACME", "O0013000001ACME     EU1"), certificates=(CertificatePin(sha256="01" * 32),)
)
FOO = Partner(name="FOO", codes=("O0013000001FOO", "FOO-2"), certificates=(CertificatePin(sha256="02" * 32),))
PARTNERS = (ACME, FOO)


def verified(partner: Partner) -> VerifiedPartner:
    """A partner that has proved who it is."""
    return VerifiedPartner(
        partner=partner, certificate=LEAF, by="certificate", ca=None, chain=ChainFacts(presented=(LEAF,))
    )


def ssid(code: str = "O0013000001ACME", lev: int = 5, auth: str | None = "N") -> SSID:
    """An SSID."""
    return SSID(lev=lev, code=code, pswd="", sdeb=4096, sr="B", cmpr="Y", rest="Y", spec="N", cred=64, auth=auth)


class CodeTests(SynchronousTestCase):
    """An SSIDCODE is one of the partner's, octet for octet."""

    def test_only_the_diagonal(self) -> None:
        """Each partner may use its codes and nobody else's, whichever of them it chose."""
        for partner in PARTNERS:
            for other in PARTNERS:
                for code in other.codes:
                    if partner is other:
                        judge_ssid(verified(partner), ssid(code), PARTNERS)
                    else:
                        refusal = self.assertRaises(
                            IdentityMismatch, judge_ssid, verified(partner), ssid(code), PARTNERS
                        )
                        self.assertEqual(refusal.reason, EsidReason.USER_CODE_NOT_KNOWN)
                        self.assertEqual(refusal.rule, "identity.code")
                        self.assertEqual(
                            refusal.message,
                            f"SSIDCODE assigned to partner '{other.name}', but the certificate belongs to"
                            f" '{partner.name}'",
                        )

    def test_variants(self) -> None:
        """Other case, other padding, a NUL, a part or more are another code; blanks at the end are nothing."""
        judge_code(ACME, "O0013000001ACME".ljust(25), PARTNERS)
        for code in (
            "o0013000001acme",
            "O0013000001ACME\0",
            "O0013000001ACME" + "\0" * 10,
            " O0013000001ACME",
            "O0013000001ACM",
            "O0013000001ACME1",
            "O0013000001 ACME",
            "O0013000001ACME\t",
            "O0013000001ACME\n",
            "O0013000001ACM\u0395",
            "O0013000001ACME" + " " * 10 + "x",
            "",
            " " * 25,
            "?",
            "\xff",
        ):
            refusal = self.assertRaises(UnknownIdentity, judge_code, ACME, code, PARTNERS)
            self.assertEqual(refusal.reason, EsidReason.USER_CODE_NOT_KNOWN)
            self.assertEqual(refusal.message, "SSIDCODE not assigned to partner 'ACME' or to any other partner")

    def test_without_the_others(self) -> None:
        """Without knowing the other partners a wrong code is refused all the same."""
        self.assertRaises(UnknownIdentity, judge_code, ACME, "FOO-2")

    def test_peers_text_is_not_repeated(self) -> None:
        """What a peer sent does not stand in a refusal."""
        for partner in PARTNERS:
            refusal = self.assertRaises(PolicyRefusal, judge_code, partner, "canary", PARTNERS)
            self.assertNotIn("canary", str(refusal))

    def test_normal_form(self) -> None:
        """The normal form of a code is 25 octets, padded with blanks."""
        self.assertEqual(normalize_code("FOO-2"), b"FOO-2" + b" " * 20)
        self.assertEqual(normalize_code("x" * 25 + "   "), b"x" * 25)
        for code in ("", "   ", "x" * 26, "é", "a\0", "a\x7f"):
            self.assertRaises(NotACode, normalize_code, code)

    @given(st.text(st.characters(max_codepoint=0x1FF), max_size=30), st.text(st.characters(max_codepoint=0x1FF)))
    def test_equal_forms_are_equal_codes(self, one: str, other: str) -> None:
        """Two codes have one normal form only if they differ in blanks at the end."""
        try:
            forms = normalize_code(one), normalize_code(other)
        except NotACode:
            return
        self.assertEqual(forms[0] == forms[1], one.rstrip(" ") == other.rstrip(" "))
        self.assertEqual([len(form) for form in forms], [25, 25])


class FileTests(SynchronousTestCase):
    """From whom and to whom a partner may send files."""

    def test_everything_is_allowed_unless_the_entry_says_otherwise(self) -> None:
        """A clearing centre sends files of others, to others (RFC 5024 section 4.3.6)."""
        judge_file(ACME, sfid(orig="O0099SOMEBODY", dest="O0099ELSE"))

    def test_allow_lists(self) -> None:
        """With a list, SFIDORIG or SFIDDEST has to stand in it, octet for octet; ``*`` allows all."""
        codes = ("O0013000001ACME", "O0013OTHER   ")
        for allowed in (codes, (*codes, "*")):
            originators = attrs.evolve(ACME, originators=allowed)
            destinations = attrs.evolve(ACME, destinations=allowed)
            for code in ("O0013000001ACME", "O0013OTHER", "O0013000001ACM", "O0013000001ACME1", "O0099"):
                for entry, file, rule in (
                    (originators, sfid(orig=code), "identity.originator"),
                    (destinations, sfid(dest=code), "identity.destination"),
                ):
                    if code in ("O0013000001ACME", "O0013OTHER") or "*" in allowed:
                        judge_file(entry, file)
                        continue
                    refusal = self.assertRaises(FileCodeRefused, judge_file, entry, file)
                    self.assertEqual((refusal.rule, refusal.reason), (rule, 6))
                    self.assertNotIn(code, refusal.message.replace("'ACME'", ""))


class SsidTests(SynchronousTestCase):
    """Release level and secure authentication are as the partner's entry has them."""

    def test_level(self) -> None:
        """A release level below the partner's lowest is refused; its own and higher ones are not."""
        for lowest in Level:
            partner = attrs.evolve(ACME, lowest_level=lowest)
            for offered in Level:
                if offered >= lowest:
                    judge_ssid(verified(partner), ssid(lev=offered), PARTNERS)
                else:
                    refusal = self.assertRaises(LevelTooLow, judge_ssid, verified(partner), ssid(lev=offered), PARTNERS)
                    self.assertEqual(refusal.reason, EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE)
                    self.assertEqual(
                        refusal.message,
                        f"release level {offered.label} offered by the partner; the lowest allowed for partner 'ACME'"
                        f" is {lowest.label}",
                    )

    def test_authentication(self) -> None:
        """Secure authentication is required, refused or left to the partner; levels below 5 have none."""
        for wanted, said, good in (
            (Authentication.EITHER, "Y", True),
            (Authentication.EITHER, "N", True),
            (Authentication.EITHER, None, True),
            (Authentication.REQUIRED, "Y", True),
            (Authentication.REQUIRED, "N", False),
            (Authentication.REQUIRED, " ", False),
            (Authentication.REQUIRED, None, False),
            (Authentication.REFUSED, "Y", False),
            (Authentication.REFUSED, "N", True),
            (Authentication.REFUSED, None, True),
        ):
            proved = verified(attrs.evolve(ACME, authentication=wanted))
            if good:
                judge_ssid(proved, ssid(auth=said), PARTNERS)
            else:
                refusal = self.assertRaises(AuthenticationRefused, judge_ssid, proved, ssid(auth=said), PARTNERS)
                self.assertEqual(refusal.reason, EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE)
                self.assertEqual(refusal.rule, "identity.authentication")

    def test_code_first(self) -> None:
        """Whose code it is comes first: a stranger learns nothing about levels."""
        self.assertRaises(IdentityMismatch, judge_ssid, verified(ACME), ssid("FOO-2", lev=1), PARTNERS)


class ProxyIdTests(SynchronousTestCase):
    """A Proxy ID names a server by its public key."""

    def test_form(self) -> None:
        """It is the SHA-256 of the key and ``px``: 66 characters."""
        made = proxy_id(b"public key")
        self.assertEqual(made, hashlib.sha256(b"public key").hexdigest() + "px")
        self.assertEqual(len(made), 66)
        self.assertTrue(is_proxy_id(made))

    def test_other_forms(self) -> None:
        """Nothing else is one."""
        good = "0a" * 32 + "px"
        for text in ("", good[:-1], good.upper(), good + "\n", " " + good, good.replace("0", "g", 1)):
            self.assertFalse(is_proxy_id(text), text)
