"""Partners on the page: found, added by dropping a certificate, changed by two at once, removed, tested."""

import html
import json
import re
from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.errors import ChangeRefused, CodeTaken
from smartproxy.backend.generations import newest_number
from smartproxy.backend.operations import partner as operations
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.partner_views import PartnerSearch, PartnerState, search
from smartproxy.backend.operations.performing import ANYHOW, Terms, perform
from smartproxy.backend.operations.shapes import Named
from smartproxy.backend.page.partners import STEP_WORDS
from smartproxy.backend.page.visit import PageVisit
from smartproxy.backend.partners import pinned
from smartproxy.backend.schema import EventRow, PartnerRow
from smartproxy.backend.sighting_tables import ProposalRow, SeenCertificateRow
from smartproxy.policy import limits
from smartproxy.policy.faults import Step
from smartproxy.policy.partners import CertificatePin, Partner
from smartproxy.policy.schema import write_object
from smartproxy.testing.pki import TestCa, self_signed
from tests.adapters.api_site import Answer
from tests.adapters.page_site import Browser, PageCase
from tests.unit.sites import NOW, PIN

ROOT = Caller(name="root", scopes=frozenset("*"))
CODE = "O0013000001ACME"


class PartnerCase(PageCase):
    """A test with a partner, ACME, and alice's browser."""

    def setUp(self) -> None:
        """Add it."""
        super().setUp()
        self.add("ACME", CODE, PIN)
        self.alice = self.browser("alice")

    def add(self, name: str, code: str, pin: str) -> None:
        """Add a partner."""
        entry = {"name": name, "codes": (code,), "certificates": (CertificatePin(sha256=pin),)}
        perform(self.store, operations.add, operations.PartnerAddition(partner=entry), ROOT, NOW)

    def entry(self, name: str = "ACME") -> Partner:
        """A partner's entry."""
        return perform(self.store, operations.show, Named(name=name), ROOT, NOW).answer.partner

    def seen(self, name: str, sha256: str, subject: str = "CN=x") -> None:
        """Note that a partner had a session with a certificate."""
        with self.store.writing() as session:
            session.add(
                SeenCertificateRow(
                    partner=name,
                    sha256=sha256,
                    subject=subject,
                    issuer="CN=ca",
                    serial="1f",
                    crl_points=[],
                    not_after=NOW + timedelta(days=10),
                    first_seen=NOW - timedelta(days=100),
                    last_seen=NOW,
                    proved=NOW,
                )
            )

    def text(self, answer: Answer) -> str:
        """The text of a page."""
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode().replace("<wbr>", ""))))

    def form(self, browser: Browser, path: str = "/partners/ACME/change") -> dict[str, object]:
        """Open a form; what it would send as it is."""
        text = browser.get(path).body.decode()
        found: dict[str, object] = dict(re.findall(r'<input[^>]*name="([a-z_]+)"[^>]*value="([^"]*)"', text))
        found |= dict(re.findall(r'<textarea[^>]*name="([a-z_]+)"[^>]*>([^<]*)<', text))
        for name, choices in re.findall(r'<select[^>]*name="([a-z_]+)"[^>]*>(.*?)</select>', text, re.DOTALL):
            chosen = re.search(r'value="([^"]*)" selected', choices)
            found[name] = chosen[1] if chosen else ""
        return {name: html.unescape(str(value)) for name, value in found.items() if name != "csrf"}


