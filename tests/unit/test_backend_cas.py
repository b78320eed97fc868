"""Certification authorities and their revocation lists."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock, patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from smartproxy.backend import cas, endings, generations, list_contents, revocation
from smartproxy.backend.certificates import certificates_to_pem, key_pin
from smartproxy.backend.change import Change, Channel
from smartproxy.backend.errors import AlreadyThere, NotFound, Unusable
from smartproxy.backend.operations import ca, crl
from smartproxy.backend.operations.operation import Caller, Transaction
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import KnownCertificate, Nothing
from smartproxy.backend.revocation import LoadedList
from smartproxy.backend.schema import CaRow
from smartproxy.policy.certificates.revocation import Covered, ListScope
from smartproxy.policy.configuration import ServerConfiguration, parse
from smartproxy.policy.partners import RevocationMode, TrustedCa
from smartproxy.policy.permissions import EVERYTHING
from smartproxy.testing.pki import TestCa, TestCredential, self_signed
from tests.unit.odd_lists import X400, common_name
from tests.unit.odd_lists import crl as crl_of
from tests.unit.odder_files import tlv
from tests.unit.sites import NOW, SiteCase
from tests.unit.test_facts import CURVE, forged

DAY = timedelta(days=1)
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class CaCase(SiteCase):
    """A site with a CA named odette, of a root and an issuing authority below it."""

    def setUp(self) -> None:
        """Make both and add them."""
        super().setUp()
        self.root = TestCa.root("Odette Root")
        self.issuing = self.root.intermediate("Odette Issuing")
        self.certificates = [self.root.credential.certificate, self.issuing.credential.certificate]
        with self.change() as change:
            cas.add(change, "odette", self.certificates)

    def configured(self) -> ServerConfiguration:
        """The configuration in force."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        return parse(found[1]).server


