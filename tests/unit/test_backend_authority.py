"""The site's authority and what it issues: its own certificate, https, tunnel certificates, licences."""

from datetime import timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smartproxy.backend import authority, generations, licences
from smartproxy.backend.certificates import key_pin, key_to_pem
from smartproxy.backend.errors import AlreadyThere, NotFound, Unusable
from smartproxy.backend.operations import licence as operations
from smartproxy.policy.configuration import Configuration, parse
from smartproxy.policy.licence import read, renew
from tests.unit.odd_files import block
from tests.unit.sites import NOW, PROXY_ID, SiteCase

YEAR = timedelta(days=365)


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "whoever") -> str:
    """A request for a certificate, PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


class Found(SiteCase):
    """The authority of a new site."""

    def setUp(self) -> None:
        """Load it."""
        super().setUp()
        with self.store.reading() as session:
            self.authority = authority.load(session)

    def test_certificate(self) -> None:
        """An Ed25519 certificate authority that cannot have authorities below it, and names the site."""
        certificate = self.authority.certificate
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        self.assertIsInstance(certificate.public_key(), ed25519.Ed25519PublicKey)
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=Muster GmbH SmartProxy authority")
        self.assertEqual((constraints.critical, constraints.value.ca, constraints.value.path_length), (True, True, 0))
        self.assertTrue(usage.key_cert_sign)
        self.assertFalse(usage.digital_signature)
        certificate.verify_directly_issued_by(certificate)

    def test_https(self) -> None:
        """The https certificate is the authority's, for servers, for the names given and for loopback."""
        certificate = self.authority.https_certificate
        certificate.verify_directly_issued_by(self.authority.certificate)
        purposes = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        self.assertEqual(purposes, [ExtendedKeyUsageOID.SERVER_AUTH])
        self.assertEqual(self.authority.https_names, ["backend.example", "localhost", "127.0.0.1", "::1"])
        self.assertEqual(self.authority.https_pin, key_pin(self.authority.https_key))

    def test_rename(self) -> None:
        """Other names make another certificate for the same key: clients that pin it go on."""
        with self.change() as change:
            renamed = authority.rename_https(change, ["other.example", "192.0.2.1", "münchen.example"])
        self.assertEqual(renamed.https_pin, self.authority.https_pin)
        self.assertIn("192.0.2.1", renamed.https_names)
        self.assertIn("xn--mnchen-3ya.example", renamed.https_names)
        self.assertNotIn("backend.example", renamed.https_names)
        with self.change() as change:
            self.assertRaises(Unusable, authority.rename_https, change, ["0.0.0.0"])

    def test_only_one(self) -> None:
        """A second authority is not made over the first."""

        def again() -> None:
            with self.change() as change:
                authority.create(change, "Other", [])

        self.assertIn("Muster GmbH", str(self.assertRaises(AlreadyThere, again)))

    def test_damaged(self) -> None:
        """A store whose keys are not those that SmartProxy makes is said to be damaged."""
        with self.store.writing() as session:
            authority.site_row(session).authority_key = key_to_pem(ec.generate_private_key(ec.SECP256R1()))
        with self.store.reading() as session:
            self.assertIn("damaged", str(self.assertRaises(Unusable, authority.load, session)))

    def test_told(self) -> None:
        """The making of an authority is an event."""
        (event,) = self.stored("authority.created")
        self.assertEqual(event.fields["key_sha256"], key_pin(self.authority.certificate))


class NotFounded(SiteCase):
    """A store without an authority."""

    founded = False

    def test_not_there(self) -> None:
        """What needs it says how to make it."""
        with self.store.reading() as session:
            error = self.assertRaises(NotFound, authority.load, session)
        self.assertIn("smartproxy authority create --site NAME", str(error))

    def test_bad_names(self) -> None:
        """A site's name has to fit a certificate; a host has to be one."""

        def create(site: str, *names: str) -> str:
            def make() -> None:
                with self.change() as change:
                    authority.create(change, site, names)

            return str(self.assertRaises(Unusable, make))

        for site in ("", " ", "x" * 41, "two\nlines"):
            self.assertIn("1 to 40", create(site))
        self.assertIn("neither a host name", create("Muster", "no host\x00"))
        self.assertIn("neither a host name", create("Muster", ""))
        for name in ("1.2.3.4.5", "backend.7", "backend.7."):
            self.assertIn("neither a host name", create("Muster", name))
        self.assertIn("neither a host name", create("Muster", "x" * 70 + ".example"))


