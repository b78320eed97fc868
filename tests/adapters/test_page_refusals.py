"""Refusals on the page: what is said of them, and the buttons that repair them."""

import html
import re
from datetime import timedelta
from typing import Any

from smartproxy.backend import settings, users
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.operations import ca as cas
from smartproxy.backend.operations import ignore
from smartproxy.backend.operations import partner as partners
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import Named, Nothing
from smartproxy.backend.page import overview
from smartproxy.backend.sighting_tables import CrlUrlRow
from smartproxy.policy.partners import CertificatePin, Partner
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import TestCa
from tests.adapters.api_site import Answer
from tests.adapters.page_site import words
from tests.adapters.test_page_partners import CODE, ROOT, PartnerCase
from tests.unit.samples import NAMED_HERE
from tests.unit.sites import NOW

NEW = "c2" * 32
URL = "http://crl.example/odette.crl"


class RefusalCase(PartnerCase):
    """A test with events of a server."""

    def setUp(self) -> None:
        """Begin with no event."""
        super().setUp()
        self.seconds = 0

    def tell(self, name: str, days: int = 0, **fields: Any) -> int:
        """A server tells an event; its number."""
        self.seconds += 1
        time = (NOW + timedelta(seconds=self.seconds - 1000, days=-days)).isoformat()
        event = {"name": name, "source": "server", "sequence": self.seconds, "time": time, **fields}
        self.assertEqual(ClientRequests(self.store).keep_events("inner", [event], NOW).refused, [])
        return max(each.number for each in self.stored(name))

    def unknown(self, **given: Any) -> int:
        """A caller comes with a certificate that nobody knows; the event's number."""
        usual = {"subject": "CN=oftp.acme.example", "certificate_sha256": NEW, "peer": "192.0.2.7:40001"}
        return self.tell(
            "certificate.refused",
            cause="certificate.no_partner",
            message="the certificate is assigned to no partner",
            issuer="CN=Odette CA 4",
            serial="4e770b",
            **{**usual, **given},
        )

    def twice(self, place: str, **fields: str) -> str:
        """Press a button, read what would be, and confirm it; what was shown."""
        self.alice.get("/")
        asked = self.alice.post(place, fields)
        self.assertEqual(asked.status, 200)
        done = self.alice.post(place, {**fields, "step": "do"})
        self.assertEqual((done.status, done.headers["location"]), (303, "/refusals"))
        return self.text(asked)