class Cas(CaCase):
    """Adding and changing authorities."""

    def test_configured(self) -> None:
        """The configuration has the authority with all its certificates and its revocation mode."""
        (found,) = self.configured().cas
        self.assertEqual((found.name, found.revocation), ("odette", RevocationMode.REQUIRE))
        self.assertEqual(found.certificates.count("BEGIN CERTIFICATE"), 2)

    def test_same_certificate_twice(self) -> None:
        """A certificate that is given twice is kept once."""
        with self.change() as change:
            cas.alter(change, "odette", certificates=self.certificates * 2)
        self.assertEqual(self.configured().cas[0].certificates.count("BEGIN CERTIFICATE"), 2)

    def test_change(self) -> None:
        """Certificates and revocation mode are changed each for itself."""
        with self.change() as change:
            cas.alter(change, "odette", revocation=RevocationMode.OFF, grace_hours=12)
        (found,) = self.configured().cas
        self.assertEqual((found.revocation, found.grace_hours), (RevocationMode.OFF, 12))
        with self.change() as change:
            row = cas.alter(change, "odette", certificates=self.certificates[:1])
            self.assertEqual([each.subject for each in cas.certificates_of(row)], [self.certificates[0].subject])
        self.assertEqual(self.configured().cas[0].revocation, RevocationMode.OFF)

    def test_name_taken(self) -> None:
        """A name stands once."""

        def again() -> None:
            with self.change() as change:
                cas.add(change, "odette", self.certificates, revocation=RevocationMode.OFF)

        self.assertRaises(AlreadyThere, again)

    def test_not_an_authority(self) -> None:
        """A partner's own certificate is not taken for an authority's, with a word on how to pin it."""

        def add(credential: TestCredential) -> None:
            with self.change() as change:
                cas.add(change, "acme", [credential.certificate], revocation=RevocationMode.OFF)

        for credential in (self_signed("acme"), self.root.issue("acme")):
            self.assertIn("--certificate", str(self.assertRaises(Unusable, add, credential)))

    def test_key_that_is_unreadable(self) -> None:
        """An authority whose key cannot be read is refused, added, in a change or in a document; nothing is stored."""
        broken = forged(self.certificates[0], CURVE, CURVE[:-1] + b"\x7f")
        entry = TrustedCa(name="broken", certificates=certificates_to_pem([broken]))

        def put(work: Callable[[Change], object]) -> None:
            with self.change() as change:
                work(change)

        for work in (
            lambda change: cas.add(change, "broken", [broken]),
            lambda change: cas.alter(change, "odette", certificates=[*self.certificates, broken]),
            lambda change: cas.take(change, entry),
        ):
            before = self.configured()
            self.assertIn("of a kind that is not known", str(self.assertRaises(Unusable, put, work)))
            self.assertEqual(self.configured(), before)

    def test_unreadable_key_in_the_store(self) -> None:
        """An authority whose key cannot be read and that is in the store already keeps nothing from being shown."""
        broken = forged(self.certificates[0], CURVE, CURVE[:-1] + b"\x7f")
        with self.change() as change:
            entry = TrustedCa(name="broken", certificates=certificates_to_pem([broken]))
            change.session.add(CaRow(name="broken", entry=entry))
            change.session.flush()
            revocation.load(change, revocation.parse(self.root.crl(this_update=NOW, next_update=NOW + DAY), "ca.crl"))
        with self.store.reading() as session:
            look = Transaction(session=session, now=NOW, by="alice")
            self.assertEqual([each.ca for each in crl.listed.work(look, Nothing()).items], ["odette"])
            ends = [each.what for each in endings.known(session)]
            known = KnownCertificate.of(broken)
        self.assertTrue(any(each.endswith("of the CA broken") for each in ends))
        self.assertTrue(any(each.endswith("(CA odette)") for each in ends))
        self.assertIsNone(known.key_sha256)
        with self.change() as change:
            cas.remove(change, "broken")

    def test_told_before_it_is_stored(self) -> None:
        """What the caller is told is made within the change: where that fails, nothing is changed."""
        before = self.configured()
        pem = certificates_to_pem([TestCa.root("Other").credential.certificate])
        caller = Caller(name="alice", scopes=frozenset({EVERYTHING}), channel=Channel.COMMAND)
        self.patch(KnownCertificate, "of", Mock(side_effect=Unusable("what stands in it")))
        for operation, wanted in (
            (ca.add, ca.CaAddition(name="other", certificates=(pem,))),
            (ca.alter, ca.CaAlteration(name="odette", certificates=(pem,))),
        ):
            self.assertRaises(Unusable, perform, self.store, operation, wanted, caller, NOW)
            self.assertEqual(self.configured(), before)

    def test_remove(self) -> None:
        """An authority that nobody needs is removed; a second removal finds nothing."""
        with self.change() as change:
            cas.remove(change, "odette")
        self.assertEqual(self.configured().cas, ())

        def again() -> None:
            with self.change() as change:
                cas.remove(change, "odette")

        self.assertIn("known: none", str(self.assertRaises(NotFound, again)))

    def test_told(self) -> None:
        """Each change is an event that names the authority and its revocation mode."""
        (event,) = self.stored("ca.changed")
        self.assertEqual((event.fields["ca"], event.fields["mode"], event.fields["count"]), ("odette", "require", 2))


def scope_of(**given: object) -> x509.IssuingDistributionPoint:
    """The extension that says what a list covers."""
    nothing: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**nothing, **given})  # type: ignore[arg-type]  # one at a time


