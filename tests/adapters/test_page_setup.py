"""The set-up on the page: from a link to a site, an administrator, and each step to the first session."""

import re
from base64 import b64encode
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from twisted.internet.defer import Deferred, succeed

from smartproxy.backend import clients, journal, partners, settings, sightings, users
from smartproxy.backend.client_requests import CARRIED
from smartproxy.backend.first_start import PREFIX
from smartproxy.backend.operations import setup as operations
from smartproxy.backend.operations.partner import CODE_UNKNOWN
from smartproxy.backend.operations.setup import progress
from smartproxy.backend.page import setup
from smartproxy.backend.station_probe import Answer as Found
from smartproxy.logs.record import Record, read
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import TestCa
from tests.adapters.page_site import PASSWORD, Browser, PageCase
from tests.unit.sites import NOW, PROXY_ID

AT = HostPort("backend.example", 8443)


class FirstSteps(PageCase):
    """An empty store."""

    founded = False

    def setUp(self) -> None:
        """Hand out the link."""
        super().setUp()
        self.link = self.backstage.link.made(AT).removeprefix(f"https://{AT}")

    def come(self) -> Browser:
        """A browser that follows the link."""
        browser = self.browser()
        answer = browser.get(self.link)
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/first"))
        return browser

    def test_whole_way(self) -> None:
        """With the link alone: a site, an administrator who is logged in, and a link that is worth nothing any more."""
        browser = self.come()
        self.assertIn("Site and authority", browser.get("/first").body.decode())
        answer = browser.post("/first/site", {"site": "Muster GmbH", "names": "backend.example 192.0.2.10"})
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/first"))
        self.assertIn("Muster GmbH has its authority", browser.get("/first").body.decode())
        again = browser.post("/first/site", {"site": "Muster GmbH", "names": "backend.example 192.0.2.10"})
        self.assertEqual(again.headers["location"], "/first")
        fields = {"name": "alice", "password": PASSWORD, "again": PASSWORD}
        before = browser.cookies["__Host-smartproxy"]
        answer = browser.post("/first/administrator", fields)
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/setup"))
        self.assertNotEqual(browser.cookies["__Host-smartproxy"], before)
        page = browser.get("/setup").body.decode()
        self.assertIn("6 steps to the first file.", page)
        with self.store.reading() as session:
            self.assertEqual(
                [(row.name, row.entry.role) for row in users.listed(session)], [("alice", "administrator")]
            )
        self.assertEqual(self.browser().get(self.link).status, 403)
        self.assertEqual(self.browser().get("/first").headers["location"], "/login")
        self.assertEqual(self.told_of("page.login")[0]["names"], ["alice"])

    def test_interrupted(self) -> None:
        """What was done is not asked again: a later browser, with the link, is at the second step."""
        self.come_and_make()
        self.assertIn("First administrator", self.come().get("/first").body.decode())

    def come_and_make(self) -> Browser:
        """A browser that made the site."""
        browser = self.come()
        browser.get("/first")
        self.assertEqual(browser.post("/first/site", {"site": "Muster GmbH"}).status, 303)
        browser.get("/first")
        return browser

    def test_without_link(self) -> None:
        """Nobody else gets further than to the words about the link; nothing is made by forms alone."""
        stranger = self.browser()
        self.assertEqual(stranger.get("/").headers["location"], "/login")
        self.assertEqual(stranger.get("/login").headers["location"], "/first")
        self.assertIn("Open the link", stranger.get("/first").body.decode())
        stranger.get("/")
        for path in ("/first/site", "/first/administrator"):
            fields = {"site": "x", "name": "eve", "password": PASSWORD, "again": PASSWORD}
            self.assertEqual(stranger.post(path, fields).status, 403)
        with self.store.reading() as session:
            self.assertEqual(progress(session), operations.SiteProgress())

    def test_wrong_token(self) -> None:
        """A wrong token is refused and told; repeated, the answers take longer."""
        stranger = self.browser()
        for _ in range(5):
            self.assertEqual(stranger.get(f"/setup/{PREFIX}{'x' * 43}").status, 403)
        (told, *_) = self.told_of("page.refused")
        self.assertEqual((told["cause"], told["path"]), ("page.link", "/setup/..."))
        waiting = stranger.start("GET", f"/setup/{PREFIX}{'x' * 43}")
        self.agent.flush()
        self.assertNoResult(waiting)
        self.clock.advance(2)
        self.agent.flush()
        self.assertEqual(self.successResultOf(waiting).status, 403)
        self.assertTrue(self.told_of("page.refused"))

    def test_faults(self) -> None:
        """What cannot be done is said at the form, with what was typed, but not the password."""
        browser = self.come()
        browser.get("/first")
        answer = browser.post("/first/site", {"site": "Muster GmbH", "names": "no_host! b"})
        self.assertEqual(answer.status, 422)
        self.assertIn("neither a host name nor an IP address", answer.body.decode())
        self.assertIn('value="Muster GmbH"', answer.body.decode())
        browser = self.come_and_make()
        for password, again, words in (
            (PASSWORD, PASSWORD + "x", "not the same"),
            ("short", "short", "12 to 256 characters"),
        ):
            answer = browser.post("/first/administrator", {"name": "alice", "password": password, "again": again})
            self.assertEqual(answer.status, 422)
            self.assertIn(words, answer.body.decode())
            self.assertNotIn(f'"{password}"', answer.body.decode())

    def test_one_administrator(self) -> None:
        """The link makes one administrator: whoever comes second is refused, whatever both had opened."""
        first, second = self.come_and_make(), self.come()
        second.get("/first")
        for browser, name, status in ((first, "alice", 303), (second, "eve", 403)):
            fields = {"name": name, "password": PASSWORD, "again": PASSWORD}
            self.assertEqual(browser.post("/first/administrator", fields).status, status)
        with self.store.reading() as session:
            self.assertEqual([row.name for row in users.listed(session)], ["alice"])

    def test_elsewhere(self) -> None:
        """An administrator who was added with the command ends the link, and the page leads to the login."""
        browser = self.come_and_make()
        with self.change() as change:
            users.add(change, "alice", AdminRole.ADMINISTRATOR, PASSWORD)
        fields = {"name": "eve", "password": PASSWORD, "again": PASSWORD}
        answer = browser.post("/first/administrator", fields)
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/login"))
        self.assertEqual(browser.get("/login").status, 200)
        self.backstage.link.made(AT)
        self.assertEqual((self.browser().get("/login").status, self.backstage.link.open), (200, False))
        with self.store.reading() as session:
            self.assertEqual([row.name for row in users.listed(session)], ["alice"])