class Lists(PartnerCase):
    """The list."""

    def test_found(self) -> None:
        """A partner is found by a part of its name, of a code, and of what stands in a certificate; others are not."""
        self.add("BOLT & Söhne", "O0013000002BOLT", "cd" * 32)
        self.seen("BOLT & Söhne", "cd" * 32, "CN=edi.bolt.example")
        for word, names in (
            ("acm", ["ACME"]),
            ("söhne", ["BOLT & Söhne"]),
            ("O0013", ["ACME", "BOLT & Söhne"]),
            ("edi.bolt", ["BOLT & Söhne"]),
            ("cdcdcd", ["BOLT & Söhne"]),
            ("%", []),
        ):
            found = perform(self.store, search, PartnerSearch(word=word), ROOT, NOW).answer
            self.assertEqual(([each.name for each in found.items], found.count), (names, len(names)), word)
        shown = self.alice.get("/partners?q=s%C3%B6hne").body.decode()
        self.assertIn('href="/partners/BOLT%20%26%20S%C3%B6hne"', shown)
        self.assertNotIn(CODE, shown)

    def test_any_letters(self) -> None:
        """Letters of every language are found in either case, and no partner by what fields are called."""
        for number, name in enumerate(("Müller", "MÜLLER & Co")):
            self.add(name, f"O001300000{number}X", f"{number:064x}")
        self.seen("ACME", "ef" * 32, "CN=Gebrüder Groß")
        for word, names in (
            ("müller", ["Müller", "MÜLLER & Co"]),
            ("ÜLL", ["Müller", "MÜLLER & Co"]),
            ("gebrÜder", ["ACME"]),
            ("enabled", []),
            ("subject", []),
            ("sha256", []),
        ):
            found = perform(self.store, search, PartnerSearch(word=word), ROOT, NOW).answer.items
            self.assertEqual([each.name for each in found], names, word)

    def test_states(self) -> None:
        """Partners are found by their state."""
        self.add("BOLT", "O0013000002BOLT", "cd" * 32)
        perform(self.store, operations.disable, Named(name="BOLT"), ROOT, NOW)
        self.seen("ACME", PIN)
        for state, names in (
            (PartnerState.ENABLED, ["ACME"]),
            (PartnerState.DISABLED, ["BOLT"]),
            (PartnerState.NEVER_SEEN, ["BOLT"]),
            (PartnerState.PROPOSED, []),
        ):
            found = perform(self.store, search, PartnerSearch(state=state), ROOT, NOW).answer.items
            self.assertEqual([each.name for each in found], names, state)
        (acme,) = perform(self.store, search, PartnerSearch(word="ACME"), ROOT, NOW).answer.items
        self.assertEqual((acme.last_session, acme.ends), (NOW, NOW + timedelta(days=10)))

    def test_empty(self) -> None:
        """A list without anything says whether nothing fits, or nothing is there yet; all states are no condition."""
        for query in ("q=nobody", "state=disabled"):
            self.assertIn("No partner fits", self.text(self.alice.get(f"/partners?{query}")), query)
        self.alice.post("/partners/ACME/remove", {"typed": "ACME"})
        for query in ("", "state=all", "q=&state=all"):
            self.assertIn("There is no partner yet", self.text(self.alice.get(f"/partners?{query}")), query)

    def test_order(self) -> None:
        """Partners stand where people look for them, whatever the case of their names, on each part of the list."""
        for number, name in enumerate(("bolt", "Caro", "acme 2", "BOLT")):
            self.add(name, f"O001300000{number}X", f"{number:064x}")
        found: list[str] = []
        after: str | None = None
        while not found or after is not None:
            part = perform(self.store, search, PartnerSearch(after=after, limit=2), ROOT, NOW).answer
            found, after = [*found, *(each.name for each in part.items)], part.next
        self.assertEqual(found, ["ACME", "acme 2", "BOLT", "bolt", "Caro"])

    def test_parts(self) -> None:
        """A long list comes in parts, and keeps what was looked for."""
        with self.store.writing() as session:
            for number in range(60):
                name = f"P{number:03}"
                rule = CertificatePin(sha256=f"{number:064x}")
                session.add(
                    PartnerRow(name=name, entry=Partner(name=name, codes=(name,), certificates=(rule,)), notes=())
                )
        first = self.alice.get("/partners?q=P0&state=enabled").body.decode()
        self.assertIn("60 partners", first)
        place = re.search(r'class="more"><a[^>]*href="([^"]+)"', first)
        assert place is not None
        second = self.alice.get(html.unescape(place[1])).body.decode()
        self.assertEqual(
            (">P049<" in first, ">P050<" in first, ">P049<" in second, ">P059<" in second), (True, False, False, True)
        )

    def test_what_to_do(self) -> None:
        """A list in which nothing is says what to do, to those who may do it."""
        self.assertIn("Show all partners", self.alice.get("/partners?q=nobody").body.decode())
        perform(self.store, operations.remove, Named(name="ACME"), ROOT, NOW)
        self.assertIn("Add the first partner", self.alice.get("/partners").body.decode())
        self.assertNotIn("Add the first partner", self.browser("vera").get("/partners").body.decode())