class Lists(RefusalCase):
    """The list."""

    def test_advice(self) -> None:
        """A refusal has a title, how often, since when, why, and numbered steps; the newest comes first."""
        for _ in range(2):
            self.tell("identity.refused", partner="ACME", cause="identity.code", message="not its code", code="O99")
        number = self.unknown()
        text = self.text(self.alice.get("/refusals"))
        for word in (
            "A caller that calls itself oftp.acme.example presents a certificate that nobody here knows",
            "ACME gives an SSIDCODE that is not its own",
            "2 times",
            "If the code is really the partner's, add it.",
        ):
            self.assertIn(word, text)
        self.assertLess(text.index("A caller that calls itself"), text.index("ACME gives"))
        self.assertIn(f'href="/refusals/{number}"', self.alice.get("/refusals").body.decode())

    def test_this_side(self) -> None:
        """Where the cause is on this side, the list and the refusal say what to do here, and have its buttons."""
        ours = self.tell("session.failed", partner="ACME", cause="station.refused", message="refused", advice="Look.")
        theirs = self.tell("session.ended", partner="BOLT", outcome="aborted", ended_by="partner", reason=99)
        for page in ("/refusals", f"/refusals/{ours}"):
            body = self.alice.get(page).body.decode()
            for word in ("See whether the station runs", "/overview/test-station", "/settings/client.station.host"):
                self.assertIn(word, body, page)
            self.assertNotIn("Nothing on this side", body)
        self.assertIn("Look.", self.text(self.alice.get(f"/refusals/{ours}")))
        text = self.text(self.alice.get(f"/refusals/{theirs}"))
        self.assertIn("Nothing on this side. Send the text below to the partner.", text)
        self.assertNotIn("/overview/test-station", self.browser("vera").get("/refusals").body.decode())

    def test_what_is_named_here(self) -> None:
        """The text for the partner has what it says is named here, in every language."""
        for key, (name, fields, named) in NAMED_HERE.items():
            number = self.tell(name, partner="ACME", peer="192.0.2.7:40001", **fields)
            body = html.unescape(self.alice.get(f"/refusals/{number}").body.decode())
            texts = re.findall("(?:named here|hier genannt).*?</blockquote", body, re.DOTALL)
            self.assertEqual(len(texts), 2, key)
            for word in named:
                fact = {"TLS alert bad": "lert bad", "ESID reason code": ": 04"}.get(word, word)
                for text in texts:
                    self.assertIn(fact, text, key)
            self.assertNotIn("alert the TLS alert", body)

    def test_overview(self) -> None:
        """The overview lists the newest causes, says how many there are, and leads to all of them."""
        self.unknown()
        self.assertNotIn("All of them", self.text(self.alice.get("/")))
        self.patch(overview, "_REFUSALS_SHOWN", 1)
        self.tell("session.ended", partner="BOLT", outcome="aborted", ended_by="partner", reason=99)
        shown = self.alice.get("/")
        self.assertIn("1 of 2 causes", self.text(shown))
        self.assertIn('href="/refusals">All of them', shown.body.decode())

    def test_different_certificates(self) -> None:
        """Each certificate of callers that nobody knows is reached, not only that of the one who came last."""
        first = self.unknown()
        self.assertNotIn("different certificates", self.text(self.alice.get("/refusals")))
        for port in (2, 3):
            peer = f"192.0.2.8:4000{port}"
            last = self.unknown(subject="CN=oftp.bolt.example", certificate_sha256="b" * 64, peer=peer)
        page = self.alice.get("/refusals")
        self.assertIn("The last 2 different certificates", self.text(page))
        linked = re.findall(r'<a href="/refusals/([0-9]+)">', page.body.decode())
        self.assertEqual([str(last), str(first)], linked)

    def test_strangers(self) -> None:
        """Callers without a certificate or TLS are told apart, and need nobody."""
        self.tell("handshake.failed", peer="198.51.100.9:7", cause="handshake.not_tls", message="no TLS")
        text = self.text(self.alice.get("/refusals"))
        self.assertIn("No partner was refused.", text)
        self.assertIn("Strangers 1 connection ", text)

    def test_which(self) -> None:
        """Those of one partner, and of some days."""
        self.tell("identity.refused", partner="ACME", cause="identity.code", message="x", days=10)
        self.assertNotIn("ACME gives", self.text(self.alice.get("/refusals")))
        self.assertIn("ACME gives", self.text(self.alice.get("/refusals?days=30")))
        self.assertNotIn("ACME gives", self.text(self.alice.get("/refusals?days=30&partner=BOLT")))
        self.assertEqual(self.alice.get("/refusals?days=x&partner=%00").status in (200, 400, 422), True)

    def beside(self, answer: Answer, field: str) -> str:
        """What is told beside a field that is marked as wrong."""
        found = re.search(
            rf'<(?:input|select) id="f-{field}"[^>]* aria-describedby="x-{field} " aria-invalid="true">(?s:.*?)'
            rf'<p class="fault" id="x-{field}">(.*?)</p>',
            answer.body.decode(),
        )
        self.assertIsNotNone(found, field)
        return "" if found is None else found[1]

    def test_wrong_filter(self) -> None:
        """Its fault is beside its field with what was typed, and nothing is listed, in every list."""
        self.tell("identity.refused", partner="ACME", cause="identity.code", message="x")
        for path, field, typed, fault in (
            ("/events", "since", "soon", "soon is no time"),
            ("/events", "until", "99999-01-01T00:00", "99999-01-01T00:00 is no time"),
            ("/events", "level", "loud", "has to be one of"),
            ("/events", "source", "moon", "has to be one of"),
            ("/sessions", "since", "yesterday", "yesterday is no time"),
            ("/sessions", "outcome", "odd", "has to be one of"),
            ("/sessions", "span", "2h", "has to be one of"),
            ("/refusals", "days", "8", "has to be one of 1, 7, 30"),
            ("/audit", "deed", "song", "has to be one of"),
            ("/partners", "state", "merry", "has to be one of"),
        ):
            with self.subTest(path=path, field=field):
                answer = self.alice.get(f"{path}?{field}={typed}")
                self.assertEqual(answer.status, 422)
                self.assertIn(fault, self.beside(answer, field))
                body = answer.body.decode()
                kept = f'<option value="{typed}" selected>' if "one of" in fault else f'value="{typed}"'
                self.assertIn(kept, body)
                self.assertIn("Nothing is listed: a filter is wrong", body)
                # A browser shows nothing of a time that is none in a field for times.
                self.assertIs(f'<input id="f-{field}" name="{field}" type="text"' in body, "no time" in fault)
                self.assertNotIn("No partner was refused", body)
        for place in ("/events", "/sessions"):
            span = self.alice.get(f"{place}?since=2026-11-20T10:00&until=2026-11-20T09:00")
            self.assertIn("It ends before it begins.", self.beside(span, "until"))
        for place in ("/sessions?before=x", f"/audit?before={'9' * 30}", "/partners?after=%01", "/events?before=-1"):
            answer = self.alice.get(place)
            told = "page number in the address is not valid" in self.text(answer)
            self.assertEqual((answer.status, told), (422, True), place)

    def test_misspelled(self) -> None:
        """A partner is found whatever the case of its name; one that is not there is never called well."""
        self.tell("identity.refused", partner="ACME", cause="identity.code", message="x")
        self.tell("session.ended", partner="ACME", session="a" * 16, outcome="lost", cause="session.lost", message="x")
        for path, there in (
            ("/refusals", "ACME gives"),
            ("/sessions", 'title="only this partner">'),
            ("/events", '<tr id="e'),
        ):
            found, missed = (self.alice.get(f"{path}?partner={typed}") for typed in ("acme", "ACMEE"))
            self.assertIn(there, found.body.decode(), path)
            self.assertNotIn("There is no partner", self.text(found), path)
            text = self.text(missed)
            self.assertIn('There is no partner "ACMEE". Did you mean ACME?', text, path)
            self.assertNotIn("No partner was refused", text, path)
            self.assertIn('<option value="ACME">', missed.body.decode(), path)
            self.assertIn('There is no partner "zz". ', self.text(self.alice.get(f"{path}?partner=zz")), path)

    def test_unprintable(self) -> None:
        """A filter that nothing can be found with leaves its page whole, which says what is wrong beside its field."""
        for path in ("/refusals?partner", "/sessions?partner", "/sessions?file", "/events?partner", "/partners?q"):
            for typed in ("%00", "a%0Ab", "x" * 200):
                answer = self.alice.get(f"{path}={typed}")
                field = path.partition("?")[2]
                fault = "has 200 characters; has to have" if typed.startswith("x") else "has control characters in it"
                self.assertEqual(answer.status, 422, (path, typed))
                self.assertIn("Nothing is listed", self.text(answer), (path, typed))
                self.assertIn(fault, self.beside(answer, field), (path, typed))
                self.assertIn('id="navigation"', answer.body.decode(), (path, typed))
        self.assertEqual(self.alice.get("/events/csv?partner=%00").status, 422)