class TunnelCertificates(SiteCase):
    """Certificates for clients, by their requests."""

    def issue(self, text: str) -> x509.Certificate:
        """Have a certificate issued for client ``inner``."""
        with self.store.reading() as session:
            self.authority = authority.load(session)
        return authority.tunnel_certificate(self.authority.certificate, self.authority.key, text, "inner", NOW)

    def test_certificate(self) -> None:
        """It is for the request's key and the client's name, for TLS clients, for seven days."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.issue(request(key, "somebody else"))
        certificate.verify_directly_issued_by(self.authority.certificate)
        self.assertEqual(certificate.public_key(), key.public_key())
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=inner")
        self.assertEqual(certificate.not_valid_after_utc, NOW + timedelta(days=7))
        self.assertLess(certificate.not_valid_before_utc, NOW)
        purposes = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        self.assertEqual(purposes, [ExtendedKeyUsageOID.CLIENT_AUTH])
        self.assertFalse(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)

    def test_other_keys(self) -> None:
        """Another kind of key, or another curve, is refused."""
        for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
            self.assertIn("P-256", str(self.assertRaises(Unusable, self.issue, request(key))))

    def test_unreadable(self) -> None:
        """What is no request is refused."""
        for text in ("", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "ü"):
            self.assertIn("cannot be read", str(self.assertRaises(Unusable, self.issue, text)))

    def test_no_version(self) -> None:
        """A request of a version that does not exist is refused like any other that cannot be read."""
        good = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1())).encode())
        odd = good.public_bytes(Encoding.DER).replace(b"\x02\x01\x00", b"\x02\x01\x07", 1)
        text = block("CERTIFICATE REQUEST", odd).decode()
        self.assertIn("cannot be read", str(self.assertRaises(Unusable, self.issue, text)))

    def test_not_its_own_key(self) -> None:
        """A request that its own key did not sign proves nothing and is refused."""
        good = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1())).encode())
        octets = bytearray(good.public_bytes(Encoding.DER))
        octets[-1] ^= 1
        forged = x509.load_der_x509_csr(bytes(octets)).public_bytes(Encoding.PEM).decode()
        self.assertIn("not signed by the key in it", str(self.assertRaises(Unusable, self.issue, forged)))


class Licences(SiteCase):
    """Licences that the authority signs."""

    def issue(self, proxy_id: str = PROXY_ID, *, days: int = 365, limits: dict[str, int] | None = None) -> str:
        """Have a licence issued; return its text."""
        with self.change() as change:
            return licences.issue(
                change, proxy_id, valid_from=NOW, valid_until=NOW + timedelta(days=days), limits=limits or {}
            ).text

    def test_server_takes_it(self) -> None:
        """The server for whose Proxy ID it is issued reads it, and finds site, limits and authority in it."""
        licence = read(self.issue(limits={"sessions": 50}), PROXY_ID, NOW)
        with self.store.reading() as session:
            self.assertEqual(licence.authority_certificate, authority.load(session).certificate_pem)
        self.assertEqual((licence.site, licence.valid_until), ("Muster GmbH", NOW + YEAR))
        self.assertEqual(dict(licence.limits), {"sessions": 50})

    def test_whole_seconds(self) -> None:
        """The end that is stored is the one that the server reads and reports: whole seconds."""
        with self.change() as change:
            part = timedelta(microseconds=700_000)
            row = licences.issue(change, PROXY_ID, valid_from=NOW + part, valid_until=NOW + YEAR + part, limits={})
            licence = read(row.text, PROXY_ID, NOW + timedelta(seconds=1))
            self.assertEqual((row.valid_from, row.valid_until), (licence.valid_from, licence.valid_until))

    def test_bad_orders(self) -> None:
        """No Proxy ID, an end in the past or after more than ten years, and a limit out of range are refused."""
        self.assertIn("smartproxy-server -L", str(self.assertRaises(Unusable, self.issue, "abc")))
        self.assertIn("later --until", str(self.assertRaises(Unusable, self.issue, days=-1)))
        self.assertIn("at most ten years", str(self.assertRaises(Unusable, self.issue, days=3654)))
        self.assertIn("sessions", str(self.assertRaises(Unusable, self.issue, limits={"sessions": 0})))

    def test_earlier_end(self) -> None:
        """No licence is issued that the server would not take, because it may have one that ends later."""
        self.issue(days=400)
        refused = str(self.assertRaises(Unusable, self.issue, days=100))
        self.assertIn("2027-12-25", refused)
        self.assertIn("later --until", refused)
        self.issue(days=400, limits={"sessions": 7})
        self.issue("f" * 64 + "px", days=100)

    def test_earlier_end_of_a_former_version(self) -> None:
        """Where one with an earlier end was issued, a client is shut out with one that the server takes."""
        first, second = self.issue(days=400), self.issue(days=401)
        with self.change() as change:
            row = licences.find(change.session, PROXY_ID)
            self.assertEqual(row.text, second)
            row.valid_until = NOW + timedelta(days=100)
            self.assertEqual(licences.shut_out(change, "inner", YEAR), 1)
        with self.change(now=NOW + timedelta(days=200)) as change:
            # The newest of them has ended; the one that the server has did not.
            self.assertEqual(licences.shut_out(change, "other", YEAR), 1)
            text = licences.find(change.session, PROXY_ID).text
        licence = renew(read(first, PROXY_ID, NOW), text, NOW)
        self.assertEqual((licence.valid_until, len(licence.withdrawn)), (NOW + timedelta(days=400), 2))

    def test_usual_begin(self) -> None:
        """A licence begins an hour ago unless told otherwise: the server's clock may be behind."""
        order = operations.LicenceOrder(proxy_id=PROXY_ID, valid_until=NOW + YEAR)
        with self.change() as change:
            self.assertEqual(operations.issue.work(change, order).valid_from, NOW - authority.BACKDATED)
            self.assertEqual(operations.issue.work(change, attrs.evolve(order, valid_from=NOW)).valid_from, NOW)

    def test_later_begin(self) -> None:
        """Where the next licence is issued ahead, a client is shut out with one that is valid at once."""
        first = self.issue(days=100)
        with self.change() as change:
            ahead = {"valid_from": NOW + timedelta(days=90), "valid_until": NOW + timedelta(days=400)}
            licences.issue(change, PROXY_ID, **ahead, limits={})
            licences.shut_out(change, "inner", YEAR)
            text = licences.find(change.session, PROXY_ID).text
        self.assertEqual(len(renew(read(first, PROXY_ID, NOW), text, NOW).withdrawn), 1)

    def test_extended_too_far(self) -> None:
        """A licence is not extended beyond ten years; one that lasts longer already is signed anew all the same."""
        self.issue(days=3653)

        def extend() -> None:
            with self.change() as change:
                licences.extend(change, PROXY_ID, valid_until=NOW + timedelta(days=3654))

        self.assertIn("at most ten years", str(self.assertRaises(Unusable, extend)))
        with self.change() as change:
            row = licences.find(change.session, PROXY_ID)
            row.valid_until = NOW + timedelta(days=9999)
            self.assertEqual(licences.shut_out(change, "inner", YEAR), 1)

    def test_carried(self) -> None:
        """The newest licence of the only server travels in the configuration; with two servers none does."""
        self.issue()
        renewed = self.issue(days=700)
        self.assertEqual(self.document().server.licence, renewed)
        self.issue("f" * 64 + "px")
        self.assertIsNone(self.document().server.licence)

    def test_who_may_be_spoken_to(self) -> None:
        """Clients may speak to servers whose newest licence has not ended and was not withdrawn."""
        other = "f" * 64 + "px"
        self.issue(days=10)
        self.issue(other, days=100)
        with self.store.reading() as session:
            self.assertEqual(licences.licensed(session, NOW), [PROXY_ID, other])
            self.assertEqual(licences.licensed(session, NOW + timedelta(days=50)), [other])
        with self.change() as change:
            self.assertEqual(licences.withdraw(change, other), 1)
        with self.store.reading() as session:
            self.assertEqual(licences.licensed(session, NOW), [PROXY_ID])

    def test_not_issued(self) -> None:
        """A server without a licence can neither be shown nor withdrawn from."""
        with self.store.reading() as session:
            self.assertRaises(NotFound, licences.find, session, PROXY_ID)

        def withdraw() -> None:
            with self.change() as change:
                licences.withdraw(change, PROXY_ID)

        self.assertRaises(NotFound, withdraw)

    def test_told(self) -> None:
        """An issued licence is an event."""
        self.issue()
        (event,) = self.stored("licence.issued")
        self.assertEqual(event.fields["proxy_id"], PROXY_ID)

    def document(self) -> Configuration:
        """The configuration in force."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        return parse(found[1])