class Additions(PartnerCase):
    """A partner is added."""

    def test_dropped(self) -> None:
        """A certificate is dropped: what stands in it and what would be is shown; then the partner is there with it."""
        dropped = self_signed("bolt.example", serial_number="O0013000002BOLT")
        file = {"file": ("bolt.pem", dropped.certificate_pem)}
        self.alice.get("/partners/+new")
        # The code is taken over from the certificate.
        checked = self.alice.upload("/partners/+new", {"name": "BOLT", "codes": ""}, file)
        text = self.text(checked)
        for word in ("Add BOLT?", "CN=bolt.example", dropped.sha256, "O0013000002BOLT", "Nobody who is admitted today"):
            self.assertIn(word, text)
        self.assertEqual(perform(self.store, search, PartnerSearch(word="BOLT"), ROOT, NOW).answer.count, 0)
        sent = dict(re.findall(r'type="hidden" name="([a-z_]+)" value="([^"]*)"', checked.body.decode()))
        sent = {name: html.unescape(value) for name, value in sent.items()}
        done = self.alice.post("/partners/+new", {**sent, "step": "do", "comment": "asked by mail"})
        self.assertEqual((done.status, done.headers["location"]), (303, "/partners/BOLT"))
        entry = self.entry("BOLT")
        self.assertEqual(entry.codes, ("O0013000002BOLT",))
        self.assertEqual(entry.certificates, (CertificatePin(sha256=dropped.sha256),))

    def test_faults(self) -> None:
        """What is wrong stands beside its field; what was typed stays; nothing is added."""
        for files, fields, words in (
            ({}, {"name": "BOLT", "codes": "X"}, ["Drop the partner's certificate"]),
            ({"file": ("x.pem", b"nonsense")}, {"name": "BOLT", "codes": "X"}, ["no readable certificate"]),
            ({"file": ("x.pem", b"nonsense")}, {"name": "", "codes": ""}, ["SSIDCODE.", "is empty"]),
            ({}, {"name": "BOLT", "codes": "ümlaut", "ca": "none"}, ["printable ASCII"]),
        ):
            self.alice.get("/partners/+new")
            answer = self.alice.upload("/partners/+new", fields, files)
            for word in words:
                self.assertIn(word, self.text(answer))
            self.assertEqual(answer.status, 422)
            self.assertIn(f'value="{fields["name"]}"', answer.body.decode())

    def test_refused_as_a_whole(self) -> None:
        """What the operation refuses is shown above the form, which keeps the certificate."""
        dropped = self_signed("bolt.example")
        self.alice.get("/partners/+new")
        answer = self.alice.upload(
            "/partners/+new", {"name": "ACME", "codes": "O0013000002BOLT"}, {"file": ("a.pem", dropped.certificate_pem)}
        )
        self.assertEqual(answer.status, 422)
        self.assertIn("there is a partner 'ACME' already", self.text(answer))
        self.assertIn('name="pem"', answer.body.decode())

    def test_taken_code(self) -> None:
        """Who gives a partner a code that another one has is told whose it is, beside the field."""
        pem = self_signed("bolt.example").certificate_pem.decode()
        for name, language, told in (
            ("AAA", "en", "This code belongs to ACME already."),
            ("ZZZ", "de", "Dieser Code gehört schon zu ACME."),
        ):
            fields = {"name": name, "codes": CODE, "pem": pem}
            answer = self.alice.post("/partners/+new", fields, Accept_Language=language)
            self.assertEqual((answer.status, told in self.text(answer)), (422, True), name)
            self.assertRegex(
                answer.body.decode(), r'<p class="fault" id="x-codes">[^<]*<span[^>]*>[^<]*</span> (This|Dieser)'
            )
        self.add("AAA", "O0013000009AAA", "cd" * 32)
        wanted = operations.PartnerAlteration(name="AAA", partner={"codes": (CODE,)})
        refused = self.assertRaises(CodeTaken, perform, self.store, operations.alter, wanted, ROOT, NOW)
        self.assertEqual((refused.owner, str(refused)[:23]), ("ACME", "partner AAA, codes[0]: "))
        rules = operations.RuleAddition(name="AAA", rules=(CertificatePin(sha256=PIN),))
        told = str(self.assertRaises(ChangeRefused, perform, self.store, operations.add_rules, rules, ROOT, NOW))
        self.assertIn("partner AAA, certificates[1]: this certificate rule is already used at partner ACME", told)


