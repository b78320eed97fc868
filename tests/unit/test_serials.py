"""Sets of serial numbers: as octets, beside a document, and in a list's DER."""

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import list_entries, revocation
from smartproxy.policy import limits
from smartproxy.policy.certificates.serials import SerialSet
from smartproxy.policy.configuration import Configuration, ConfigurationRefused, dump, parse, parse_value
from smartproxy.policy.packing import apart, as_text, filled, pack, unpack
from smartproxy.testing.pki import TestCa
from tests.unit.documents import full
from tests.unit.sites import NOW

NUMBERS = st.sets(st.integers(min_value=0, max_value=2**160 - 1))


class Sets(SynchronousTestCase):
    """What a set holds."""

    @given(NUMBERS, NUMBERS)
    def test_members(self, numbers: set[int], others: set[int]) -> None:
        """It holds its numbers and no other, in rising order, whatever their size."""
        found = SerialSet.of(numbers)
        self.assertEqual({each for each in numbers | others if each in found}, numbers)
        self.assertEqual(list(found), sorted(numbers))
        self.assertEqual((len(found), found.is_ordered), (len(numbers), True))
        self.assertEqual(found, numbers)
        self.assertEqual(found == SerialSet.of(others), numbers == others)
        self.assertEqual(
            found, SerialSet.of_octets([each.to_bytes(20, "big").lstrip(b"\0") or b"\0" for each in numbers])
        )

    def test_others(self) -> None:
        """What is no number of a certificate is in no set; neither is one that is longer than all of its."""
        found = SerialSet.of([7, 300])
        for other in (-7, 2**16 + 7, 2**400, "7", None, 7.5):
            self.assertNotIn(other, found)
        self.assertNotIn(0, SerialSet())
        self.assertIs(SerialSet.of(found), found)
        self.assertEqual((repr(found), hash(found)), ("<2 serial numbers>", hash(SerialSet.of({300, 7}))))

    def test_twice(self) -> None:
        """A number that a list names twice is in its set once."""
        self.assertEqual(list(SerialSet.of_octets([b"\x07", b"\x01\x00", b"\x07"])), [7, 256])

    def test_order(self) -> None:
        """Octets that are not in order, or that are cut, are no set."""
        for octets, width in ((b"\2\1", 1), (b"\1\1", 1), (b"\1\2\3", 2)):
            self.assertFalse(SerialSet(octets, width).is_ordered)


class Packing(SynchronousTestCase):
    """Sets beside their document."""

    def setUp(self) -> None:
        """A configuration with two long sets, of different widths, and a short one."""
        self.patch(limits, "SERIALS_IN_TEXT_MOST", 2)
        document = full()
        first, second = document["server"]["revocation"]
        first["serials"] = [f"{each:x}" for each in (1, 2**160 - 1, 77)]
        second["serials"] = ["1", "2"]
        third = {**second, "issuer": "ef" * 32, "serials": ["300", "2", "1"]}
        document["server"]["revocation"].append(third)
        self.configuration: Configuration = parse(json.dumps(document).encode())
        self.octets = dump(self.configuration)

    def refused(self, octets: bytes) -> str:
        """Why a document is refused."""
        return str(self.assertRaises(ConfigurationRefused, parse, octets))

    def test_there_and_back(self) -> None:
        """What was written is read as an equal configuration, whose JSON names the long sets only."""
        self.assertEqual(parse(self.octets), self.configuration)
        text, sets = apart(self.octets)
        named = [each["serials"] for each in json.loads(text)["server"]["revocation"]]
        self.assertEqual(named, [{"width": 20, "count": 3}, ["1", "2"], {"width": 2, "count": 3}])
        self.assertEqual(len(sets), 1 + 3 * 20 + 3 * 2)
        self.assertEqual(sets[-6:], b"\0\1\0\2\3\0")

    def test_as_text(self) -> None:
        """In a file of text the sets stand as base64, and are read from there."""
        text = json.dumps(unpack(self.octets), default=as_text)
        self.assertEqual(json.loads(text)["server"]["revocation"][2]["serials"], {"width": 2, "base64": "AAEAAgMA"})
        self.assertEqual(parse_value(filled(json.loads(text))), self.configuration)

    def test_without_sets(self) -> None:
        """A document without long sets is JSON, and nothing else."""
        server = attrs.evolve(self.configuration.server, revocation=())
        octets = dump(attrs.evolve(self.configuration, server=server))
        self.assertEqual(apart(octets), (octets, b""))
        self.assertEqual(json.loads(octets)["server"]["revocation"], [])

    def test_cut(self) -> None:
        """Octets that are missing are refused, and so are those that are too many."""
        where = "server.revocation[2].serials: names more serial numbers than follow"
        self.assertIn(where, self.refused(self.octets[:-1]))
        self.assertIn("names more", self.refused(apart(self.octets)[0]))
        self.assertIn("octets that it does not name", self.refused(self.octets + b"\1"))
        self.patch(limits, "SERIALS_OCTETS_MOST", 65)
        self.assertIn("66 octets of serial numbers", self.refused(self.octets))

    def test_wrong_names(self) -> None:
        """What names a set in another way is refused at its place."""
        document: dict[str, Any] = json.loads(apart(self.octets)[0])
        entry = document["server"]["revocation"][0]
        document["server"]["revocation"] = [entry]
        for named, words in (
            ({"width": 21, "count": 3}, "a width of 1 to 20"),
            ({"width": 0, "count": 3}, "a width of 1 to 20"),
            ({"width": True, "count": 3}, "a width of 1 to 20"),
            ({"width": 20, "count": -1}, "a width of 1 to 20"),
            ({"width": 1, "count": limits.SERIALS_PER_ISSUER_MOST + 1}, "at most 2000000"),
            ({"width": 20, "count": 3, "more": 1}, "is an object"),
            ({"width": 20}, "is an object"),
            ({"width": "20", "count": 3}, "is an object"),
            ({"width": 2, "base64": "AAE!"}, "is not base64"),
            ({"width": 2, "base64": "AAEAAg\xff"}, "is not base64"),
            ({"width": 2, "base64": "AAEAAgA="}, "is not in rising order"),
            ({"width": 2, "base64": "AAIAAQ=="}, "is not in rising order"),
            ({"width": 0, "base64": "AAIAAQ=="}, "a width of 1 to 20"),
        ):
            entry["serials"] = named
            refusal = self.refused(json.dumps(document).encode())
            self.assertIn("server.revocation[0].serials: ", refusal)
            self.assertIn(words, refusal)
        others: list[object] = [{"server": {"revocation": [1]}}, {"server": {"revocation": 1}}, {"server": 1}, []]
        for wrong in others:
            self.assertEqual(unpack(json.dumps(wrong).encode()), wrong)

    def test_what_cannot_be_packed(self) -> None:
        """Whatever else has no form in JSON is a bug, in both forms."""
        self.assertRaises(TypeError, pack, {"x": object()})
        self.assertRaises(TypeError, as_text, object())


