"""What one revocation list says, and what is refused in it (:mod:`smartproxy.backend.list_contents`)."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.errors import Unusable
from smartproxy.backend.list_contents import ParsedList, parse
from smartproxy.policy import limits
from smartproxy.testing.pki import TestCa
from tests.unit.odd_lists import (
    AUTHORITY,
    FRESHEST,
    ISSUER_ALT_NAME,
    NUMBER,
    POINT,
    X400,
    common_name,
    crl,
    extension,
    point,
    uri,
)
from tests.unit.odder_files import tlv

CA = TestCa.root("Odette")


class Contents(SynchronousTestCase):
    """Lists of one CA."""

    def read(self, octets: bytes) -> ParsedList:
        """Read the list."""
        (found,) = parse(octets, "ca.crl")
        return found

    def refused(self, octets: bytes) -> str:
        """Why it is refused: in words of ours, which are no longer than a name may make them."""
        told = str(self.assertRaises(Unusable, self.read, octets))
        for theirs in ("ParseError", "asn1", "ObjectIdentifier", "Duplicate", "out of range", "Cannot create"):
            self.assertNotIn(theirs, told)
        self.assertLess(len(told), 1000)
        return told

    def test_read(self) -> None:
        """A list is read with its issuer, number, scope and signature."""
        found = self.read(crl(CA, extension(NUMBER, b"\x02\x01\x07"), point(uri("http://crl.example/1"))))
        self.assertEqual((found.number, found.scope.points), (7, ("URI:http://crl.example/1",)))
        self.assertTrue(found.signed_by(CA.credential.certificate))
        self.assertFalse(found.signed_by(TestCa.root("Odette").credential.certificate))

    def test_names_of_no_concern(self) -> None:
        """A name of a kind that is not read keeps no list from being used where it says nothing about its scope."""
        names = tlv(0x30, X400)
        for number, value in (
            (ISSUER_ALT_NAME, names),
            (AUTHORITY, tlv(0x30, tlv(0xA1, X400), tlv(0x82, b"\x01"))),
            (FRESHEST, tlv(0x30, tlv(0x30, tlv(0xA0, tlv(0xA0, X400))))),
        ):
            self.assertEqual(self.read(crl(CA, extension(number, value))).scope.points, ())
            self.assertIn(
                f"2.5.29.{number}) of the revocation", self.refused(crl(CA, extension(number, value, critical=True)))
            )

    def test_unreadable_extensions(self) -> None:
        """An extension that says what a list covers, or its number, has to be readable, and is there once."""
        named = "the extension issuingDistributionPoint (2.5.29.28) of the revocation list of CN=Odette"
        for value in (tlv(0x30), b"\x05\x00", b"", tlv(0x30, tlv(0xA0, tlv(0xA0, X400)))):
            for critical in (True, False):
                told = self.refused(crl(CA, extension(POINT, value, critical=critical)))
                self.assertTrue(told.startswith(named), told)
        self.assertIn("cRLNumber (2.5.29.20)", self.refused(crl(CA, extension(NUMBER, b"\x05\x00"))))
        twice = extension(NUMBER, b"\x02\x01\x07")
        self.assertIn("has the extension cRLNumber (2.5.29.20) twice", self.refused(crl(CA, twice, twice)))
        many = [extension(number, b"") for number in range(50, 115)]
        self.assertIn("more than 64 extensions", self.refused(crl(CA, *many)))

    def test_bounds(self) -> None:
        """The issuer's name, the number and the names of the distribution point are bounded."""
        most = limits.ISSUER_NAME_CHARACTERS_MOST
        self.assertIn(
            "more than 2048 characters", self.refused(crl(CA, issuer=common_name(*[b"x" * 60] * (most // 60))))
        )
        self.assertIn("or blanks around it", self.refused(crl(CA, issuer=common_name(b"x "))))
        self.assertIn("does not name its issuer", self.refused(crl(CA, issuer=tlv(0x30))))
        self.assertIn("cRLNumber (2.5.29.20)", self.refused(crl(CA, extension(NUMBER, tlv(0x02, b"\xff")))))
        for number in (b"\x01" * 21, b"\x01" * 2000):
            self.assertIn(
                "a number of more than 20 octets", self.refused(crl(CA, extension(NUMBER, tlv(0x02, number))))
            )
        self.assertEqual(self.read(crl(CA, extension(NUMBER, tlv(0x02, b"\x7f" * 20)))).number, int("7f" * 20, 16))
        self.assertIn("with blanks around", self.refused(crl(CA, point(uri("http://crl.example/ ")))))
        long = self.refused(crl(CA, point(uri("http://crl.example/" + "x" * 1100))))
        self.assertIn("more than 1024 characters", long)

    def test_long_names(self) -> None:
        """Long names are cut in messages."""
        octets = crl(CA, point(uri("http://crl.example/" + "x" * 900)), issuer=common_name(*[b"y" * 60] * 15))
        self.assertLess(len(self.read(octets).what), 500)

    def test_other_kinds_of_points(self) -> None:
        """Names of rare kinds are shown by their numbers."""
        other = tlv(0xA0, b"\x06\x03\x2a\x03\x04", tlv(0xA0, tlv(0x0C, b"x")))
        found = self.read(crl(CA, point(tlv(0x88, b"\x2a\x03\x04"), other)))
        self.assertEqual(found.scope.points, ("OtherName:1.2.3.4=0c0178", "RegisteredID:1.2.3.4"))

    def test_dates(self) -> None:
        """A date that cannot be read is told as such."""
        self.assertIn("holds no readable revocation list", self.refused(crl(CA, made=b"00000101000000Z")))

    def test_weak_signatures(self) -> None:
        """A list that is signed with SHA-1 is refused for that, and one that is signed in a way that is not known."""
        self.assertIn("is signed with SHA-1, which is not accepted", self.refused(crl(CA, digest="SHA-1")))
        self.assertIn("not known (1.2.840.10045.4.3.119)", self.refused(crl(CA, digest="unknown")))
