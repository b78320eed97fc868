"""Pages about the site: settings, certificates and lists, nodes, events, ignore rules, the event script, the audit."""

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from sqlalchemy import update

from smartproxy.backend import (
    cas,
    clients,
    identities,
    journal,
    licences,
    partners,
    revocation,
    settings,
    sightings,
    users,
)
from smartproxy.backend.alerts import ignore_rules, mail_tests
from smartproxy.backend.alerts.mail_tests import MailTests
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.operations.list_files import ListFile, ListsRead
from smartproxy.backend.page import events, left_messages
from smartproxy.backend.page.setting_texts import text_of
from smartproxy.backend.requests import LoadsTold
from smartproxy.backend.rounds import STORE_LOOK_SECONDS
from smartproxy.backend.store import Store
from smartproxy.backend.trail_tables import AuditRow
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.loads import ServerLoad, ToldLoad
from smartproxy.policy.partners import RevocationMode, SubjectRule
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import TestCa, self_signed
from tests.adapters.api_site import AtOnce
from tests.adapters.page_site import PASSWORD, Browser, PageCase, words
from tests.unit.sites import NOW, PROXY_ID
from tests.unit.test_backend_generations import ACME
from tests.unit.test_mail_desk import Mails


class SitePageCase(PageCase):
    """A test with an administrator's browser, and one of an auditor."""

    def setUp(self) -> None:
        """Log both in."""
        super().setUp()
        with self.change() as change:
            users.add(change, "adam", AdminRole.AUDITOR, PASSWORD)
        self.alice = self.browser("alice")

    def reads_only(self, page: str, action: str) -> None:
        """An auditor sees a page, and changes nothing by it."""
        auditor = self.browser("adam")
        self.assertEqual(auditor.get(page).status, 200)
        self.assertEqual(auditor.post(action).status, 403)

    def tell(self, name: str, source: str = "server", ago: int = 60, client: str = "inner", **fields: Any) -> None:
        """A daemon tells an event that happened some seconds ago; a client brings it."""
        self.sequence = getattr(self, "sequence", 0) + 1
        time = (NOW - timedelta(seconds=ago)).isoformat()
        event = {"name": name, "source": source, "sequence": self.sequence, "time": time, **fields}
        self.assertEqual(ClientRequests(self.store).keep_events(client, [event], NOW).refused, [])


class Settings(SitePageCase):
    """``/settings``."""

    NAME = "server.limits.sessions"

    def value(self) -> object:
        """What it is."""
        with self.store.reading() as session:
            return settings.value_of(session, self.NAME)

    def test_found(self) -> None:
        """All settings are there with default and range; they are found by what they are about."""
        with self.change() as change:
            settings.put(change, self.NAME, 700)
        page = words(self.alice.get("/settings"))
        for name in settings.defaults().keys() - settings.UNUSED:
            self.assertIn(name, page)
        self.assertIn("Most sessions at one server, of all partners. ● 700 2000 1 to 100000 sessions", page)
        self.assertIn("TCP/IP", page)
        found = words(self.alice.get("/settings?q=mail+port"))
        self.assertIn("backend.mail.port", found)
        self.assertNotIn("server.listeners", found)
        self.assertNotIn("backend.mail.port", words(self.alice.get("/settings?set=1")))
        self.assertIn("No setting has this in it.", words(self.alice.get("/settings?q=xyzzy")))
        self.reads_only("/settings", f"/settings/{self.NAME}")

    def test_told(self) -> None:
        """Of every setting the page says what it is."""
        self.assertEqual([name for name in settings.defaults() if not text_of(name)], [])

    def test_in_force(self) -> None:
        """When a change counts is told beside it: events are deleted hourly, and not at once."""
        page = words(self.alice.get("/settings?q=keep_events_days"))
        self.assertIn("Applies from the next look, within an hour.", page)
        self.assertNotIn("at once", page)

    def test_changed(self) -> None:
        """A change is shown first, with its difference, and made when its reader is sure; the default comes back."""
        shown = words(self.alice.post(f"/settings/{self.NAME}", {"value": "700"}))
        self.assertIn("Nothing is changed yet", shown)
        self.assertIn("2000 (the default) 700", shown)
        self.assertEqual(self.value(), 2000)
        fixed = words(self.alice.post(f"/settings/{self.NAME}", {"value": "2000"}))
        self.assertIn("2000 (the default) 2000", fixed)
        seen = self.seen({"value": "700"})
        sure = {"value": "700", "sure": "on", "seen": seen, "comment": "too many"}
        self.assertEqual(self.alice.post(f"/settings/{self.NAME}", sure).status, 303)
        self.assertEqual(self.value(), 700)
        self.assertIn(f"{self.NAME} is 700 from now on", words(self.alice.get("/settings")))
        same = words(self.alice.post(f"/settings/{self.NAME}", {"value": "700"}))
        self.assertIn(f"There is nothing to change. {self.NAME} is 700 already.", same)
        self.assertNotIn("Change it", same)
        self.assertIn("700 2000 (the default)", words(self.alice.post(f"/settings/{self.NAME}/reset", {"reset": "on"})))
        self.alice.post(f"/settings/{self.NAME}/reset", {"reset": "on", "sure": "on"})
        self.assertEqual(self.value(), 2000)

    def test_long(self) -> None:
        """What is too long to be told as a whole is told by its beginning, and can be undone."""
        for each in ("10.0.%d.0/24", "2001:db8:%x::/48"):
            networks = [each % number for number in range(1, 121)]
            fields = {"value": ", ".join(networks), "sure": "on"}
            self.assertEqual(self.alice.post("/settings/server.penalties.exempt", fields).status, 303)
            shown = self.alice.get("/settings")
            self.assertRegex(words(shown), f"server.penalties.exempt is .*{networks[0]}.*{networks[20]}.*… Undo")
            self.assertRegex(shown.body.decode(), 'action="/history/[0-9]+/undo"')

    def test_long_in_any_letters(self) -> None:
        """However many octets a character has in a cookie, the cookie is not too long, and is read again."""
        for text in ("x" * 5000, "ü " * 1000, "\U0001f512" * 700, '"\\' * 900, "short", "\ud800" * 10, ""):
            cookie = left_messages.left_by("good", text, "7")
            self.assertLessEqual(len(cookie), left_messages.COOKIE_OCTETS_MOST)
            told = left_messages.told_of(cookie)
            assert told is not None
            begins = told["text"].rstrip("…").replace("?", "\ud800")
            self.assertTrue(text.startswith(begins))
            self.assertIs(told["text"].endswith("…"), len(text) > 600)
            self.assertEqual(told["undo"], "7")

    def seen(self, fields: dict[str, str]) -> str:
        """The state that the page has shown with a change."""
        found = re.search(
            r'name="seen" value="([0-9a-f]+)"', self.alice.post(f"/settings/{self.NAME}", fields).body.decode()
        )
        assert found is not None
        return found[1]

    def test_conflict(self) -> None:
        """What somebody else changed meanwhile is not overwritten."""
        seen = self.seen({"value": "700"})
        with self.change() as change:
            settings.put(change, self.NAME, 900)
        answer = self.alice.post(f"/settings/{self.NAME}", {"value": "700", "sure": "on", "seen": seen})
        self.assertEqual(answer.status, 409)
        self.assertIn("You changed the settings meanwhile", words(answer))
        self.assertIn("2026-11-20 12:00 UTC · Generation", words(answer))
        self.assertIn('value="700"', answer.body.decode())
        self.assertEqual(self.value(), 900)

    def test_wrong(self) -> None:
        """A value that is none is refused beside its field; a program is not set from here."""
        for name, value, why in (
            (self.NAME, "many", "whole number"),
            (self.NAME, "0", "between 1 and"),
            ("backend.event_script.program", "/bin/true", "own machine only"),
        ):
            answer = self.alice.post(f"/settings/{name}", {"value": value, "sure": "on"})
            self.assertEqual((answer.status, why in words(answer)), (422, True), words(answer))
        self.assertEqual(self.alice.get("/settings/nothing").status, 404)