class Entries(SynchronousTestCase):
    """The entries of a list."""

    def serials(self, *entries: tuple[int, x509.ReasonFlags | None]) -> SerialSet:
        """What a list with these entries revokes."""
        date = x509.InvalidityDate(NOW.replace(tzinfo=None))
        return self.of_entries(
            (number, [] if reason is None else [x509.CRLReason(reason), date]) for number, reason in entries
        )

    def of_entries(
        self, entries: Iterable[tuple[int, Sequence[x509.ExtensionType]]], *, critical: bool = False
    ) -> SerialSet:
        """What a list of entries with these extensions revokes."""
        ca = TestCa.root("Odette").credential
        builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
        builder = builder.last_update(NOW).next_update(NOW + timedelta(days=1))
        for number, extensions in entries:
            entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(NOW)
            for each in extensions:
                entry = entry.add_extension(each, critical=critical)
            builder = builder.add_revoked_certificate(entry.build())
        return list_entries.serials(builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER))

    def test_read(self) -> None:
        """Every entry's number is read, short ones and long ones, with reasons and without; an empty list has none."""
        numbers = {1, 127, 128, 2**64, 2**159 - 1, 0x04030A0108, 0x0603551D1504030A0108}
        reason = x509.ReasonFlags.key_compromise
        self.assertEqual(self.serials(*((each, reason if each % 2 else None) for each in numbers)), numbers)
        self.assertEqual(self.serials(), set())

    def test_removed(self) -> None:
        """An entry that takes a revocation back revokes: only a delta list may say that."""
        removed, held = x509.ReasonFlags.remove_from_crl, x509.ReasonFlags.certificate_hold
        self.assertEqual(self.serials((5, removed), (6, held), (7, None)), {5, 6, 7})

    def test_critical(self) -> None:
        """An entry's critical extension refuses the list, which names it; a reason may be critical, others may not."""
        other = x509.CertificateIssuer([x509.DirectoryName(x509.Name.from_rfc4514_string("CN=Other"))])
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        for extension, told in ((other, "certificateIssuer, 2.5.29.29"), (unknown, "1.2.3.4")):
            refused = self.assertRaises(
                list_entries.UnknownDemand, self.of_entries, [(4, []), (5, [extension]), (6, [])], critical=True
            )
            self.assertEqual(str(refused), told)
            self.assertEqual(self.of_entries([(5, [extension])]), {5})
        # The octets of what is critical may stand in a serial number.
        reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
        self.assertEqual(self.of_entries([(0x0101FF, []), (5, [reason])], critical=True), {0x0101FF, 5})

    def test_as_cryptography_reads_it(self) -> None:
        """Lists of the test kit are read as cryptography reads them."""
        ca = TestCa.root("Odette")
        octets = ca.crl([ca.issue(str(number)) for number in range(20)])
        expected = {each.serial_number for each in x509.load_pem_x509_crl(octets)}
        (found,) = revocation.parse(octets, "x")
        self.assertEqual(found.serials, expected)

    def test_wrong_numbers(self) -> None:
        """A negative number, one of more than twenty octets, and an entry that is none are refused with the list."""
        for entry, words in (
            ("3003020180", "negative"),
            ("3018" + "0216" + "01" * 22, "more than 20 octets"),
            ("3003040101", "no serial number"),
            ("30020201", "no serial number"),
            ("0203020101", "no sequence"),
            ("3005020101", "cut"),
            ("30", "cut"),
            ("300502002a2a2a", "empty"),
        ):
            self.assertIn(words, str(self.assertRaises(ValueError, list_entries.numbers, bytes.fromhex(entry))), entry)
        self.assertEqual(list_entries.numbers(bytes.fromhex("3081030201053004020200ff")), {5, 255})