class GuidedSteps(PageCase):
    """A site with an administrator."""

    def setUp(self) -> None:
        """Log in."""
        super().setUp()
        self.alice = self.browser("alice")

    def page(self, step: str = "") -> str:
        """The set-up, with a step open."""
        return self.alice.get(f"/setup?step={step}").body.decode()

    def due(self) -> str:
        """The title of the step that is due."""
        found = re.search(r'<li class="now.*?<h2>(?:<a[^>]*>)?([^<]*)', self.page(), re.DOTALL)
        return found[1] if found else ""

    def carried(self, name: str, source: str = "server", **fields: Any) -> None:
        """Store an event as a client carries it."""
        document = {
            "name": name,
            "level": "info",
            "source": source,
            "time": "2026-11-20T12:00:00.000Z",
            "sequence": 1,
            **fields,
        }
        record: Record = read(document, CARRIED)
        with self.store.writing() as session:
            sightings.note(session, [record])
            journal.keep(session, [record], NOW, "inner")

    def test_only_administrators(self) -> None:
        """Whoever is less than an administrator does not see it."""
        for user in ("olga", "vera"):
            self.assertEqual(self.browser(user).get("/setup").status, 403)

    def test_station(self) -> None:
        """A station that greets is saved; what else is there is said, and saved only if that is wanted."""
        self.assertEqual(self.due(), "Station")
        asked: list[tuple[str, int]] = []

        def look(found: Found) -> Any:
            def looked(reactor: object, host: str, port: int) -> "Deferred[Found]":
                asked.append((host, port))
                return succeed(found)

            return patch.object(setup, "look", looked)

        fields = {"host": "192.0.2.20", "port": "3305"}
        with look(Found.REFUSED):
            answer = self.alice.post("/setup/step/station", fields)
            self.assertEqual(answer.status, 422)
            self.assertIn("nothing listens at this port", answer.body.decode())
            self.assertIn("Save all the same", answer.body.decode())
        self.assertEqual(self.due(), "Station")
        self.assertEqual(self.alice.post("/setup/step/station", {"host": "x", "port": "70000"}).status, 422)
        with look(Found.SSRM):
            self.assertEqual(self.alice.post("/setup/step/station", fields).status, 303)
        self.assertEqual(asked, [("192.0.2.20", 3305)] * 2)
        page = self.page()
        self.assertIn("An OFTP2 station answered: SSRM.", page)
        self.assertEqual(self.due(), "Certificate for partners")
        with look(Found.SILENT):
            self.assertEqual(
                self.alice.post("/setup/step/station", {**fields, "port": "3306", "anyhow": "yes"}).status, 303
            )
        self.assertIn("192.0.2.20:3306", re.sub("<[^>]*>", "", self.page()))

    def test_identity(self) -> None:
        """A PEM file with key and certificate is taken in; the key is never shown."""
        made = TestCa.root("Odette").issue("oftp.muster.example")
        pem = made.certificate_pem + made.key_pem
        self.alice.get("/setup?step=identity")
        answer = self.alice.upload("/setup/step/identity", {"password": ""}, {"file": ("main.pem", pem)})
        self.assertEqual(answer.status, 303, answer.body.decode())
        with self.store.reading() as session:
            self.assertEqual(progress(session).identity, "main")
        self.assertNotIn("PRIVATE KEY", self.page("identity"))
        answer = self.alice.upload("/setup/step/identity", {}, {"file": ("x.p12", b"garbage")})
        self.assertEqual(answer.status, 422)
        self.assertIn("x.p12", answer.body.decode())

    def issued(self) -> x509.Certificate:
        """Make a key here, save its request, and have a CA issue the certificate."""
        self.page("identity")
        fields = {"common_name": "oftp.muster.example", "organization": "Muster GmbH", "country": "de"}
        self.assertEqual(self.alice.post("/setup/step/request", fields).status, 303)
        saved = self.alice.get("/setup/file/smartproxy.csr")
        self.assertIn("attachment", saved.headers["content-disposition"])
        self.assertIn("BEGIN CERTIFICATE REQUEST", saved.body.decode())
        self.assertIn("Send this request to your CA", self.page("identity"))
        asked = x509.load_pem_x509_csr(saved.body)
        ca = TestCa.root("Odette").credential
        builder = x509.CertificateBuilder(subject_name=asked.subject, issuer_name=ca.certificate.subject)
        builder = builder.public_key(asked.public_key()).serial_number(7)
        builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=30))
        return builder.sign(ca.key, hashes.SHA256())

    def answer_request(self, name: str, octets: bytes) -> None:
        """Drop the CA's answer, which completes the request."""
        answer = self.alice.upload("/setup/step/identity", {}, {"file": (name, octets)})
        self.assertEqual(answer.status, 303, answer.body.decode())
        with self.store.reading() as session:
            self.assertEqual((progress(session).identity, progress(session).request), ("main", None))

    def test_request(self) -> None:
        """A key is made here, its request is saved, and the CA's answer completes it."""
        self.answer_request("main.pem", self.issued().public_bytes(Encoding.PEM))

    def test_answer_in_der(self) -> None:
        """A CA may answer in DER."""
        self.answer_request("main.cer", self.issued().public_bytes(Encoding.DER))

    def test_answer_in_pkcs7(self) -> None:
        """A CA may answer with PKCS#7 in DER."""
        self.answer_request("main.p7b", pkcs7.serialize_certificates([self.issued()], Encoding.DER))

    def test_answer_in_base64(self) -> None:
        """A CA may answer in base64 without PEM's edges, as a mail carries it."""
        self.answer_request("main.cer", b64encode(self.issued().public_bytes(Encoding.DER)))

    def test_answer_in_utf16(self) -> None:
        """A CA may answer in PEM that Windows saved in UTF-16."""
        self.answer_request("main.pem", self.issued().public_bytes(Encoding.PEM).decode("ascii").encode("utf-16"))

    def test_own_key_after_request(self) -> None:
        """While a request is out, a certificate with a key of its own is taken in all the same, saved in UTF-16 too."""
        self.issued()
        made = TestCa.root("Odette").issue("oftp.muster.example")
        pem = (made.certificate_pem + made.key_pem).decode("ascii").encode("utf-16")
        answer = self.alice.upload("/setup/step/identity", {}, {"file": ("main.pem", pem)})
        self.assertEqual(answer.status, 303, answer.body.decode())
        with self.store.reading() as session:
            self.assertEqual(progress(session).identity, "main")

    def test_licence(self) -> None:
        """A licence is signed for a Proxy ID, and can be saved as a file."""
        self.page("licence")
        for proxy_id, until in (
            ("x", "2027-12-31"),
            (PROXY_ID, "tomorrow"),
            (PROXY_ID, "2020-01-01"),
            (PROXY_ID, "9999-12-31"),
        ):
            self.assertEqual(self.alice.post("/setup/step/licence", {"proxy_id": proxy_id, "until": until}).status, 422)
        answer = self.alice.post("/setup/step/licence", {"proxy_id": f" {PROXY_ID}\n", "until": "2027-12-31"})
        self.assertEqual(answer.status, 303, answer.body.decode())
        saved = self.alice.get("/setup/file/smartproxy.lic")
        self.assertIn(PROXY_ID, saved.body.decode())

    def test_machines(self) -> None:
        """The token is shown once, in the command; each machine is ticked off when it appears."""
        self.page("machines")
        answer = self.alice.post("/setup/step/client")
        token = re.search(r"spc_[A-Za-z0-9_-]{43}", answer.body.decode())
        assert token is not None
        self.assertIn("--backend-pin", answer.body.decode())
        self.assertIn("-U https://backend.example:", answer.body.decode())
        self.assertNotIn(token[0], self.page("machines"))
        with self.store.reading() as session:
            row = clients.authenticate(session, token[0])
            assert row is not None
            self.assertEqual(row.name, "inner")
        live = self.alice.get("/setup/part/live?step=machines").body.decode()
        self.assertIn("for smartproxy-client to call", live)
        self.assertIn("for smartproxy-server, which", live)
        with self.store.writing() as session:
            clients.note_call(session, "inner", NOW, "0.1", "192.0.2.9")
        live = self.alice.get("/setup/part/live?step=machines").body.decode()
        self.assertIn("The client is there", live)
        self.assertIn("for smartproxy-server, which", live)
        until = (NOW + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.carried("licence.accepted", site="Muster GmbH", proxy_id=PROXY_ID, valid_until=until)
        self.assertIn("Next: first partner", self.alice.get("/setup/part/live?step=machines").body.decode())

    def test_partner(self) -> None:
        """A partner is added by its certificate alone; its code is taken over from the call that was refused."""
        pem = TestCa.root("ACME").credential.certificate_pem
        self.page("partner")
        answer = self.alice.upload("/setup/step/partner", {"name": "ACME", "code": ""}, {})
        self.assertEqual(answer.status, 422)
        answer = self.alice.upload("/setup/step/partner", {"name": "ACME", "code": ""}, {"certificate": ("a.pem", pem)})
        self.assertEqual(answer.status, 303, answer.body.decode())
        self.assertIn("for a call with this certificate", self.page("partner"))
        told = self.page("partner")
        self.assertNotIn(CODE_UNKNOWN, told)
        self.assertNotIn("usual form", told)
        self.assertEqual(self.alice.post("/setup/step/code").status, 422)
        self.carried("identity.refused", cause="identity.code", partner="ACME", code="O0013000001ACME")
        live = self.alice.get("/setup/part/live?step=partner").body.decode()
        self.assertIn("O0013000001ACME", live)
        self.assertEqual(self.alice.post("/setup/step/code").status, 303)
        with self.store.reading() as session:
            self.assertEqual(partners.find(session, "ACME").entry.codes, ("O0013000001ACME",))

    def test_newest_code(self) -> None:
        """Of several codes that calls presented, that of the last call is offered, also if another arrived later."""
        pem = TestCa.root("ACME").credential.certificate_pem
        self.alice.upload("/setup/step/partner", {"name": "ACME", "code": ""}, {"certificate": ("a.pem", pem)})
        for minute, code in ((30, "O0013LATER"), (0, "O0013EARLIER")):
            time = f"2026-11-20T12:{minute:02}:00.000Z"
            self.carried("identity.refused", time=time, cause="identity.code", partner="ACME", code=code)
        live = self.alice.get("/setup/part/live?step=partner").body.decode()
        self.assertIn("O0013LATER", live)
        self.assertNotIn("O0013EARLIER", live)

    def test_doubtful_partner(self) -> None:
        """What its certificate leaves to be doubted is said, also while its code is not known."""
        pem = TestCa.root("ACME").issue_for_mail("x").certificate_pem
        answer = self.alice.upload("/setup/step/partner", {"name": "ACME", "code": ""}, {"certificate": ("a.pem", pem)})
        self.assertEqual(answer.status, 303, answer.body.decode())
        told = self.page("partner")
        self.assertIn("neither for TLS clients nor for servers", told)
        self.assertNotIn("usual form", told)

    def test_ports(self) -> None:
        """The ports that partners call are those that servers listen at."""
        self.assertIn("your server at port 6619 over TLS", self.page("session"))
        listeners = [
            {"address": each, "port": port} for each, port in (("192.0.2.1", 6700), ("::1", 6700), ("::", 443))
        ]
        with self.change() as change:
            settings.put(change, settings.LISTENERS, listeners)
        page = self.page("session")
        self.assertIn("your server at port 6700, 443 over TLS", page)
        self.assertIn("does not let port 6700, 443 through", page)
        self.assertNotIn("6619", page)

    def test_session(self) -> None:
        """Waiting turns into the session; then nothing is due."""
        self.assertIn("for the first session", self.alice.get("/setup/part/live?step=session").body.decode())
        self.carried(
            "session.started", partner="ACME", session="231696ddd5473c29", code="O0013000001ACME", peer="192.0.2.7:1"
        )
        live = self.alice.get("/setup/part/live?step=session").body.decode()
        self.assertIn("A session began", live)
        self.assertIn("231696ddd5473c29", live)

    def test_roles(self) -> None:
        """An administrator is known as one; others are none."""
        with self.store.reading() as session:
            self.assertTrue(users.any_administrator(session))
        with self.change() as change:
            users.remove(change, "alice")
        with self.store.reading() as session:
            self.assertFalse(users.any_administrator(session))
            self.assertEqual({row.entry.role for row in users.listed(session)}, {AdminRole.OPERATOR, AdminRole.VIEWER})