class Generations(SitePageCase):
    """``/history``."""

    def test_roll_back(self) -> None:
        """A generation shows what it changed; a roll-back says what it would do, and is done once it is confirmed."""
        with self.change("settings set server.limits.sessions 700") as change:
            settings.put(change, "server.limits.sessions", 700)
            number = change.generation
        page = words(self.alice.get("/history"))
        self.assertIn(f"Generation {number} is in force.", page)
        self.assertIn("settings set server.limits.sessions 700", page)
        self.assertIn("site: name", words(self.alice.get("/history/1")))
        self.assertIn("server.limits.sessions", words(self.alice.get(f"/history/{number}")))
        place = f"/history/{number - 1}/roll-back"
        plan = self.alice.get(place)
        self.assertIn("Nothing is changed yet", words(plan))
        self.assertIn("700", words(plan))
        back = {"newest": str(number), "typed": str(number - 1), "comment": "too early"}
        self.assertEqual(self.alice.post(place, {**back, "typed": "1"}).status, 422)
        late = self.alice.post(place, {**back, "newest": str(number - 1)})
        self.assertEqual(late.status, 409)
        self.assertIn("You changed the configuration meanwhile", words(late))
        self.reads_only(place, place)
        self.assertEqual(self.alice.post(place, back).status, 303)
        with self.store.reading() as session:
            self.assertEqual(settings.value_of(session, "server.limits.sessions"), 2000)
        self.assertIn("too early", words(self.alice.get("/history")))
        self.assertIn("There is nothing to roll back.", words(self.alice.get(f"/history/{number + 1}/roll-back")))
        for wrong in ("/history/0", "/history/99999", "/history/x", "/history/x/roll-back"):
            self.assertEqual(self.alice.get(wrong).status, 404, wrong)
        self.assertEqual(self.browser("vera").get("/history").status, 403)

    def test_undo(self) -> None:
        """Nobody undoes what it could not change, or alone where two decide; what cannot be brought back stays."""

        def made(name: str, value: object) -> int:
            with self.change() as change:
                settings.put(change, name, value)
                return change.generation

        number = made("server.limits.sessions", 700)
        refused = self.browser("olga").post(f"/history/{number}/undo")
        self.assertEqual((refused.status, "settings:change" in words(refused)), (403, True))
        two = made("backend.four_eyes", ["partner.accept"])
        self.assertIn("two administrators decide here", words(self.alice.post(f"/history/{two}/undo")))
        change = {"value": "800", "sure": "on"}
        self.assertEqual(self.alice.post("/settings/server.limits.sessions", change).status, 303)
        self.assertNotIn("/undo", self.alice.get("/settings").body.decode())
        made("backend.four_eyes", [])
        with self.change() as change_of_users:
            users.add(change_of_users, "carl", AdminRole.VIEWER, PASSWORD)
        kept = self.alice.post(f"/history/{change_of_users.generation}/undo")
        self.assertEqual((kept.status, "cannot be brought back" in words(kept)), (422, True))


class Trail(SitePageCase):
    """``/audit``."""

    def test_whole(self) -> None:
        """The records are there, newest first; the verdict is whole, and is not once a record was changed."""
        self.alice.post("/settings/server.limits.sessions", {"value": "700", "sure": "on", "comment": "<b>too many"})
        auditor = self.browser("adam")
        page = words(auditor.get("/audit"))
        self.assertLess(page.index("settings set server.limits.sessions 700"), page.index("authority create"))
        self.assertIn("<b>too many", page)
        self.assertNotIn("settings set", words(auditor.get("/audit?by=alice&before=3")))
        self.assertIn("There is no such record.", words(auditor.get("/audit?by=nobody")))
        self.assertIn("The audit trail is whole.", words(auditor.get("/audit/verdict")))
        with self.store.writing() as session:
            session.execute(update(AuditRow).where(AuditRow.number == 2).values(record="{}"))
        part = auditor.get("/audit/verdict", HX_Request="true").body.decode()
        self.assertNotIn("<html", part)
        self.assertIn("record 2 was changed", part)
        self.assertEqual(self.browser("vera").get("/audit").status, 403)