class Alterations(PartnerCase):
    """A partner is changed."""

    def test_fields_explain_themselves(self) -> None:
        """Each field has what is declared of it: help, range and default; in the reader's language."""
        text = self.text(self.alice.get("/partners/ACME/change"))
        self.assertIn("Lowest OFTP release level that the partner may offer.", text)
        self.assertIn("Default: either.", text)
        german = self.text(self.alice.get("/partners/ACME/calls", Accept_Language="de"))
        self.assertIn("1 bis 65535", german)

    def test_change(self) -> None:
        """A change is shown with its difference and whom it refuses before it is made; the history has the reason."""
        fields = self.form(self.alice) | {"lowest_level": "1", "authentication": "required"}
        checked = self.alice.post("/partners/ACME/change", fields)
        text = self.text(checked)
        for word in ("Change ACME?", "lowest level", "authentication", "either", "required", "This refuses"):
            self.assertIn(word, text)
        self.assertEqual(self.entry().authentication.value, "either")
        done = self.alice.post("/partners/ACME/change", {**fields, "step": "do", "comment": "agreed"})
        self.assertEqual(done.headers["location"], "/partners/ACME")
        self.assertEqual((self.entry().lowest_level.value, self.entry().authentication.value), (1, "required"))
        self.assertEqual(self.entry().codes, (CODE,))

    def test_conflict(self) -> None:
        """Two administrators change one partner: the second is shown what the first did, and loses nothing."""
        mine = self.form(self.alice) | {"authentication": "required"}
        other = self.browser("olga")
        others = self.form(other) | {"codes": f"{CODE}\n{CODE}2"}
        self.assertEqual(other.post("/partners/ACME/change", {**others, "step": "do"}).status, 303)
        for step in ("check", "do"):
            answer = self.alice.post("/partners/ACME/change", {**mine, "step": step})
            self.assertEqual(answer.status, 409)
            text = answer.body.decode()
            self.assertIn("olga changed ACME meanwhile.", text)
            self.assertRegex(text, r"<time[^>]*>2026-11-20 12:00 UTC</time> · <a href=\"/history/[0-9]+\">Generation")
            self.assertIn(f"<ins>{CODE}\n{CODE}2</ins>", text)
            # What was typed is still chosen, on top of what the other did.
            self.assertRegex(text, r'value="required" selected')
            self.assertIn(f"{CODE}\n{CODE}2</textarea>", text)
        self.assertEqual(self.entry().authentication.value, "either")

    def test_conflict_at_the_last_moment(self) -> None:
        """A change of another one that comes between the look and the change is noticed, too."""
        base = self.entry()
        fields = self.form(self.alice) | {"authentication": "required", "step": "do"}
        call_as = PageVisit.call_as

        async def late(visit: PageVisit, caller: Caller, operation: Any, wanted: Any, terms: Terms = ANYHOW) -> Any:
            if operation is operations.alter:
                perform(self.store, operations.disable, Named(name="ACME"), ROOT, NOW)
            return await call_as(visit, caller, operation, wanted, terms)

        self.patch(PageVisit, "call_as", late)
        answer = self.alice.post("/partners/ACME/change", fields)
        self.assertEqual(answer.status, 409)
        self.assertIn(f"{ROOT.name} changed ACME meanwhile.", self.text(answer))
        self.assertEqual(self.entry().authentication, base.authentication)

    def test_conflict_with_oneself(self) -> None:
        """Whoever has two windows open is told so, and not that somebody else was there."""
        old = self.form(self.alice) | {"authentication": "required"}
        self.alice.post("/partners/ACME/change", {**self.form(self.alice), "codes": f"{CODE}\n{CODE}2", "step": "do"})
        told = self.text(self.alice.post("/partners/ACME/change", {**old, "step": "do"}))
        self.assertIn("You changed ACME meanwhile, in another window or in another way.", told)

    def test_sent_twice(self) -> None:
        """What is sent a second time is in force already: it makes no generation, and leaves the first to be undone."""
        fields = self.form(self.alice) | {"authentication": "required", "step": "do"}
        for path, sent in (("change", fields), ("disable", {"step": "do"}), ("enable", {"step": "do"})):
            self.assertEqual(self.alice.post(f"/partners/ACME/{path}", sent).status, 303, path)
            before = self.newest()
            self.assertEqual(self.alice.post(f"/partners/ACME/{path}", sent).status, 303, path)
            self.assertIn("It is so already.", self.text(self.alice.get("/partners/ACME")), path)
            self.assertEqual(self.newest(), before, path)
        self.assertEqual(self.alice.post(f"/history/{before}/undo").status, 303)
        self.assertFalse(self.entry().enabled)

    def test_never_called(self) -> None:
        """A partner that was never called is not told to be called no more."""
        before = self.newest()
        self.assertEqual(self.alice.post("/partners/ACME/never").status, 303)
        text = self.text(self.alice.get("/partners/ACME"))
        self.assertEqual(("not called any more" in text, "It is so already." in text), (False, True))
        self.assertEqual(self.newest(), before)

    def newest(self) -> int:
        """The number of the newest generation."""
        with self.store.reading() as session:
            return newest_number(session)

    def test_overlong_reason(self) -> None:
        """A reason that is longer than the history takes is refused with the bound, as on every page; never cut."""
        fields = self.form(self.alice) | {"authentication": "required", "step": "do"}
        answer = self.alice.post(
            "/partners/ACME/change", {**fields, "comment": "why " * limits.COMMENT_CHARACTERS_MOST}
        )
        self.assertEqual(answer.status, 422)
        self.assertIn(f"has to have between 1 and {limits.COMMENT_CHARACTERS_MOST}", self.text(answer))
        self.assertEqual(self.entry().authentication.value, "either")

    def test_undo(self) -> None:
        """What was just changed is taken back by one button, by whoever may change it, until something comes after."""
        fields = self.form(self.alice) | {"authentication": "required", "step": "do"}
        olga = self.browser("olga")
        olga.get("/")
        self.assertEqual(olga.post("/partners/ACME/change", fields).status, 303)
        offered = re.search(r'action="(/history/[0-9]+/undo)"', olga.get("/partners/ACME").body.decode())
        assert offered is not None
        self.assertNotIn("/undo", olga.get("/partners/ACME").body.decode())
        self.assertEqual(self.browser("vera").post(offered[1]).status, 403)
        done = olga.post(offered[1], {"next": "/partners/ACME"})
        self.assertEqual((done.status, done.headers["location"]), (303, "/partners"))
        self.assertEqual(self.entry().authentication.value, "either")
        self.assertIn("Undone: all is as it was in generation", self.text(olga.get("/partners")))
        late = self.alice.post(offered[1], {"next": "/partners/ACME"})
        self.assertEqual(late.status, 409)
        self.assertIn("olga changed it at", self.text(late))

    def test_tampered(self) -> None:
        """A form whose entry was tampered with changes nothing."""
        fields = self.form(self.alice) | {"authentication": "required", "step": "do"}
        for base in ("", "{}", "[" * 100_000, json.dumps({**write_object(self.entry()), "enabled": False})):
            self.assertIn(self.alice.post("/partners/ACME/change", {**fields, "base": base}).status, (400, 409))
        self.assertEqual(self.entry().authentication.value, "either")

    def test_nothing_changed(self) -> None:
        """What is not changed makes no generation."""
        before = self.stored("configuration.changed")
        self.alice.post("/partners/ACME/change", {**self.form(self.alice), "step": "do"})
        self.assertEqual(len(self.stored("configuration.changed")), len(before))

    def test_calls(self) -> None:
        """How a partner is called is set, with a fault beside its field, and taken back."""
        wrong = self.form(self.alice, "/partners/ACME/calls") | {"host": "oftp.acme.example", "port": "x"}
        answer = self.alice.post("/partners/ACME/calls", wrong)
        self.assertEqual((answer.status, "a number of" in self.text(answer)), (422, True))
        mine = self_signed("oftp.muster.example")
        file = {"file": ("main.pem", mine.certificate_pem + mine.key_pem)}
        self.alice.upload("/certificates/identities", {"name": "main"}, file)
        shown = self.alice.get("/partners/ACME/calls").body.decode()
        for name, first in (("ca", "any"), ("identity", "the first")):
            self.assertRegex(shown, rf'<select [^>]*name="{name}"[^>]*>\s*<option value=""[^>]*>{first}</option>')
        self.assertRegex(shown, '<option value="main"[^>]*>main</option>')
        good = {**wrong, "port": "6619", "verify": "pin", "identity": "main", "step": "do"}
        self.assertEqual(self.alice.post("/partners/ACME/calls", good).status, 303)
        outbound = self.entry().outbound
        told = outbound and (outbound.address, outbound.verify.value, outbound.identity)
        self.assertEqual(told, ("oftp.acme.example:6619", "pin", "main"))
        self.assertRegex(self.alice.get("/partners/ACME").body.decode(), "<dt[^>]*>CA</dt>")
        self.assertIn("oftp.acme.example", self.text(self.alice.get("/partners/ACME")))
        self.alice.post("/partners/ACME/never")
        self.assertIsNone(self.entry().outbound)

    def test_enabled(self) -> None:
        """A partner is disabled and enabled by buttons that first say what they change, and whom they refuse."""
        asked = self.text(self.alice.post("/partners/ACME/disable"))
        self.assertIn("Let ACME connect and be called no more?", asked)
        self.assertIn("This refuses what is admitted today: ACME:", asked)
        self.assertTrue(self.entry().enabled)
        self.alice.post("/partners/ACME/disable", {"step": "do"})
        self.assertIn("ACME is disabled", self.text(self.alice.get("/partners/ACME")))
        self.assertIn("Let ACME connect and be called again?", self.text(self.alice.post("/partners/ACME/enable")))
        self.assertFalse(self.entry().enabled)
        self.alice.post("/partners/ACME/enable", {"step": "do"})
        self.assertTrue(self.entry().enabled)

    def test_removed(self) -> None:
        """A partner is removed when its name is typed, after it was shown whom that refuses."""
        self.assertIn("it is no partner any more", self.text(self.alice.get("/partners/ACME/remove")))
        answer = self.alice.post("/partners/ACME/remove", {"typed": "acme"})
        self.assertEqual((answer.status, "exactly as it is written" in self.text(answer)), (422, True))
        self.assertEqual(self.alice.post("/partners/ACME/remove", {"typed": "ACME"}).status, 303)
        self.assertEqual(self.alice.get("/partners/ACME").status, 404)

    def test_viewer(self) -> None:
        """A viewer sees everything and changes nothing, nor is a button shown that would."""
        vera = self.browser("vera")
        text = self.text(vera.get("/partners/ACME"))
        self.assertIn("What it may do", text)
        for word in ("Disable", "Remove", "Change"):
            self.assertNotIn(word, text)
        for path in ("change", "calls", "never", "disable", "remove", "certificates", "certificates/remove", "accept"):
            self.assertEqual(vera.post(f"/partners/ACME/{path}").status, 403, path)