class Repairs(RefusalCase):
    """What the buttons do."""

    def entry_of(self, name: str) -> Partner:
        """A partner's entry."""
        return perform(self.store, partners.show, Named(name=name), ROOT, NOW).answer.partner

    def test_trusted(self) -> None:
        """A certificate is chosen to be a partner's, and the partner is recognized by it from then on."""
        number = self.unknown()
        shown = self.alice.get(f"/refusals/{number}").body.decode()
        self.assertIn('<option value="ACME">', shown)
        self.assertIn(NEW, shown)
        text = self.twice(f"/refusals/{number}/trust", partner="ACME")
        self.assertIn("Recognize ACME by this certificate?", text)
        self.assertIn(CertificatePin(sha256=NEW), self.entry_of("ACME").certificates)

    def test_trusted_of_many(self) -> None:
        """Every partner can be chosen, however many there are; a name that is none is refused beside its field."""
        for number in range(210):
            self.add(f"P{number:03}", f"O0013{number:07}", f"{number:064x}")
        place = f"/refusals/{self.unknown()}"
        shown = self.alice.get(place).body.decode()
        for number in (0, 209):
            self.assertIn(f'<option value="P{number:03}">', shown)
        for typed, told in (("Q209", 'no partner "Q209". Did you mean P209?'), ("", "Type the partner's name.")):
            answer = self.alice.post(f"{place}/trust", {"partner": typed})
            self.assertEqual((answer.status, told in self.text(answer)), (422, True), typed)
        self.twice(f"{place}/trust", partner="p209")
        self.assertIn(CertificatePin(sha256=NEW), self.entry_of("P209").certificates)

    def test_code(self) -> None:
        """The code that a partner gave is added to its codes."""
        number = self.tell("identity.refused", partner="ACME", cause="identity.code", message="x", code="O0013NEW")
        self.assertIn("O0013NEW", self.twice(f"/refusals/{number}/code"))
        self.assertEqual(self.entry_of("ACME").codes, (CODE, "O0013NEW"))

    def test_purpose(self) -> None:
        """Certificates for servers are taken from a partner."""
        number = self.tell("certificate.refused", partner="ACME", cause="certificate.wrong_purpose", message="x")
        self.twice(f"/refusals/{number}/purpose")
        self.assertEqual(self.entry_of("ACME").purpose.value, "server_auth")

    def test_purpose_of_a_server(self) -> None:
        """Of a partner that was called, a certificate for servers is wanted, and one for clients can be allowed."""
        number = self.tell(
            "outbound.failed", partner="ACME", cause="certificate.wrong_purpose", message="x", step="tls", host="h"
        )
        for place in ("/refusals", f"/refusals/{number}"):
            text = self.text(self.alice.get(place))
            self.assertIn("The certificate of ACME is not made for TLS servers", text)
            self.assertIn("extended key usage serverAuth", text)
            self.assertNotIn("clientAuth", text)
        self.twice(f"/refusals/{number}/purpose")
        self.assertEqual(self.entry_of("ACME").purpose.value, "server_auth")

    def test_list(self) -> None:
        """The address of a list that certificates name is approved; another one is not."""
        pem = TestCa.root("odette").certificate_pem.decode()
        perform(self.store, cas.add, cas.CaAddition(name="odette", certificates=(pem,)), ROOT, NOW)
        with self.store.writing() as session:
            session.add(CrlUrlRow(ca="odette", url=URL, first_seen=NOW, last_seen=NOW))
        number = self.tell("certificate.refused", ca="odette", cause="certificate.revocation_missing", message="x")
        self.assertIn(URL, self.text(self.alice.get(f"/refusals/{number}")))
        self.assertEqual(self.alice.post(f"/refusals/{number}/list", {"url": "http://evil.example/x"}).status, 404)
        self.twice(f"/refusals/{number}/list", url=URL)
        self.assertEqual(perform(self.store, cas.show, Named(name="odette"), ROOT, NOW).answer.ca.lists, (URL,))

    def test_enabled(self) -> None:
        """The button that enables a partner shows what that changes, and does it then."""
        perform(self.store, partners.disable, Named(name="ACME"), ROOT, NOW)
        number = self.tell("certificate.refused", partner="ACME", cause="certificate.partner_disabled", message="x")
        self.assertIn("Enable ACME…", self.text(self.alice.get(f"/refusals/{number}")))
        asked = self.alice.post("/partners/ACME/enable", {"step": "check"})
        self.assertIn("Let ACME connect and be called again?", self.text(asked))
        self.assertFalse(self.entry_of("ACME").enabled)
        self.alice.post("/partners/ACME/enable", {"step": "do"})
        self.assertTrue(self.entry_of("ACME").enabled)

    def test_ignored(self) -> None:
        """What a certificate causes is silenced for some days."""
        number = self.unknown()
        self.twice(f"/refusals/{number}/ignore", days="7")
        self.assertIn(NEW, str([each.fields for each in self.stored()]))
        self.assertEqual(self.alice.post(f"/refusals/{number}/ignore", {"days": "9999"}).status, 404)
        self.twice(f"/refusals/{number}/ignore", days="30")
        (rule,) = perform(self.store, ignore.listed, Nothing(), ROOT, NOW).answer.items
        assert rule.rule.valid_until is not None
        self.assertGreater(rule.rule.valid_until, NOW + timedelta(days=29))

    def test_ignored_by_two(self) -> None:
        """Where two administrators have to want it, the second one's press an hour later is the same call."""
        with self.change() as change:
            settings.put(change, "backend.four_eyes", ["ignore.add"])
            users.alter(change, "olga", role=AdminRole.ADMINISTRATOR)
        number = self.unknown()
        path, fields = f"/refusals/{number}/ignore", {"days": "7", "step": "do"}
        self.assertIn("second administrator", words(self.alice.post(path, fields)))
        self.clock.advance(3600)
        olga = self.browser("olga")
        olga.get("/refusals")
        self.assertEqual(olga.post(path, fields).status, 303)
        (rule,) = perform(self.store, ignore.listed, Nothing(), ROOT, NOW).answer.items
        self.assertEqual(str(rule.rule.valid_until), "2026-11-27 23:59:59+00:00")

    def test_only_what_is_offered(self) -> None:
        """A button that a refusal does not offer does nothing, whatever is sent; nor does a viewer's."""
        number = self.tell("identity.refused", partner="ACME", cause="identity.level", message="x", code="O99")
        before = self.entry_of("ACME")
        for path in ("trust", "code", "purpose", "list", "ignore"):
            fields = {"partner": "ACME", "url": URL, "days": "7", "step": "do"}
            self.assertEqual(self.alice.post(f"/refusals/{number}/{path}", fields).status, 404, path)
        self.assertEqual(self.entry_of("ACME"), before)
        vera = self.browser("vera")
        self.assertEqual(vera.post(f"/refusals/{self.unknown()}/trust", {"partner": "ACME"}).status, 403)
        self.assertNotIn("Trust this certificate", self.text(vera.get(f"/refusals/{self.unknown()}")))
        for path in ("0", "x", "99999999999999999999999999"):
            self.assertIn(self.alice.get(f"/refusals/{path}").status, (404, 422), path)

    def test_removed_meanwhile(self) -> None:
        """The refusal of a partner that was removed since is still shown, without buttons for it."""
        number = self.tell("identity.refused", partner="ACME", cause="identity.code", message="x", code="O0013NEW")
        perform(self.store, partners.remove, Named(name="ACME"), ROOT, NOW)
        text = self.text(self.alice.get(f"/refusals/{number}"))
        self.assertIn("ACME gives an SSIDCODE", text)
        self.assertNotIn("Add the code", text)

    def test_text_for_the_partner(self) -> None:
        """There is a text for the partner in each language, with the certificate and without the inside."""
        number = self.unknown()
        text = html.unescape(self.alice.get(f"/refusals/{number}").body.decode())
        self.assertIn("Your certificate is valid, but not registered with us.", text)
        self.assertIn("Ihr Zertifikat ist gültig, aber bei uns nicht hinterlegt.", text)
        self.assertIn(f"Zertifikat: Seriennummer 4e770b, SHA-256 {NEW}", text)

    def test_hostile(self) -> None:
        """What a stranger chose is shown with marks, and is no markup."""
        number = self.tell(
            "certificate.refused",
            cause="certificate.no_partner",
            message="x",
            subject="CN=<img src=x onerror=alert(1)>\u202e",
            certificate_sha256=NEW,
        )
        for path in (f"/refusals/{number}", "/refusals"):
            text = self.alice.get(path).body.decode()
            self.assertNotIn("<img", text)
            self.assertNotIn("\u202e", text)


class Searches(RefusalCase):
    """The search."""

    def test_found(self) -> None:
        """One partner is shown at once; several are listed; a refused address leads to its refusal."""
        self.assertEqual(self.alice.get("/search?q=acme").headers["location"], "/partners/ACME")
        self.add("ACME 2", "O0013000002ACME", "cd" * 32)
        self.assertIn('href="/partners/ACME%202"', self.alice.get("/search?q=acme").body.decode())
        number = self.unknown()
        self.assertIn(f'href="/refusals/{number}"', self.alice.get("/search?q=192.0.2.7").body.decode())
        for word in ("0123456789abcdef", "0123456789ABCDEF"):
            self.assertIn('href="/sessions/0123456789abcdef"', self.alice.get(f"/search?q={word}").body.decode())

    def test_nothing(self) -> None:
        """What is not found is said, with what can be looked for."""
        for word in ("nobody", "", "%00", "192.0.2.99", "%F0%9F%98%80", "x" * 5000):
            answer = self.alice.get(f"/search?q={word}")
            self.assertEqual((answer.status, "beginning of a file's name" in self.text(answer)), (200, True), word)