class Certificates(SitePageCase):
    """``/certificates``."""

    def test_identity(self) -> None:
        """An identity is imported, renewed by a request whose answer a CA gives, and removed once its name is typed."""
        self.assertIn("no certificate to show", words(self.alice.get("/certificates")))
        mine = self_signed("oftp.muster.example")
        file = {"file": ("main.pem", mine.certificate_pem + mine.key_pem)}
        self.assertEqual(self.alice.upload("/certificates/identities", {"name": "main"}, file).status, 303)
        page = self.alice.get("/certificates").body.decode()
        self.assertIn("CN=oftp.muster.example", page)
        self.assertNotIn("PRIVATE KEY", page)
        asked = {"name": "main", "common_name": "new.muster.example", "key_type": "ec-p256"}
        self.assertEqual(self.alice.post("/certificates/requests", asked).status, 303)
        self.assertIn("a request is out", words(self.alice.get("/certificates")))
        wrong = self.alice.upload(
            "/certificates/identities/main/complete", {}, {"file": ("x.pem", mine.certificate_pem)}
        )
        self.assertEqual((wrong.status, "for this private key" in words(wrong)), (422, True), words(wrong))
        self.assertEqual(self.alice.post("/certificates/identities/main/remove", {"typed": "mian"}).status, 422)
        self.assertEqual(self.alice.post("/certificates/identities/main/remove", {"typed": "main"}).status, 303)
        with self.store.reading() as session:
            self.assertEqual(identities.listed(session), [])
        self.reads_only("/certificates", "/certificates/identities/main/remove")

    def test_change_over(self) -> None:
        """A successor is planned for a date, stands on the line of time and for partners, and the plan is undone."""
        first, second = self_signed("first.example"), self_signed("second.example")
        files = [{"file": ("x.pem", each.certificate_pem + each.key_pem)} for each in (first, second)]
        place = "/certificates/identities"
        self.assertEqual(self.alice.upload(place, {"name": "main"}, files[0]).status, 303)
        self.assertNotIn('class="time-line wide"', self.alice.get("/certificates").body.decode())
        since = first.certificate.not_valid_after_utc - timedelta(days=100)
        for wrong, said in (("soon", "is no time"), ("2020-01-01T00:00", "is over")):
            answer = self.alice.upload(place, {"name": "main", "use_from": wrong}, files[1])
            self.assertEqual((answer.status, said in words(answer)), (422, True), words(answer))
        given = {"name": "main", "use_from": f"{since:%Y-%m-%dT%H:%M}"}
        self.assertEqual(self.alice.upload(place, given, files[1]).status, 303)
        page = self.alice.get("/certificates").body.decode()
        for text in ("planned", f"{since:%Y-%m-%dT%H:%M}", "CN=second.example", 'class="time-line wide"'):
            self.assertIn(text, page)
        self.assertNotIn("PRIVATE KEY", page)
        self.assertEqual(self.alice.post(f"{place}/main/undo-plan").status, 303)
        self.assertNotIn("CN=second.example", self.alice.get("/certificates").body.decode())
        self.reads_only("/certificates", f"{place}/main/undo-plan")

    def test_page_certificate(self) -> None:
        """A certificate for the page is uploaded, shown without its key, and given up again."""
        mine, other = self_signed("page.example"), self_signed("other.example")
        wrong = {"file": ("x.pem", mine.certificate_pem + other.key_pem)}
        self.assertEqual(self.alice.upload("/certificates/page", {}, wrong).status, 422)
        right = {"file": ("x.pem", mine.certificate_pem + mine.key_pem)}
        self.assertEqual(self.alice.upload("/certificates/page", {}, right).status, 303)
        page = self.alice.get("/certificates").body.decode()
        self.assertIn("CN=page.example", page)
        self.assertNotIn("PRIVATE KEY", page)
        self.assertEqual(self.alice.post("/certificates/page/reset").status, 303)
        self.assertNotIn("CN=page.example", self.alice.get("/certificates").body.decode())
        self.reads_only("/certificates", "/certificates/page/reset")
        since, until = NOW - timedelta(days=9), NOW - timedelta(days=1)
        ended = TestCa.root("x").issue("page.example", valid_from=since, valid_until=until)
        over = {"file": ("x.pem", ended.certificate_pem + ended.key_pem)}
        self.assertEqual(self.alice.upload("/certificates/page", {}, over).status, 303)
        # Told once, and wherever the certificate is shown.
        self.assertEqual(words(self.alice.get("/certificates")).count("and is refused: import a newer one"), 2)
        self.assertEqual(words(self.alice.get("/certificates")).count("and is refused: import a newer one"), 1)

    def test_kept(self) -> None:
        """What was typed in a form that is refused is in it again; it is open, and the fault stands in it."""
        wrong, why = {"file": ("x.p12", b"garbage")}, {"comment": "the yearly one"}
        asked = {"common_name": "oftp.example", "country": "Germany", "names": "a b", "key_type": "ec-p256"}
        for path, fields, files in (
            ("/certificates/identities", {"name": "second", "use_from": "2026-12-01T10:00", **why}, wrong),
            ("/certificates/requests", {"name": "second", **asked, **why}, {}),
            ("/certificates/cas", {"name": "Trust Centre", "revocation": "off", **why}, wrong),
            ("/certificates/lists", why, wrong),
            ("/certificates/page", why, wrong),
        ):
            answer = self.alice.upload(path, fields, files)
            self.assertEqual(answer.status, 422, path)
            page = answer.body.decode()
            (opened,) = re.findall(rf'<details open>(?:(?!</details>).)*action="{path}".*?</details>', page, re.DOTALL)
            self.assertIn('class="told bad" role="alert"', opened, path)
            self.assertEqual(page.count('class="told bad" role="alert"'), 1, path)
            for name, text in fields.items():
                self.assertRegex(opened, rf'name="{name}"[^>]*value="{text}"|value="{text}" selected', (path, name))
        self.assertIn("country: two letters, such as DE", words(self.alice.post("/certificates/requests", asked)))
        long = words(self.alice.post("/certificates/requests", {"common_name": "x" * 65}))
        self.assertIn("common name: 64 characters at most", long)

    def test_cas_and_lists(self) -> None:
        """A CA is added, its list loaded, an address approved; what is missing or fails is said first."""
        ca = TestCa.root("Odette CA")
        added = {"name": "odette", "revocation": "require"}
        self.assertEqual(
            self.alice.upload("/certificates/cas", added, {"file": ("ca.pem", ca.certificate_pem)}).status, 303
        )
        self.assertIn("The CA odette requires lists, and none is loaded", words(self.alice.get("/certificates")))
        other = TestCa.root("Another CA")
        refused = self.alice.upload("/certificates/lists", {}, {"file": ("other.crl", other.crl(this_update=NOW))})
        self.assertIn("not from a configured CA", words(refused))
        self.assertEqual(len(self.stored("crl.refused")), 1)
        self.assertEqual(
            self.alice.upload("/certificates/lists", {}, {"file": ("ca.crl", ca.crl(this_update=NOW))}).status, 303
        )
        self.assertNotIn("requires lists, and none is loaded", words(self.alice.get("/certificates")))
        with self.store.writing() as session:
            url = Record("crl.url_seen", NOW, "server", None, {"url": "http://crl.example/a.crl", "ca": "odette"})
            sightings.note(session, [url])
        self.assertIn("waits for your approval", words(self.alice.get("/certificates")))
        approved = {"url": "http://crl.example/a.crl", "what": "approve"}
        olga, place = self.browser("olga"), "/certificates/cas/odette/addresses"
        for wanted, title, before, after in (
            (approved, "Download revocation lists of odette from there?", (), ("http://crl.example/a.crl",)),
            (
                {**approved, "what": "reject"},
                "Download no revocation lists of odette from there any more?",
                ("http://crl.example/a.crl",),
                (),
            ),
            (approved, "Download revocation lists of odette from there?", (), ("http://crl.example/a.crl",)),
        ):
            self.assertIn(title, olga.post(place, wanted).body.decode())
            with self.store.reading() as session:
                self.assertEqual(cas.find(session, "odette").entry.lists, before)
            self.assertEqual(olga.post(place, {**wanted, "step": "do"}).status, 303)
            with self.store.reading() as session:
                self.assertEqual(cas.find(session, "odette").entry.lists, after)
        self.assertEqual(self.alice.post("/certificates/cas/odette/remove", {"typed": "odette"}).status, 303)

    def test_ca_changed(self) -> None:
        """Every setting of a CA has a field; a change is shown before it is made, and can be undone."""
        ca, place = TestCa.root("Odette CA"), "/certificates/cas/odette/change"
        with self.change() as change:
            cas.add(change, "odette", [ca.credential.certificate])
        shown = self.alice.get(place)
        names = set(re.findall(r'<(?:input|select|textarea) [^>]*?name="([a-z_]+)"', shown.body.decode()))
        self.assertLessEqual({"revocation", "grace_hours", "lists", "approve_lists", "refuse_direct"}, names)
        self.assertIn(f'href="{place}"', self.alice.get("/certificates").body.decode())
        base = html.unescape(re.findall(r'name="base" value="([^"]*)"', shown.body.decode())[0])
        typed = {"base": base, "revocation": "off", "grace_hours": "12", "lists": "", "refuse_direct": "on"}
        self.assertEqual(self.alice.post(place, {**typed, "grace_hours": "73"}).status, 422)
        told = words(self.alice.post(place, typed))
        for row in ("revocation require off", "grace hours 0 12", "refuse direct no yes"):
            self.assertIn(row, told)
        with self.store.reading() as session:
            before = cas.find(session, "odette").entry
        self.assertIs(before.revocation, RevocationMode.REQUIRE)
        answer = self.alice.post(place, {**typed, "step": "do", "comment": "its CRL is down"})
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/certificates#cas"))
        offered = re.search(r'action="(/history/[0-9]+/undo)"', self.alice.get("/certificates").body.decode())
        assert offered is not None
        with self.store.reading() as session:
            made = cas.find(session, "odette").entry
        self.assertEqual(made, attrs.evolve(before, revocation=RevocationMode.OFF, grace_hours=12, refuse_direct=True))
        self.assertIn("its CRL is down", words(self.alice.get("/history")))
        stale = self.alice.post(place, {**typed, "revocation": "prefer", "step": "do"})
        self.assertEqual(stale.status, 409)
        self.assertIn("grace hours 0 12", words(stale))
        base = html.unescape(re.findall(r'name="base" value="([^"]*)"', self.alice.get(place).body.decode())[0])
        self.alice.post(place, {**typed, "base": base})
        self.assertIn("it is as it was", words(self.alice.get("/certificates")))
        self.assertEqual(self.alice.post(offered[1], {"next": "/certificates"}).status, 303)
        with self.store.reading() as session:
            self.assertEqual(cas.find(session, "odette").entry, before)
        self.assertEqual(self.browser("adam").get(place).status, 403)

    def test_ca_settings_are_seen(self) -> None:
        """Whoever reads the page sees the settings of a CA that are not the default."""
        with self.change() as change:
            held = [TestCa.root("Odette CA").credential.certificate]
            cas.add(change, "odette", held, grace_hours=12, lists=("http://crl.example/a.crl",))
        shown = words(self.browser("adam").get("/certificates"))
        self.assertIn("Grace hours: 12 Lists: http://crl.example/a.crl", shown)
        self.assertNotIn("Approve lists:", shown)

    def test_doubtful_ca(self) -> None:
        """A CA below which nobody is admitted is added, and the page says so in the reader's language."""
        ca = TestCa.root("Old CA", valid_from=NOW - timedelta(days=9), valid_until=NOW - timedelta(days=1))
        german = self.browser("alice", Accept_Language="de")
        fields = {"name": "old", "revocation": "require"}
        self.assertEqual(
            german.upload("/certificates/cas", fields, {"file": ("ca.pem", ca.certificate_pem)}).status, 303
        )
        shown = words(german.get("/certificates"))
        self.assertIn("kein von ihr ausgestelltes Zertifikat wird angenommen", shown)
        self.assertNotIn("has expired", shown)

    def test_logged_out_while_a_list_is_read(self) -> None:
        """Whose login ends while a large file is read loads nothing, and is told so at the login."""

        def of_file(store: Store, name: str, file: object, now: datetime) -> ListsRead:
            with store.writing() as session:
                users.end_logins(session, "alice")
            return ListsRead(files=(ListFile(name=name, octets=b"x"),))

        self.patch(ListsRead, "of_file", of_file)
        large = b"x" * (limits.API_BODY_OCTETS_MOST + 1)
        answer = self.alice.upload("/certificates/lists", {}, {"file": ("ca.crl", large)})
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/login?next=%2Fcertificates"))
        self.assertIn("nothing was changed", words(self.alice.get("/login")))

    def test_list_removed(self) -> None:
        """Whom it refuses that a list is gone is said before it goes; a list without effect refuses nobody."""
        first, second = TestCa.root("First CA"), TestCa.root("Second CA")
        for name, ca in (("first", first), ("second", second)):
            fields, file = {"name": name, "revocation": "require"}, {"file": ("ca.pem", ca.certificate_pem)}
            self.alice.upload("/certificates/cas", fields, file)
            self.alice.upload("/certificates/lists", {}, {"file": ("a.crl", ca.crl(this_update=NOW))})
        with self.change() as change:
            rule = SubjectRule(ca="first", serial_number="O0013000001ACME")
            partners.add(change, attrs.evolve(ACME, certificates=(rule,)))
        with self.store.reading() as session:
            numbers = {row.issuer.partition("CN=")[2].split()[0]: row.id for row in revocation.listed(session)}
        place = {name: f"/certificates/lists/{numbers[name]}/remove" for name in ("First", "Second")}
        german = self.browser("alice", Accept_Language="de")
        shown = words(self.alice.post(place["First"]))
        self.assertIn("ACME: revocation lists are required: no certificate of the partner is known yet", shown)
        shown = words(german.post(place["First"]))
        self.assertIn("ACME: Sperrlisten sind Pflicht", shown)
        self.assertIn("Diese Aktualisierung", shown)
        self.assertIn("Nobody who is admitted today would be refused", words(self.alice.post(place["Second"])))
        with self.store.reading() as session:
            self.assertEqual(len(revocation.listed(session)), 2)
        done = {"step": "do", "comment": "a test list"}
        self.assertEqual(self.alice.post(place["First"], done).status, 303)
        with self.store.reading() as session:
            self.assertEqual([row.id for row in revocation.listed(session)], [numbers["Second"]])
        # Who is refused already is not refused by the next change.
        self.assertIn("Nobody who is admitted today would be refused", words(self.alice.post(place["Second"])))


