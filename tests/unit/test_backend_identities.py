"""Server identities: imported, or asked for; and how files with keys and certificates are read."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID
from sqlalchemy import select
from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import archive, archive_file, endings, generations, history, identities
from smartproxy.backend.certificates import (
    KeyAndChain,
    checked_key,
    fitting,
    key_to_pem,
    read_certificates,
    read_pkcs12,
    read_private_key,
)
from smartproxy.backend.change import Change
from smartproxy.backend.change_over import ChangeOvers
from smartproxy.backend.errors import ChangeRefused, NotFound, Unusable
from smartproxy.backend.identities import Subject
from smartproxy.backend.operations.identity import GivenPair, RequestAnswer
from smartproxy.backend.operations.shapes import GivenFile
from smartproxy.backend.rounds import AGAIN_SECONDS
from smartproxy.backend.schema import GenerationRow, IdentityRow
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import parse
from smartproxy.policy.partners import KEY_TYPES, ServerIdentity
from smartproxy.testing.pki import KeyKind, TestCa, make_key, self_signed
from tests.adapters.api_site import AtOnce
from tests.unit.odd_files import LEAF, THREE, block, der_of, p7
from tests.unit.sites import NOW, SiteCase

DAY = timedelta(days=1)


def given(name: str, octets: bytes) -> GivenFile:
    """A file that is given to an operation."""
    return GivenFile(name=name, octets=octets)


class Reading(SiteCase):
    """Files as operators have them."""

    founded = False

    def setUp(self) -> None:
        """A certificate below an intermediate authority."""
        super().setUp()
        self.root = TestCa.root("Root")
        self.issuing = self.root.intermediate("Issuing")
        self.leaf = self.issuing.issue("oftp.muster.example")

    def refused(self, call: object, *arguments: object) -> str:
        """Why a file is refused."""
        return str(self.assertRaises(Unusable, call, *arguments))

    def test_certificates(self) -> None:
        """PEM with several and other blocks between, DER, and PKCS#7 in both forms."""
        wanted = [self.leaf.certificate, self.issuing.credential.certificate]
        self.assertEqual(read_certificates(self.leaf.key_pem + self.leaf.chain_pem, "x"), wanted)
        der = self.leaf.certificate.public_bytes(Encoding.DER)
        self.assertEqual(read_certificates(der, "x"), wanted[:1])
        for encoding in (Encoding.PEM, Encoding.DER):
            bundle = pkcs7.serialize_certificates(wanted, encoding)
            self.assertEqual(set(read_certificates(bundle, "x")), set(wanted))

    def test_no_certificates(self) -> None:
        """What holds none says so, and names the file."""
        self.assertIn("no certificate in x.pem", self.refused(read_certificates, self.leaf.key_pem, "x.pem"))
        for octets in (b"", b"abc", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            self.assertIn("x.pem holds no readable certificate", self.refused(read_certificates, octets, "x.pem"))

    def test_keys(self) -> None:
        """PEM and DER, plain and encrypted."""
        key = self.leaf.key
        self.assertEqual(key_to_pem(read_private_key(self.leaf.key_pem, None, "x")), self.leaf.key_pem.decode())
        der = key.private_bytes(Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.assertEqual(key_to_pem(read_private_key(der, None, "x")), self.leaf.key_pem.decode())
        locked = key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
        )
        self.assertEqual(key_to_pem(read_private_key(locked, b"secret", "x")), self.leaf.key_pem.decode())
        self.assertIn("give its password", self.refused(read_private_key, locked, None, "x"))
        self.assertIn("with this password", self.refused(read_private_key, locked, b"wrong", "x"))
        self.assertIn("give no password", self.refused(read_private_key, self.leaf.key_pem, b"secret", "x"))
        self.assertIn("holds no private key", self.refused(read_private_key, b"abc", None, "x"))

    def test_unusable_keys(self) -> None:
        """Keys that TLS cannot use are refused at once, and not by the first partner."""
        weak = make_key(KeyKind.RSA_1024)
        pem = weak.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.assertIn("1024 bits", self.refused(read_private_key, pem, None, "x"))
        other = dsa.generate_private_key(2048)
        pem = other.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.assertIn("neither RSA nor", self.refused(read_private_key, pem, None, "x"))

    def test_pkcs12(self) -> None:
        """Key and chain of a PKCS#12 file; a wrong password and a missing half are said."""
        pair = read_pkcs12(self.leaf.pkcs12("secret"), b"secret", "x.p12")
        self.assertEqual(pair.chain, (self.leaf.certificate, self.issuing.credential.certificate))
        self.assertIn("is the password right", self.refused(read_pkcs12, self.leaf.pkcs12("a"), b"b", "x.p12"))
        only = serialization.pkcs12.serialize_key_and_certificates(
            None, None, self.leaf.certificate, None, serialization.NoEncryption()
        )
        self.assertIn("lacks the private key", self.refused(read_pkcs12, only, None, "x.p12"))

    def test_chain(self) -> None:
        """The key's own certificate comes first, then issuer by issuer, whatever their order; strangers stay out."""
        stranger = TestCa.root("Stranger").credential.certificate
        wanted = (self.leaf.certificate, self.issuing.credential.certificate, self.root.credential.certificate)
        self.assertEqual(fitting(self.key(), [stranger, *reversed(wanted)], "x").chain, wanted)
        self.assertEqual(fitting(self.key(), wanted[:2], "x").chain, wanted[:2])

    def test_same_name_other_key(self) -> None:
        """An issuer of the right name whose key did not sign is no part of the chain."""
        impostor = TestCa.root("Issuing").credential.certificate
        self.assertEqual(fitting(self.key(), [impostor, self.leaf.certificate], "x").chain, (self.leaf.certificate,))

    def test_no_fit(self) -> None:
        """A key and another key's certificate are refused."""
        other = self.issuing.issue("other").certificate
        self.assertIn("is for this private key", self.refused(fitting, self.key(), [other], "x"))

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The leaf's key."""
        key = self.leaf.key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


class IdentityCase(SiteCase):
    """A site with identities."""

    def configured(self) -> tuple[ServerIdentity, ...]:
        """The identities in the configuration."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        return parse(found[1]).server.identities

    def take_in(self, name: str = "main") -> x509.Certificate:
        """Import a certificate."""
        credential = self_signed("oftp.muster.example")
        key = read_private_key(credential.key_pem, None, "x")
        with self.change() as change:
            identities.keep(change, name, fitting(key, [credential.certificate], "x"))
        return credential.certificate

    def ask(self, name: str = "main", key_type: str = "ec-p256", **subject: object) -> x509.CertificateSigningRequest:
        """Make a request."""
        given: dict[str, object] = {"common_name": "oftp.muster.example", **subject}
        made = identities.make_request(name, Subject(**given), key_type)  # type: ignore[arg-type]  # by name
        with self.change() as change:
            identities.request(change, made)
        return x509.load_pem_x509_csr(made.request.encode())

    def answer(self, request: x509.CertificateSigningRequest) -> bytes:
        """What an authority makes of a request."""
        authority = TestCa.root("Issuer").credential
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(authority.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW)
            .not_valid_after(NOW + 365 * DAY)
        )
        signed = builder.sign(authority.key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM)


class Identities(IdentityCase):
    """What servers show."""

    def test_import(self) -> None:
        """An imported identity is in the configuration with its key; a second import takes the first one's place."""
        first, second = self.take_in(), self.take_in()
        (found,) = self.configured()
        self.assertNotEqual(first, second)
        self.assertEqual(x509.load_pem_x509_certificate(found.certificate.encode()), second)
        self.assertIn("PRIVATE KEY", found.key)

    def test_request(self) -> None:
        """A request carries the subject and the names, and is signed by its own new key."""
        request = self.ask(
            organization="Muster GmbH",
            organizational_unit="EDI",
            country="DE",
            locality="Köln",
            serial_number="O0013000001MUSTER",
            names=("oftp.muster.example", "192.0.2.1"),
        )
        self.assertTrue(request.is_signature_valid)
        values = {each.oid: each.value for each in request.subject}
        self.assertEqual(values[NameOID.SERIAL_NUMBER], "O0013000001MUSTER")
        self.assertEqual(values[NameOID.LOCALITY_NAME], "Köln")
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(each.value) for each in names], ["oftp.muster.example", "192.0.2.1"])

    def test_key_types(self) -> None:
        """Each kind of key that can be asked for is made."""
        for key_type in KEY_TYPES:
            key = self.ask(key_type=key_type).public_key()
            assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
            self.assertEqual(str(key.key_size), key_type.lstrip("rsaecp-"))

    def test_bad_subjects(self) -> None:
        """What cannot stand in a certificate is refused."""
        for bad in ({"country": "Germany"}, {"common_name": ""}, {"names": ("no host",)}):
            self.assertRaises(Unusable, self.ask, **bad)

    def test_files_of_any_kind(self) -> None:
        """Key, certificate and chain are found in files of any kind and in any order, and no file is left out."""
        leaf, middle, _ = THREE
        key = given("k.pem", LEAF.key_pem)
        for files in (
            (key, given("c.p7b", block("PKCS7", p7(leaf, middle)))),
            (key, given("c.pem", block("CMS", p7(middle, leaf)))),
            (given("all.pem", LEAF.key_pem + block("PKCS7", p7(leaf, middle))),),
            (key, given("c.pem", LEAF.certificate_pem), given("chain.p7b", block("PKCS7", p7(middle)))),
            (key, given("c.der", der_of(leaf)), given("chain.der", der_of(middle))),
        ):
            names = [each.name for each in files]
            self.assertEqual(list(GivenPair(files=files).prepared.chain), [leaf, middle], names)
            if files[0] is key:
                answer = RequestAnswer(name="main", files=files[1:])
                self.assertEqual(set(answer.prepared), {leaf, middle}, names)
        answer = RequestAnswer(
            name="main", files=(given("m.der", der_of(middle)), given("l.pem", LEAF.certificate_pem))
        )
        self.assertEqual(answer.prepared, [middle, leaf])
        self.assertRaises(Unusable, lambda: RequestAnswer(name="main", files=(key,)).prepared)

    def test_curves(self) -> None:
        """A key on a curve with which no handshake succeeds is refused; the others are taken."""
        for curve in (ec.SECP224R1(), ec.SECP256K1()):
            refused = self.assertRaises(Unusable, checked_key, ec.generate_private_key(curve), "key.pem")
            self.assertIn("make one on P-256", str(refused))
        for taken in (ec.SECP256R1(), ec.SECP521R1(), ec.BrainpoolP512R1()):
            checked_key(ec.generate_private_key(taken), "key.pem")

    def test_change_over(self) -> None:
        """While a request is out the certificate in use stays; the answer takes its place, with the request's key."""
        before = self.take_in()
        request = self.ask()
        (found,) = self.configured()
        self.assertEqual(x509.load_pem_x509_certificate(found.certificate.encode()), before)
        with self.change() as change:
            identities.complete(change, "main", read_certificates(self.answer(request), "main.pem"), "main.pem")
        (found,) = self.configured()
        self.assertEqual(x509.load_pem_x509_certificate(found.certificate.encode()).public_key(), request.public_key())
        key = serialization.load_pem_private_key(found.key.encode(), None)
        self.assertEqual(key.public_key(), request.public_key())

    def test_not_configured_before_the_answer(self) -> None:
        """An identity that has only a request is not in the configuration."""
        self.ask()
        self.assertEqual(self.configured(), ())

    def test_wrong_answers(self) -> None:
        """A certificate for another key, and one that nobody asked for, are refused."""
        self.ask()
        other = [self_signed("other").certificate]

        def complete(name: str) -> None:
            with self.change() as change:
                identities.complete(change, name, other, "other.pem")

        self.assertIn("other.pem", str(self.assertRaises(Unusable, complete, "main")))
        self.take_in("second")
        self.assertIn("no request", str(self.assertRaises(NotFound, complete, "second")))
        self.assertIn("known: main, second", str(self.assertRaises(NotFound, complete, "third")))

    def test_remove(self) -> None:
        """A removed identity is gone, and its key is nowhere in the store any more."""
        self.take_in()
        (found,) = self.configured()
        with self.change() as change:
            identities.remove(change, "main")
        self.assertEqual(self.configured(), ())
        middle = found.key.splitlines()[1].encode()
        self.assertNotIn(middle, self.held())

    def test_warnings(self) -> None:
        """An operator is told of an end that is past or near, of a start to come, and of a wrong purpose."""
        authority = TestCa.root("Root")

        def warned(**given: object) -> list[str]:
            return identities.warnings(authority.issue("x", **given).certificate, NOW)  # type: ignore[arg-type]  # by name

        good = NOW + 300 * DAY
        self.assertEqual(warned(valid_from=NOW - DAY, valid_until=good), [])
        self.assertEqual(warned(valid_from=NOW - DAY, valid_until=good, purposes=()), [])
        self.assertIn("expired on", warned(valid_from=NOW - 9 * DAY, valid_until=NOW - DAY)[0])
        self.assertIn("in 29 days", warned(valid_from=NOW - DAY, valid_until=NOW + 29 * DAY)[0])
        self.assertIn("not valid before", warned(valid_from=NOW + DAY, valid_until=good)[0])
        client_only = [x509.ExtendedKeyUsage([]).oid]
        self.assertIn("serverAuth", warned(valid_from=NOW - DAY, valid_until=good, purposes=client_only)[0])

    def test_told(self) -> None:
        """A change of an identity is an event with the certificate's subject, never with its key."""
        certificate = self.take_in()
        (event,) = self.stored("identity.changed")
        self.assertEqual(event.fields["subject"], certificate.subject.rfc4514_string())