class Certificates(PartnerCase):
    """A partner changes its certificate."""

    def test_change_over(self) -> None:
        """A second certificate is added beside the first, both on the line of time; the first is then removed."""
        new = self_signed("acme.example")
        shown = self.alice.upload("/partners/ACME/certificates", {}, {"file": ("new.pem", new.certificate_pem)})
        self.assertIn(new.sha256, self.text(shown))
        self.assertEqual(len(self.entry().certificates), 1)
        self.alice.post("/partners/ACME/certificates", {"pem": new.certificate_pem.decode(), "step": "do"})
        self.assertEqual(
            {each.sha256 for each in self.entry().certificates if isinstance(each, CertificatePin)}, {PIN, new.sha256}
        )
        self.assertIn('class="time-line wide"', self.alice.get("/partners/ACME").body.decode())
        asked = self.alice.post("/partners/ACME/certificates/remove", {"which": PIN})
        self.assertIn("its certificate is not recognized any more", self.text(asked))
        self.alice.post("/partners/ACME/certificates/remove", {"which": PIN, "step": "do"})
        self.assertEqual(self.entry().certificates, (CertificatePin(sha256=new.sha256),))

    def test_chain(self) -> None:
        """Of a file with a chain, in any order, the partner's own is shown, with the others, which are not needed."""
        issuing = TestCa.root("Root").intermediate("Issuing")
        own = issuing.issue("acme.example")
        chain = issuing.certificate_pem + own.certificate_pem
        shown = self.text(self.alice.upload("/partners/ACME/certificates", {}, {"file": ("new.pem", chain)}))
        self.assertIn(own.sha256, shown)
        self.assertRegex(shown, "in the same file.*Issuing.*not needed")

    def test_unusable(self) -> None:
        """What is no certificate is refused with its reason."""
        for files, word in (({}, "Choose the file"), ({"file": ("x", b"\x30\x82")}, "no readable certificate")):
            answer = self.alice.upload("/partners/ACME/certificates", {}, files)
            self.assertEqual((answer.status, word in self.text(answer)), (422, True))

    def test_proposal(self) -> None:
        """A new certificate is trusted or rejected by buttons that say first what that would do."""
        self.seen("ACME", PIN)
        with self.store.writing() as session:
            old = session.query(SeenCertificateRow).one()
            session.add(
                ProposalRow(
                    partner="ACME",
                    sha256="c2" * 32,
                    serial="4e770b",
                    not_after=NOW + timedelta(days=900),
                    cas="odette",
                    old=old.id,
                    first_seen=NOW,
                    last_seen=NOW,
                )
            )
        text = self.text(self.alice.get("/partners/ACME"))
        self.assertIn("ACME came with a new certificate", text)
        self.assertIn("c2" * 32, text)
        self.assertIn("ACME is refused with its new certificate; the old one still counts.", text)
        self.assertNotIn("ACME may connect.", text)
        overview = self.alice.get("/")
        self.assertIn("ACME is refused: it came with a new certificate.", self.text(overview))
        self.assertIn('href="/partners/ACME">Compare and decide', overview.body.decode())
        self.assertNotIn("All is well.", self.text(overview))
        german = self.browser("alice", **{"accept-language": "de"}).get("/").body.decode()
        self.assertIn('<p class="sentence">Vergleichen Sie dessen SHA-256 mit dem Partner', german)
        asked = self.alice.post("/partners/ACME/reject", {"sha256": "c2" * 32, "next": "/refusals"})
        told = self.text(asked)
        self.assertIn("Is this certificate not one of ACME?", told)
        self.assertIn("proposed as the next one of ACME rejected, and not proposed again", told)
        self.assertIn("Nobody who is admitted today would be refused.", told)
        self.assertIn('href="/refusals">Cancel', asked.body.decode())
        elsewhere = self.alice.post("/partners/ACME/reject", {"sha256": "c2" * 32, "next": "https://evil.example"})
        self.assertIn('href="/">Cancel', elsewhere.body.decode())
        self.assertIn("c2" * 32, self.text(self.alice.get("/partners/ACME")))
        done = self.alice.post("/partners/ACME/reject", {"sha256": "c2" * 32, "next": "/refusals", "step": "do"})
        self.assertEqual((done.status, done.headers["location"]), (303, "/refusals"))
        self.assertNotIn("c2" * 32, self.text(self.alice.get("/partners/ACME")))
        gone = self.alice.post("/partners/ACME/reject", {"sha256": "c2" * 32})
        self.assertEqual((gone.status, "not proposed any more" in self.text(gone)), (404, True))
        asked = self.alice.post("/partners/ACME/accept", {"sha256": "c2" * 32})
        self.assertIn("Recognize ACME by this certificate?", self.text(asked))
        self.assertNotIn(CertificatePin(sha256="c2" * 32), self.entry().certificates)
        self.alice.post("/partners/ACME/accept", {"sha256": "c2" * 32, "step": "do"})
        self.assertIn(CertificatePin(sha256="c2" * 32), self.entry().certificates)

    def test_hostile_certificate(self) -> None:
        """What a certificate says is shown with marks, and is no markup."""
        evil = self_signed("<script>\u202eevil\u2066")
        shown = self.alice.upload("/partners/ACME/certificates", {}, {"file": ("e.pem", evil.certificate_pem)})
        text = shown.body.decode()
        self.assertIn(r"&lt;script\&gt;\u202eevil\u2066", text)
        self.assertNotIn("\u202e", text)