class Nodes(SitePageCase):
    """``/nodes``."""

    def test_licence(self) -> None:
        """A licence is extended from here, and downloaded; what is no date, or no later one, is refused."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=20), limits={})
        page = words(self.alice.get("/nodes"))
        self.assertIn("A licence ends on", page)
        self.assertIn("20 days left", page)
        place = f"/nodes/licences/{PROXY_ID}"
        for until in ("soon", "2026-11-21", "9999-12-31"):
            refused = self.alice.post(place, {"until": until})
            self.assertEqual(refused.status, 422, until)
            self.assertRegex(
                refused.body.decode(), f'value="{until}"[^>]* aria-describedby="x-until [^>]* aria-invalid'
            )
            self.assertIn('<p class="fault" id="x-until">', refused.body.decode())
            self.assertEqual(self.alice.post(place, {"until": until, "step": "do"}).status, 422, until)
        shown = words(self.alice.post(place, {"until": "2028-12-31"}))
        for told in ("Licence until 2026-12-10 2028-12-31", "It cannot be shortened afterwards"):
            self.assertIn(told, shown)
        self.assertIn("A licence ends on", words(self.alice.get("/nodes")))
        self.assertEqual(self.alice.post(place, {"until": "2028-12-31", "step": "do"}).status, 303)
        self.assertNotIn("A licence ends on", words(self.alice.get("/nodes")))
        file = self.alice.get(f"{place}/file")
        self.assertEqual(json.loads(file.body)["licence"]["valid_until"], "2028-12-31T23:59:59Z")
        self.reads_only("/nodes", place)

    def test_licence_without_end(self) -> None:
        """A licence of a former version may last for good: the page shows it, and proposes no end that is refused."""
        with self.change() as change:
            until = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
            self.patch(licences, "LIFE_MOST", until - NOW)
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=until, limits={})
        answer = self.alice.get("/nodes")
        self.assertEqual(answer.status, 200)
        self.assertIn('value="2036-11-20"', answer.body.decode())

    def test_licence_on_its_way(self) -> None:
        """A licence that is extended and not yet at its server is not called well."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=400), limits={})
        told: dict[str, Any] = {"site": "Muster GmbH", "proxy_id": PROXY_ID, "valid_from": NOW}
        self.tell("licence.accepted", "server", **told, valid_until=NOW + timedelta(days=40))
        self.assertIn(f"The extended licence has not reached {PROXY_ID[:16]} yet.", words(self.alice.get("/nodes")))
        self.tell("licence.accepted", "server", **told, valid_until=NOW + timedelta(days=400))
        self.assertNotIn("has not reached", words(self.alice.get("/nodes")))

    def test_load(self) -> None:
        """The load of a server and of a client is beside it, in the reader's language."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=400), limits={})
        busy = ToldLoad(cpu=230, memory=85, sessions=4, sessions_most=500)
        servers = (ServerLoad(proxy_id=PROXY_ID, load=busy),)
        ClientRequests(self.store).keep_loads("inner", LoadsTold(own=ToldLoad(sessions=1), servers=servers), NOW)
        self.assertIn("4 of 500 sessions processor 230 %, 89.1 MB", words(self.alice.get("/nodes/live")))
        german = self.browser("alice", **{"accept-language": "de"}).get("/nodes/live")
        self.assertIn("4 von 500 Sitzungen Prozessor 230 %, 89,1 MB", words(german))

    def test_tunnel(self) -> None:
        """A tunnel that is down is said first, with the client and the cause."""
        with self.store.writing() as session:
            clients.note_call(session, "inner", NOW, "1.1", "192.0.2.9")
        up = {"host": "dmz", "peer": "192.0.2.1:443", "theirs": "1.1", "version": "1.1", "proxy_id": PROXY_ID}
        self.tell("tunnel.up", "client", 90, **up)
        self.assertNotIn("is down", words(self.alice.get("/nodes")))
        self.tell(
            "tunnel.down", "client", 30, host="dmz", peer="192.0.2.1:443", cause="tunnel.lost", message="it was reset"
        )
        self.assertIn("The tunnel of inner is down ( it was reset )", words(self.alice.get("/nodes/live")))

    def test_tunnel_that_nobody_tells_of(self) -> None:
        """No tunnel is called up whose client does not call: what it told last may be long ago."""
        up = {"host": "dmz", "peer": "192.0.2.1:443", "theirs": "1.1", "version": "1.1", "proxy_id": PROXY_ID}
        self.tell("tunnel.up", "client", 90, **up)
        with self.store.writing() as session:
            clients.note_call(session, "inner", NOW, "1.1", "192.0.2.9")
        self.assertIn("1 of 1 tunnels", words(self.alice.get("/")))
        self.assertIn("up since", words(self.alice.get("/nodes/live")))
        self.clock.advance(360)
        seen = words(self.alice.get("/"))
        self.assertIn("tunnels not known", seen)
        self.assertNotIn("1 of 1 tunnels", seen)
        self.assertIn("inner not known: the client does not call", words(self.alice.get("/nodes/live")))
        # Nor is the server called without a client because the tunnel of one that calls is down.
        later = NOW + timedelta(seconds=360)
        with self.change() as change:
            clients.add(change, "two")
        with self.store.writing() as session:
            clients.note_call(session, "two", later, "1.1", "192.0.2.9")
        down = {"host": "dmz", "peer": "192.0.2.1:443", "cause": "tunnel.lost", "message": "it was reset"}
        self.tell("tunnel.up", "client", -350, "two", **up)
        self.tell("tunnel.down", "client", -355, "two", **down)
        self.assertIn("two down since", words(self.alice.get("/nodes/live")))
        self.assertNotIn("No client is connected", words(self.alice.get("/")))
        with self.store.writing() as session:
            clients.note_call(session, "inner", later, "1.1", "192.0.2.9")
        self.tell("tunnel.down", "client", -356, **down)
        self.assertIn("No client is connected", words(self.alice.get("/")))


class Events(SitePageCase):
    """``/events``."""

    def setUp(self) -> None:
        """Some events."""
        super().setUp()
        for number in range(3):
            self.tell("session.started", ago=number, session=f"{number:016x}", partner="ACME")
        self.tell("certificate.refused", peer="192.0.2.7:1", cause="certificate.expired", message="=1+1\u202eevil")

    def later(self) -> float:
        """The clock's time, which goes on while a page is made."""
        self.clock.rightNow += 1e-6
        return self.clock.rightNow

    def test_filters(self) -> None:
        """Filters stand in the address; a time that is none is said, and what comes from a peer is made visible."""
        found = words(self.alice.get("/events?name=session.&partner=ACME"))
        self.assertEqual(found.count("session.started"), 3)
        self.assertNotIn("certificate.refused", found)
        self.assertIn("is no time", words(self.alice.get("/events?since=soon")))
        self.assertNotIn("session.started", words(self.alice.get("/events?name=session.&until=2026-11-20T11:00")))
        page = self.alice.get("/events?level=warning")
        self.assertIn("\\u202eevil", words(page))
        self.assertNotIn("\u202e", page.body.decode())
        self.assertIn("hx-get", self.alice.get("/events?live=1").body.decode())

    def test_older_events(self) -> None:
        """The link to older events leads through all of them, each once, also through those of one second."""
        self.patch(events, "EVENTS_SHOWN", 2)
        self.clock.seconds = self.later  # type: ignore[method-assign]  # of this clock alone
        for place in ("/events?", "/events?since=2026-11-01T00:00"):
            with self.subTest(place=place):
                seen: list[str] = []
                link: str | None = place
                while link is not None:
                    page = html.unescape(self.alice.get(link).body.decode())
                    seen += re.findall(r'<tr id="e([0-9]+)"', page)
                    older = re.search(r'href="(/events\?[^"]*before=[^"]*)">Older events', page)
                    link = None if older is None else older[1]
                with self.store.reading() as session:
                    everything = [str(each.number) for each in journal.find(session, journal.Filter())]
                self.assertEqual(sorted(seen, key=int), everything)
        self.assertNotIn("<html", self.alice.get("/events/live?name=session.").body.decode())

    def test_one(self) -> None:
        """One event has all its fields, and ways to what belongs to it."""
        found = json.loads(self.alice.get("/events/json?name=certificate.refused").body)
        page = self.alice.get(f"/events/{found[0]['number']}")
        self.assertIn("peer 192.0.2.7:1", words(page))
        self.assertIn("/ignore?text=certificate.refused", page.body.decode())
        for number in ("0", "99999", "x", "9" * 30):
            self.assertEqual(self.alice.get(f"/events/{number}").status, 404, number)

    def test_not_understood(self) -> None:
        """A file has what was asked for, or there is none: filters that mean nothing are not left out."""
        for query in ("level=foo", "since=abc", "until=0001-01-01T00:00%2B05:00", "before=zz", "before=" + "9" * 30):
            for path in ("/events/csv", "/events/json"):
                answer = self.alice.get(f"{path}?{query}")
                self.assertEqual((answer.status, answer.headers.get("content-disposition")), (422, None), query)
            self.assertEqual(self.alice.get(f"/events?{query}").status, 422, query)

    def test_taken_away(self) -> None:
        """CSV has no cell that a spreadsheet takes for a formula."""
        table = self.alice.get("/events/csv?name=certificate.refused")
        self.assertIn("attachment", table.headers["content-disposition"])
        self.assertIn("certificate.refused,server", table.body.decode())
        self.tell("session.started", session="f" * 16, partner="=cmd()")
        self.assertIn("'=cmd()", self.alice.get("/events/csv?name=session.").body.decode())