class RevocationLists(CaCase):
    """Loading lists."""

    def load(self, octets: bytes) -> list[LoadedList]:
        """Load a file."""
        lists = revocation.parse(octets, "ca.crl")
        with self.change() as change:
            return revocation.load(change, lists)

    def refused(self, octets: bytes) -> str:
        """Why a file is refused; nothing is loaded."""
        before = self.configured().revocation
        error = self.assertRaises(Unusable, self.load, octets)
        self.assertEqual(self.configured().revocation, before)
        return str(error)

    def sign(
        self,
        *extensions: x509.ExtensionType,
        by: TestCa | None = None,
        critical: bool = True,
        reason: x509.ReasonFlags | None = None,
    ) -> bytes:
        """A list of the issuing authority with one serial number and these extensions."""
        issuer = (by or self.issuing).credential
        entry = x509.RevokedCertificateBuilder().serial_number(77).revocation_date(NOW)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(NOW)
            .next_update(NOW + DAY)
            .add_revoked_certificate(entry.build())
        )
        for each in extensions:
            builder = builder.add_extension(each, critical=critical)
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def test_serials(self) -> None:
        """A list becomes the serial numbers of its issuer, by the hash of the issuer's key, with both dates."""
        bad = [self.issuing.issue("a"), self.issuing.issue("b")]
        (loaded,) = self.load(self.issuing.crl(bad, this_update=NOW, next_update=NOW + DAY))
        self.assertEqual((loaded.serials, loaded.ca, loaded.next_update), (2, "odette", NOW + DAY))
        (found,) = self.configured().revocation
        self.assertEqual(found.issuer_key_sha256, key_pin(self.issuing.credential.certificate))
        self.assertEqual(found.serials, {each.certificate.serial_number for each in bad})
        self.assertEqual((found.this_update, found.next_update), (NOW, NOW + DAY))

    def test_forms(self) -> None:
        """PEM with several lists, other blocks between them, and DER."""
        both = self.issuing.crl(this_update=NOW) + self.root.certificate_pem + self.root.crl(this_update=NOW)
        self.assertEqual(len(self.load(both)), 2)
        der = x509.load_pem_x509_crl(self.root.crl(this_update=NOW)).public_bytes(Encoding.DER)
        (loaded,) = self.load(der)
        self.assertTrue(loaded.issuer.startswith("CN=Odette Root"))

    def test_newer(self) -> None:
        """A newer list takes the place of the older one, serial numbers and all."""
        self.load(self.issuing.crl([self.issuing.issue("a")], this_update=NOW))
        with self.change(now=NOW + DAY) as change:
            (loaded,) = revocation.load(change, revocation.parse(self.issuing.crl([], this_update=NOW + DAY), "ca.crl"))
        self.assertEqual((loaded.previous, loaded.serials), (NOW, 0))
        (found,) = self.configured().revocation
        self.assertEqual((found.this_update, found.serials), (NOW + DAY, frozenset()))

    def test_end_of_time(self) -> None:
        """A list that promises its successor for the last second of all times is in force, and told, like any other."""
        end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        (loaded,) = self.load(self.issuing.crl(this_update=NOW, next_update=end))
        self.assertEqual(loaded.next_update, end)
        self.assertEqual(self.configured().revocation[0].next_update, end)
        (told,) = self.stored("crl.loaded")
        self.assertEqual(told.fields["next_update"], "9998-12-31T23:59:59.000Z")

    def test_undecodable(self) -> None:
        """What a library cannot decode of a list refuses it in words."""
        with patch.object(list_contents, "_said", side_effect=OverflowError("out of range")):
            self.assertIn("cannot be read", self.refused(self.issuing.crl(this_update=NOW)))

    def test_older(self) -> None:
        """An older list than the one in force is refused, with both dates; the same one again is not."""
        self.load(self.issuing.crl(this_update=NOW))
        reason = self.refused(self.issuing.crl(this_update=NOW - DAY))
        self.assertIn("2026-11-19 12:00", reason)
        self.assertIn("2026-11-20 12:00", reason)
        self.load(self.issuing.crl(this_update=NOW))

    def test_all_or_none(self) -> None:
        """Of two lists in a file neither is taken when one is refused."""
        stranger = TestCa.root("Stranger")
        self.assertIn("not from a configured CA", self.refused(self.issuing.crl(this_update=NOW) + stranger.crl()))

    def test_forged(self) -> None:
        """A list that names a known issuer but is signed by another key is refused."""
        impostor = TestCa.root("Odette Root")
        self.assertIn("not signed by the key", self.refused(impostor.crl()))

    def test_same_name_two_keys(self) -> None:
        """Of two authorities of one name, the one whose key signed is found."""
        renewed = TestCa.root("Odette Root")
        with self.change() as change:
            cas.add(change, "odette-2", [renewed.credential.certificate])
        (loaded,) = self.load(renewed.crl(this_update=NOW))
        self.assertEqual(loaded.ca, "odette-2")

    def test_not_lists(self) -> None:
        """What holds no list is refused."""
        self.assertIn("no revocation list", self.refused(self.root.certificate_pem))
        self.assertIn("no readable revocation list", self.refused(b"\x30\x03abc"))
        self.assertIn("no readable", self.refused(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"))

    def test_parts(self) -> None:
        """Lists that hold only a part of what is revoked in their scope are refused: the rest would look good."""
        self.assertIn("delta", self.refused(self.sign(x509.DeltaCRLIndicator(1))))
        self.assertIn("indirect", self.refused(self.sign(scope_of(indirect_crl=True))))
        self.assertIn("attribute", self.refused(self.sign(scope_of(only_contains_attribute_certs=True))))
        reasons = frozenset({x509.ReasonFlags.key_compromise})
        self.assertIn("limited to some reasons", self.refused(self.sign(scope_of(only_some_reasons=reasons))))
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        self.assertIn("1.2.3.4", self.refused(self.sign(unknown)))
        names = [x509.UniformResourceIdentifier(f"http://crl.example/{number}.crl") for number in range(17)]
        self.assertIn("more than 16 names", self.refused(self.sign(scope_of(full_name=names))))
        names = [x509.UniformResourceIdentifier(f"http://crl.example/{'x' * 1024}")]
        self.assertIn("1024 characters", self.refused(self.sign(scope_of(full_name=names))))
        self.load(self.sign(unknown, critical=False))

    def test_scopes(self) -> None:
        """What a list covers comes from its issuingDistributionPoint; each scope has one list."""
        uri = x509.UniformResourceIdentifier("http://crl.example/1.crl")
        directory = x509.DirectoryName(x509.Name.from_rfc4514_string("CN=CRL1,O=Odette"))
        relative = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CRL2")])
        issuer = self.issuing.credential.certificate.subject.rfc4514_string()
        for point, scope in (
            (x509.CRLNumber(1), ListScope()),
            (scope_of(only_contains_user_certs=True), ListScope(covered=Covered.USERS)),
            (scope_of(only_contains_ca_certs=True), ListScope(covered=Covered.CAS)),
            (
                scope_of(full_name=[uri, directory]),
                ListScope(points=("DIR:CN=CRL1,O=Odette", "URI:http://crl.example/1.crl")),
            ),
            (scope_of(relative_name=relative), ListScope(points=(f"DIR:CN=CRL2,{issuer}",))),
        ):
            (loaded,) = self.load(self.sign(point))
            self.assertEqual(loaded.scope, scope)
            self.assertIn(scope, [each.scope for each in self.configured().revocation])
            self.assertIn(scope.part, [each.fields.get("list_part") for each in self.stored("crl.loaded")])
        self.assertEqual(len(self.configured().revocation), 5)

    def test_parts_side_by_side(self) -> None:
        """A part takes the place of the same part only, by date and number; the whole list stays as well."""
        bad = self.issuing.issue("revoked")
        for number, listed in ((None, ()), (1, (bad,)), (2, ())):
            point = None if number is None else f"http://crl.example/{number}.crl"
            (loaded,) = self.load(self.issuing.crl(listed, this_update=NOW - DAY, point=point, number=5))
            self.assertIsNone(loaded.previous)
        first = "http://crl.example/1.crl"
        found = {each.scope.part: each.serials for each in self.configured().revocation}
        self.assertEqual(found[f"URI:{first}"], {bad.certificate.serial_number})
        self.assertEqual(len(found), 3)
        told = self.refused(self.issuing.crl(this_update=NOW - 2 * DAY, point=first))
        self.assertIn(f"for URI:{first} in ca.crl is of 2026-11-18 12:00 UTC and older", told)
        self.assertIn("has number 4", self.refused(self.issuing.crl(this_update=NOW - DAY, point=first, number=4)))
        self.load(self.issuing.crl(this_update=NOW - 2 * DAY, point="http://crl.example/3.crl", number=1))
        (loaded,) = self.load(self.issuing.crl(this_update=NOW, point=first, number=6))
        self.assertEqual((loaded.previous, loaded.serials), (NOW - DAY, 0))
        self.assertEqual(len(self.configured().revocation), 4)

    def test_two_names_of_one_key(self) -> None:
        """A CA that was renewed under another name has lists of its own."""
        renamed = TestCa.root("Odette New", key=self.root.credential.key)
        with self.change() as change:
            cas.add(change, "odette-new", [renamed.credential.certificate])
        self.load(self.root.crl([self.issuing.credential], this_update=NOW) + renamed.crl(this_update=NOW))
        found = {each.issuer_name: len(each.serials) for each in self.configured().revocation}
        subjects = [each.credential.certificate.subject.rfc4514_string() for each in (self.root, renamed)]
        self.assertEqual(found, dict(zip(subjects, (1, 0), strict=True)))

    def test_good_again(self) -> None:
        """An entry that takes a revocation back revokes all the same: only a delta list may say that (5.3.1)."""
        (loaded,) = self.load(self.sign(reason=x509.ReasonFlags.remove_from_crl))
        self.assertEqual(loaded.serials, 1)

    def test_remove(self) -> None:
        """A list is forgotten by its issuer's name or by its key."""
        for by_name in (True, False):
            (loaded,) = self.load(self.issuing.crl(this_update=NOW))
            with self.change() as change:
                revocation.remove(change, loaded.issuer if by_name else loaded.issuer_key_sha256)
            self.assertEqual(self.configured().revocation, ())

        def again() -> None:
            with self.change() as change:
                revocation.remove(change, "CN=Nobody")

        self.assertRaises(NotFound, again)

    def test_remove_one_of_two(self) -> None:
        """Of two keys of one name the key says whose list is meant; the name alone is refused with both keys."""
        renewed = TestCa.root("Odette Root")
        with self.change() as change:
            cas.add(change, "odette-2", [renewed.credential.certificate])
        (first,), (second,) = self.load(self.root.crl(this_update=NOW)), self.load(renewed.crl(this_update=NOW))
        self.assertEqual(first.issuer, second.issuer)

        def remove(issuer: str) -> None:
            with self.change() as change:
                revocation.remove(change, issuer)

        told = str(self.assertRaises(NotFound, remove, first.issuer))
        self.assertIn(first.issuer_key_sha256, told)
        self.assertIn(second.issuer_key_sha256, told)
        remove(first.issuer_key_sha256)
        (left,) = self.configured().revocation
        self.assertEqual(left.issuer_key_sha256, second.issuer_key_sha256)

    def test_remove_a_part(self) -> None:
        """A part is removed by its distribution point, with its kind or without, or by its number."""
        for number in (1, 2, 3):
            self.load(self.issuing.crl(this_update=NOW, point=f"http://crl.example/{number}.crl"))
        with self.store.reading() as session:
            (third,) = [row.id for row in revocation.listed(session) if str(row.scope.part).endswith("3.crl")]

        def remove(which: str) -> None:
            with self.change() as change:
                revocation.remove(change, which)

        issuer = self.issuing.credential.certificate.subject.rfc4514_string()
        told = str(self.assertRaises(NotFound, remove, issuer))
        self.assertIn(f"{third} (URI:http://crl.example/3.crl, of the key", told)
        for which, left in (("http://crl.example/1.crl", 2), ("URI:http://crl.example/2.crl", 1), (str(third), 0)):
            remove(which)
            self.assertEqual(len(self.configured().revocation), left)

    def test_future(self) -> None:
        """A list of tomorrow is refused, and one that was loaded by a wrong clock gives way to the one of today."""
        self.assertIn("in the future", self.refused(self.issuing.crl(this_update=NOW + DAY)))
        with self.change(now=NOW + 9 * DAY) as change:
            revocation.load(change, revocation.parse(self.issuing.crl(this_update=NOW + 9 * DAY), "ca.crl"))
        (loaded,) = self.load(self.issuing.crl(this_update=NOW))
        self.assertIsNone(loaded.previous)
        (found,) = self.configured().revocation
        self.assertEqual(found.this_update, NOW)

    def test_told(self) -> None:
        """A loaded list is an event with issuer, number of entries and dates."""
        self.load(self.issuing.crl(this_update=NOW, next_update=NOW + DAY))
        (event,) = self.stored("crl.loaded")
        issuer = self.issuing.credential.certificate.subject.rfc4514_string()
        self.assertEqual((event.fields["issuer"], event.fields["count"]), (issuer, 0))

    def test_issuer_that_may_not(self) -> None:
        """A list signed with a key whose certificate is not for signing lists is refused."""
        usage = dict.fromkeys(KEY_USAGES, False) | {"key_cert_sign": True}
        unreadable = x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\x05\x00")
        for name, extension in (("no-lists", x509.KeyUsage(**usage)), ("unreadable", unreadable)):
            ca = self.add_authority(name, extension)
            self.assertIn("keyUsage cannot be read, or does not allow it", self.refused(self.sign(by=ca)))

    def test_issuer_with_odd_extensions(self) -> None:
        """Whatever cannot be read in an issuer's certificate, but its keyUsage, keeps none of its lists from use."""
        usage = x509.KeyUsage(**(dict.fromkeys(KEY_USAGES, False) | {"crl_sign": True}))
        for number, (oid, value) in enumerate(
            (
                (x509.CertificatePolicies.oid, b"\x05\x00"),
                (x509.SubjectAlternativeName.oid, b"\x05\x00"),
                (x509.SubjectAlternativeName.oid, tlv(0x30, X400)),
            )
        ):
            ca = self.add_authority(f"odd-{number}", usage, x509.UnrecognizedExtension(oid, value))
            (loaded,) = self.load(self.sign(by=ca))
            self.assertEqual(loaded.ca, f"odd-{number}")

    def add_authority(self, name: str, *extensions: x509.ExtensionType) -> TestCa:
        """An authority with these extensions in its certificate, which is configured."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        for each in extensions:
            builder = builder.add_extension(each, critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        with self.change() as change:
            cas.add(change, "".join(each for each in name if each.isalnum() or each == "-"), [certificate])
        return TestCa(TestCredential(key, certificate))

    def test_issuer_in_other_spelling(self) -> None:
        """A list may write its issuer in other cases, blanks or letters than the certificate does (RFC 5280 7.1)."""
        ca = self.add_authority("M\u00fcller CA")
        for number, issuer in enumerate(
            (
                common_name("M\u00fcller CA".encode()),
                common_name("M\u00dcLLER  ca".encode()),
                common_name(b"M\xfcller Ca", tag=0x14),
            )
        ):
            (parsed,) = revocation.parse(crl_of(ca, issuer=issuer), "ca.crl")
            with self.change() as change:
                self.assertIs(revocation.in_force(change.session, parsed, "M\u00fcllerCA") is None, number == 0)
                (loaded,) = revocation.load(change, [parsed])
            self.assertEqual((loaded.issuer, loaded.previous is None), ("CN=M\u00fcller CA", number == 0))
        with self.change() as change:
            # A list that was loaded before the store used the certificate's words.
            revocation.find(change.session, loaded.row).issuer = "CN=M\u00dcLLER  ca"
            change.session.flush()
            ends = [each.what for each in endings.known(change.session)]
        self.assertIn("the revocation list of CN=M\u00dcLLER  ca (CA M\u00fcllerCA)", ends)
        self.load(crl_of(ca, issuer=issuer))
        (found,) = self.configured().revocation
        self.assertEqual(found.issuer_name, "CN=M\u00fcller CA")
        stranger = TestCa.root("x", key=ec.generate_private_key(ec.SECP256R1()))
        self.assertIn("not signed by the key", self.refused(crl_of(stranger, issuer=issuer)))