class Steps(SynchronousTestCase):
    """The steps of a test call."""

    def test_words(self) -> None:
        """Each step that a call has is shown, with words of its own."""
        self.assertEqual(list(STEP_WORDS), list(Step))
        self.assertEqual(len(set(STEP_WORDS.values())), len(Step))


class Around(PartnerCase):
    """The partner's sheet, and the test of its connection."""

    def test_sheet(self) -> None:
        """The sheet is shown in both languages."""
        self.assertIn(CODE, self.text(self.alice.get("/partners/ACME/sheet?language=en")))
        self.assertIn("Zertifikat", self.text(self.alice.get("/partners/ACME/sheet?language=de")))

    def test_sheet_sent(self) -> None:
        """The sheet is loaded as a text in its language, and goes into a mail."""
        shown = self.alice.get("/partners/ACME/sheet?language=de").body.decode()
        self.assertIn('href="mailto:?subject=', shown)
        self.assertIn('href="/partners/ACME/sheet?as=text&amp;language=de"', shown)
        answer = self.alice.get("/partners/ACME/sheet?as=text&language=de")
        self.assertEqual(answer.headers["content-disposition"], 'attachment; filename="sheet.txt"')
        self.assertIn(CODE, answer.body.decode())
        self.assertNotIn("<", answer.body.decode())

    def test_tested(self) -> None:
        """A test shows its steps as soon as a result is there, and which one failed; who is never called has none."""
        refused = self.alice.post("/partners/ACME/test")
        self.assertEqual((refused.status, "ACME is never called" in self.text(refused)), (422, True))
        calls = {"host": "oftp.acme.example", "port": "6619", "verify": "pin", "step": "do"}
        self.alice.post("/partners/ACME/calls", self.form(self.alice, "/partners/ACME/calls") | calls)
        place = self.alice.post("/partners/ACME/test").headers["location"]
        session_id = place.rpartition("/")[2]
        self.assertIn('hx-trigger="every 1s"', self.alice.get(f"{place}/live").body.decode())
        with self.store.writing() as session:
            session.add(
                EventRow(
                    time=NOW,
                    received=NOW,
                    source="client",
                    name="outbound.failed",
                    level="warning",
                    session=session_id,
                    partner="ACME",
                    telling=True,
                    fields={"step": "connect", "message": "connection refused", "session": session_id},
                )
            )
        shown = self.alice.get(f"{place}/live").body.decode()
        self.assertNotIn("hx-trigger", shown)
        self.assertEqual(re.findall(r'<li class="([a-z]+)"', shown), ["good"] * 3 + ["bad"] + ["left"] * 2)
        self.assertIn("connection refused", shown)
        for name, number in (("ACME", "none"), ("ACME", "0" * 16), ("nope", session_id)):
            wrong = f"/partners/{name}/test/{number}"
            for path in (wrong, f"{wrong}/live"):
                self.assertEqual(self.alice.get(path).status, 404, path)

    def test_pinned_by_its_file(self) -> None:
        """What stands in a pinned certificate is known from its file."""
        known, note = pinned(self_signed("x").certificate)
        self.assertEqual(known.sha256, note.sha256)