class Alerts(SitePageCase):
    """``/ignore`` and ``/event-script``."""

    def test_rule(self) -> None:
        """A rule is added, changed and removed; the page says what it would have silenced, and what is wrong."""
        self.tell("tunnel.down", "client", host="dmz", cause="tunnel.lost")
        self.assertIn('value="tunnel.down"', self.alice.get("/ignore?text=tunnel.down").body.decode())
        rule = {"name": "night", "text": "tunnel.down", "description": "at night", "valid_until": "2026-12-01T06:00"}
        wrong = self.alice.post("/ignore", {**rule, "name": "", "valid_until": "soon"})
        self.assertEqual(wrong.status, 422)
        for name, fault in (("name", "is empty"), ("valid_until", "soon is no time")):
            self.assertRegex(wrong.body.decode(), rf'name="{name}"[^>]*aria-invalid="true"[^>]*>(?s:.){{1,200}}{fault}')
        self.assertEqual(self.alice.post("/ignore", {**rule, "valid_until": "2026-11-01T00:00"}).status, 422)
        shown = words(self.alice.post("/ignore", rule))
        for text in ("Add the rule", "tunnel.down", "it would have silenced 1", "at night"):
            self.assertIn(text, shown)
        self.assertIn("Nothing is ignored.", words(self.alice.get("/ignore")))
        self.assertEqual(self.alice.post("/ignore", {**rule, "step": "do"}).status, 303)
        self.assertIn("it would have silenced 1", words(self.alice.get("/ignore")))
        shown = words(self.alice.post("/ignore/night", {**rule, "text": "tunnel.up"}))
        for text in ("text tunnel.down tunnel.up", "it would have silenced 0"):
            self.assertIn(text, shown)
        self.assertEqual(self.alice.post("/ignore/night", rule).status, 303)
        self.assertIn("Nothing was changed", words(self.alice.get("/ignore")))
        self.assertEqual(self.alice.post("/ignore/night", {**rule, "text": "tunnel.up", "step": "do"}).status, 303)
        with self.store.reading() as session:
            (found,) = ignore_rules.listed(session)
        self.assertEqual((found.rule.text, found.rule.description), ("tunnel.up", "at night"))
        self.assertEqual(self.alice.get("/ignore/nobody").status, 404)
        self.assertEqual(self.alice.post("/ignore/night/remove").status, 303)
        self.assertIn("Nothing is ignored.", words(self.alice.get("/ignore")))
        self.reads_only("/ignore", "/ignore")

    def test_seconds(self) -> None:
        """A rule until a last second is until then as well when only its description is changed."""
        for until in ("23:59:59", "06:00:00"):
            end = datetime.fromisoformat(f"2026-12-01T{until}+00:00")
            with self.change() as change:
                rule = IgnoreRule(name="night", text="tunnel.down", valid_until=end)
                ignore_rules.add(change, rule)
            page = self.alice.get("/ignore/night").body.decode()
            (typed,) = re.findall(r'name="valid_until" type="datetime-local" step="any" value="([^"]+)"', page)
            self.assertEqual(typed, f"2026-12-01T{until}".removesuffix(":00"))
            fields = {"text": "tunnel.down", "description": "other", "valid_until": typed, "step": "do"}
            self.assertEqual(self.alice.post("/ignore/night", fields).status, 303)
            with self.store.reading() as session:
                (found,) = ignore_rules.listed(session)
            self.assertEqual((found.rule.description, found.rule.valid_until), ("other", end))
            with self.change() as change:
                ignore_rules.remove(change, "night")

    def test_rule_doubted(self) -> None:
        """A text that silences nothing is accepted with a warning and the way back; an event never offers itself."""
        self.tell("internal.error", place="x")
        self.tell("tunnel.down", "client", host="dmz", cause="tunnel.lost")
        pages = [
            self.alice.get(f"/events/{number}").body.decode()
            for number in self.numbers("internal.error", "tunnel.down")
        ]
        self.assertEqual(["Ignore such events" in each for each in pages], [False, True])
        doubted = {"name": "bugs", "text": "internal.error"}
        self.assertIn("no rule silences internal.error", words(self.alice.post("/ignore", doubted)))
        self.alice.post("/ignore", {**doubted, "step": "do"})
        page = self.alice.get("/ignore")
        self.assertIn("no rule silences internal.error", words(page))
        undo = re.search(r'action="(/history/[0-9]+/undo)"', page.body.decode())
        assert undo is not None
        self.assertEqual(self.alice.post(undo[1], {"next": "/ignore"}).status, 303)
        self.assertIn("Nothing is ignored.", words(self.alice.get("/ignore")))

    def numbers(self, *names: str) -> list[int]:
        """The numbers of the newest events of these names."""
        with self.store.reading() as session:
            return [journal.find(session, journal.Filter(name=name))[-1].number for name in names]

    def test_rule_in_conflict(self) -> None:
        """Who changes or removes a rule that somebody else changed meanwhile reads who did, and what is different."""
        rule = {"name": "night", "text": "tunnel.down", "description": "at night"}
        self.alice.post("/ignore", {**rule, "step": "do"})
        shown = re.search(r'name="seen" value="([0-9a-f]+)"', self.alice.get("/ignore/night").body.decode())
        assert shown is not None
        with self.change() as change:
            ignore_rules.alter(change, "night", text="tunnel.up")
        answer = self.alice.post("/ignore/night", {**rule, "text": "tunnel.lost", "seen": shown[1]})
        self.assertEqual(answer.status, 409)
        self.assertIn("You changed the rule meanwhile", words(answer))
        self.assertIn("Text tunnel.up tunnel.lost", words(answer))
        self.assertEqual(self.alice.post("/ignore/night/remove", {"seen": shown[1]}).status, 409)
        with self.store.reading() as session:
            self.assertEqual(ignore_rules.find(session, "night").entry.text, "tunnel.up")
        seen = re.search(r'name="seen" value="([0-9a-f]+)"', answer.body.decode())
        assert seen is not None
        sent = {**rule, "text": "tunnel.lost", "seen": seen[1], "step": "do"}
        self.assertEqual(self.alice.post("/ignore/night", sent).status, 303)
        with self.store.reading() as session:
            self.assertEqual(ignore_rules.find(session, "night").entry.text, "tunnel.lost")

    def test_script(self) -> None:
        """A test run shows what the script wrote; without a program nobody hears of anything."""
        page = words(self.alice.get("/event-script"))
        self.assertIn("Nobody hears of critical events.", page)
        for value in ("24 hours", "30 seconds", "2 programs", "1000 events", "587"):
            self.assertIn(value, page)
        self.assertIn("24 Stunden", words(self.alice.get("/event-script", Accept_Language="de")))
        self.assertEqual(self.alice.post("/event-script/test").status, 422)
        with self.change() as change:
            settings.put(change, "backend.event_script.program", "/bin/cat")
        page = words(self.alice.post("/event-script/test"))
        self.assertIn("it ended well", page)
        self.assertIn('"name": "listener.failed"', page)
        self.assertEqual(self.alice.post("/event-script/test", {"event": "x"}).status, 422)
        self.reads_only("/event-script", "/event-script/test")

    def sending(self) -> MailTests:
        """What sends mails that try the settings, with a mail server that the test plays."""
        with self.change() as change:
            for name, value in (("host", "mail.example"), ("from", "a@b.example"), ("to", ["c@d.example"])):
                settings.put(change, f"backend.mail.{name}", value)
        mails: Any = Mails
        self.patch(Mails, "sent", [])
        sending = MailTests(self.store, AtOnce(), self.events, self.clock, mails)
        sending.start()
        self.addCleanup(sending.stop)
        return sending

    def test_test_mail(self) -> None:
        """A mail that tries the settings is asked for, sent by itself, and what came of it is shown; others read."""
        self.assertIn("No mail server is set; the settings", words(self.alice.post("/event-script/mail")))
        sending = self.sending()
        for good, said in ((True, "has taken the last test"), (False, "cannot be reached")):
            self.assertEqual(self.alice.post("/event-script/mail").status, 303)
            self.assertIn("within seconds", words(self.alice.get("/event-script/mail/live")))
            self.clock.advance(STORE_LOOK_SECONDS)
            self.assertIn("TEST", Mails.sent[-1].subject)
            if good:
                Mails.sent[-1].done.callback([])
            else:
                Mails.sent[-1].fail()
            self.assertIn(said, words(self.alice.get("/event-script")))
            self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(len(Mails.sent), 2)
        self.alice.post("/event-script/mail")
        sending.stop()
        self.clock.advance(mail_tests.SENT_WITHIN.total_seconds())
        self.assertIn("Nobody sent it", words(self.alice.get("/event-script")))
        sending.start()
        self.assertEqual(len(Mails.sent), 2)
        self.reads_only("/event-script", "/event-script/mail")

    def test_test_mail_of_another(self) -> None:
        """What came of a test that hung is not said of the next one; a stop ends one that hangs, and loses none."""
        sending = self.sending()
        self.alice.post("/event-script/mail")
        self.clock.advance(STORE_LOOK_SECONDS)
        self.alice.post("/event-script/mail")
        Mails.sent[0].fail()
        self.assertIn("within seconds", words(self.alice.get("/event-script/mail/live")))
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertEqual(len(Mails.sent), 2)
        self.successResultOf(sending.stop())
        self.assertIn("within seconds", words(self.alice.get("/event-script/mail/live")))
        sending.start()
        Mails.sent[2].done.callback([])
        self.assertIn("has taken the last test", words(self.alice.get("/event-script")))


class InGerman(SitePageCase):
    """The pages in German."""

    def test_german(self) -> None:
        """What is declared in one place is translated where it is shown."""
        reader = Browser(self.agent, Accept_Language="de")
        reader.log_in("alice")
        for page, words_there in (
            ("/settings", "Höchstzahl der Sitzungen an einem Server, aller Partner zusammen."),
            ("/history", "Generationen der Konfiguration"),
            ("/audit", "Änderungen der Konfiguration"),
            ("/certificates", "Zertifikate ohne aktuelle Sperrliste abweisen"),
            ("/nodes", "Nicht jeder Rechner ist, wie er sein soll."),
            ("/events", "Neuen Ereignissen folgen"),
            ("/ignore", "Nichts wird ignoriert."),
            ("/event-script", "Läufe des Ereignisskripts"),
        ):
            self.assertIn(words_there, words(reader.get(page)), page)