class ChangeOver(IdentityCase):
    """A successor that is used from a date on."""

    def setUp(self) -> None:
        """An identity in use, and what carries plans out."""
        super().setUp()
        self.ca = TestCa.root("Next", valid_from=NOW - DAY)
        self.before = self.take_in()
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.told: list[object] = []
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.watch = ChangeOvers(self.store, AtOnce(), events, self.clock)
        self.watch.start()
        self.addCleanup(self.watch.stop)

    def planned(
        self,
        since: datetime = NOW + 10 * DAY,
        valid_from: datetime = NOW - DAY,
        valid_until: datetime = NOW + 400 * DAY,
    ) -> x509.Certificate:
        """Plan a change-over."""
        issued = self.ca.issue("next.example", valid_from=valid_from, valid_until=valid_until)
        with self.change() as change:
            identities.plan(change, "main", KeyAndChain(key=issued.key, chain=(issued.certificate,)), since)
        return issued.certificate

    def in_use(self) -> x509.Certificate:
        """What servers are told to show."""
        (found,) = self.configured()
        return x509.load_pem_x509_certificate(found.certificate.encode())

    def row(self) -> IdentityRow:
        """The identity."""
        with self.store.reading() as session:
            return identities.find(session, "main")

    def test_at_its_date(self) -> None:
        """The certificate in use stays until then; from then on servers show the other one, without anybody's doing."""
        planned = self.planned()
        self.clock.advance((10 * DAY).total_seconds() - 1)
        self.assertEqual(self.in_use(), self.before)
        self.clock.advance(10)
        self.assertEqual(self.in_use(), planned)
        self.assertIsNone(self.row().planned_since)
        with self.store.reading() as session:
            made = session.scalars(select(GenerationRow).order_by(GenerationRow.number.desc())).first()
        assert made is not None
        self.assertEqual(
            (made.made_by, made.way, made.change), ("smartproxy-backend", "backend", "identity change-over main")
        )
        self.assertEqual(self.told, [])

    def test_fault_at_one(self) -> None:
        """An identity that cannot change over keeps no other from it; it is tried again after a minute."""
        planned = self.planned()
        with self.change() as change:
            issued = self.ca.issue("first.example", valid_from=NOW - DAY)
            both = KeyAndChain(key=issued.key, chain=(issued.certificate,))
            identities.keep(change, "first", both)
            change.session.flush()
            identities.plan(change, "first", both, NOW + 10 * DAY)
        really = identities.change_over
        tried: list[str] = []

        def change_over(change: Change, name: str) -> None:
            tried.append(name)
            if name == "first":
                raise ZeroDivisionError
            really(change, name)

        self.patch(identities, "change_over", change_over)
        self.clock.advance((10 * DAY).total_seconds())
        self.assertEqual(tried, ["first", "main"])
        self.assertIn(
            planned.public_bytes(Encoding.PEM).decode(), "".join(each.certificate for each in self.configured())
        )
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual((tried, len(self.told)), (["first", "main", "first"], 2))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_after_a_pause(self) -> None:
        """A backend that was down at the date does it when it is up again."""
        planned = self.planned()
        self.watch.stop()
        self.clock.advance((20 * DAY).total_seconds())
        self.assertEqual(self.in_use(), self.before)
        self.watch.start()
        self.assertEqual(self.in_use(), planned)

    def test_undone(self) -> None:
        """Undone before its date it does not happen, and its key is forgotten."""
        self.planned()
        planned = self.row().planned
        assert planned is not None
        with self.change() as change:
            identities.undo_plan(change, "main")
        self.assertIsNone(self.row().planned)
        self.clock.advance((20 * DAY).total_seconds())
        self.assertEqual(self.in_use(), self.before)
        with self.assertRaises(NotFound), self.change() as change:
            identities.undo_plan(change, "main")

    def test_undone_as_it_is_due(self) -> None:
        """Undone between the look for what is due and the change-over, it makes no generation."""
        self.planned()
        with self.change() as change:
            identities.undo_plan(change, "main")
        with self.store.reading() as session:
            before = generations.newest_number(session)
        self.patch(identities, "due", lambda session, now: ["main"])
        self.clock.advance((10 * DAY).total_seconds())
        with self.store.reading() as session:
            self.assertEqual(generations.newest_number(session), before)
        self.assertEqual((self.in_use(), self.told), (self.before, []))

    def test_request(self) -> None:
        """The answer to a request can be planned; the request stays out until then, and after an undone plan."""
        request = self.ask()
        answer = read_certificates(self.answer(request), "main.pem")
        for undone in (True, False):
            with self.change() as change:
                identities.complete(change, "main", answer, "main.pem", NOW + DAY)
            self.assertEqual(self.in_use(), self.before)
            self.assertIsNotNone(self.row().request)
            if undone:
                with self.change() as change:
                    identities.undo_plan(change, "main")
        self.clock.advance((2 * DAY).total_seconds())
        self.assertEqual(self.in_use().public_key(), request.public_key())
        self.assertIsNone(self.row().request)

    def test_refused(self) -> None:
        """A date that is over, or at which the certificate is not valid, and an identity without one in use."""
        for words, since, valid_from in (
            ("is over", NOW, NOW - DAY),
            ("is not valid on", NOW + DAY, NOW + 2 * DAY),
            ("is not valid on", NOW + 400 * DAY, NOW - DAY),
        ):
            self.assertIn(words, str(self.assertRaises(ChangeRefused, self.planned, since, valid_from)))
        issued = self.ca.issue("x", valid_from=NOW - DAY)
        with self.assertRaises(ChangeRefused), self.change() as change:
            identities.plan(change, "other", KeyAndChain(key=issued.key, chain=(issued.certificate,)), NOW + DAY)

    def test_warned(self) -> None:
        """What is planned is said; so is a gap before it; an end that comes after it is not."""
        authority, soon = TestCa.root("Root", valid_from=NOW - 9 * DAY), NOW + 20 * DAY
        issued = authority.issue("x", valid_from=NOW - 9 * DAY, valid_until=soon)
        with self.change() as change:
            identities.keep(change, "main", KeyAndChain(key=issued.key, chain=(issued.certificate,)))
        for since, words in (
            (NOW + 19 * DAY, ["used from"]),
            (NOW + 21 * DAY, ["ends on", "plan it earlier", "used from"]),
        ):
            self.planned(since)
            found = identities.warnings_of(self.row(), NOW)
            self.assertEqual(len(found), len(words), found)
            for word, warning in zip(words, found, strict=True):
                self.assertIn(word, warning)

    def test_not_valid_yet(self) -> None:
        """A successor of an imported file that is not valid on its date is warned of; one that is, is not."""
        since = NOW + 10 * DAY
        self.planned(since, valid_from=since)
        self.assertFalse([each for each in identities.warnings_of(self.row(), NOW) if "not valid before" in each])
        with self.change() as change:
            identities.find(change.session, "main").planned_since = since - DAY
        self.assertIn("not valid before", identities.warnings_of(self.row(), NOW)[-1])

    def test_reminded(self) -> None:
        """The date is told as an end is; the present certificate's own end is told only if it comes first."""

        def ends() -> dict[object, datetime]:
            with self.store.reading() as session:
                return {each.cause: each.until for each in endings.known(session)}

        planned = self.planned()
        self.assertEqual(ends()[Cause.ENDING_CHANGE_OVER], NOW + 10 * DAY)
        self.assertEqual(ends()[Cause.ENDING_IDENTITY], planned.not_valid_after_utc)
        self.planned(NOW + 390 * DAY)
        self.assertEqual(ends()[Cause.ENDING_IDENTITY], self.before.not_valid_after_utc)
        with self.change() as change:
            identities.undo_plan(change, "main")
        self.assertNotIn(Cause.ENDING_CHANGE_OVER, ends())

    def test_exported(self) -> None:
        """A site that is moved takes the plan with it; the history says what is planned, without the key."""
        planned = self.planned()
        with self.store.reading() as session:
            text = archive.export(session, NOW, with_secrets=True)
            (told,) = [
                each
                for each in history.differences_of(session, generations.newest_number(session))
                if each.place.name == "main"
            ]
        self.assertEqual(told.after["planned"]["subject"], planned.subject.rfc4514_string())
        self.assertNotIn("PRIVATE", str(told))
        with self.change() as change:
            identities.undo_plan(change, "main")
        with self.change() as change:
            archive.take(change, archive_file.parse_file(text.encode()))
        self.clock.advance((11 * DAY).total_seconds())
        self.assertEqual(self.in_use(), planned)
