"""A whole site as one file: out with and without secrets, in as a whole or not at all."""

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from smartproxy.backend import (
    administrators,
    archive,
    archive_file,
    authority,
    cas,
    clients,
    downloads,
    generations,
    identities,
    licences,
    partners,
    revocation,
    second_factors,
    settings,
    tables,
    trust_lists,
    users,
)
from smartproxy.backend.alerts import ignore_rules
from smartproxy.backend.archive import Imported
from smartproxy.backend.certificates import fitting, read_private_key
from smartproxy.backend.errors import ChangeRefused, NotFound, Unusable
from smartproxy.backend.location import Location
from smartproxy.backend.schema import SiteRow
from smartproxy.backend.store import Store
from smartproxy.backend.trust_tables import ListedCaRow
from smartproxy.oftp2.roles import Level
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.licence import read
from smartproxy.policy.partners import KeyPin, Partner, RevocationMode, SanRule, SubjectRule
from smartproxy.policy.permissions import EVERYTHING, AdminRole
from smartproxy.policy.trust_lists import TrustListEntry
from smartproxy.testing.pki import TestCa, self_signed
from tests.unit.odd_files import corpus
from tests.unit.sites import NOW, PROXY_ID, SiteCase

POINT = "http://crl.example/1.crl"


class ArchiveCase(SiteCase):
    """A site with one of everything."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.stores: list[str] = []
        ca, own = TestCa.root("Odette"), self_signed("oftp.muster.example")
        self.own_key = own.key_pem.decode()
        with self.change("everything") as change:
            cas.add(change, "odette", [ca.credential.certificate], revocation=RevocationMode.PREFER)
            change.session.flush()
            revocation.load(change, revocation.parse(ca.crl([ca.issue("bad")], this_update=NOW), "ca.crl"))
            revocation.load(change, revocation.parse(ca.crl(this_update=NOW, point=POINT, number=7), "1.crl"))
            pin, note = partners.pinned(self_signed("acme").certificate)
            rules = (
                pin,
                KeyPin(sha256="cd" * 32),
                SubjectRule(ca="odette", serial_number="O0013"),
                SanRule(ca="odette", san="DNS:acme.example"),
            )
            acme = Partner(name="ACME", codes=("O0013000001ACME",), lowest_level=Level.OFTP_1_4, certificates=rules)
            partners.add(change, acme, [note])
            partners.add(change, Partner(name="OFF", codes=("OFF",), certificates=(pin,), enabled=False), [note])
            identities.keep(change, "main", fitting(read_private_key(own.key_pem, None, "x"), [own.certificate], "x"))
            subject = identities.Subject(common_name="x.example")
            identities.request(change, identities.make_request("next", subject, "ec-p256"))
            self.token = clients.add(change, "inner")
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=365), limits={})
            settings.put(change, "server.deadlines.ssid", 45)
            ignore_rules.add(change, IgnoreRule(name="scan", text="port scan", valid_until=NOW + timedelta(days=9)))
            downloads.take_rejected(change, {("odette", POINT): NOW})
            role = AdminRole.AUDITOR
            until = NOW + timedelta(days=90)
            _, self.admin_token = administrators.create(
                change, "alice", role=role, scopes=(), until=until, allowed={EVERYTHING}
            )
            signer = self_signed("tsl").certificate_pem.decode()
            trust_lists.add(change, TrustListEntry(name="odette", signers=signer, url="https://tsl.example/tsl.xml"))
            users.add(change, "carol", role, "correct horse battery staple")
        with self.store.writing() as session:
            second_factors.begin(session, "carol")

    def export(self, *, with_secrets: bool) -> str:
        """The site as text."""
        with self.store.reading() as session:
            return archive.export(session, NOW, with_secrets=with_secrets)

    def take(self, text: str) -> Imported:
        """Import a text."""
        with self.change("import") as change:
            return archive.take(change, archive_file.parse_file(text.encode()))

    def elsewhere(self) -> None:
        """Go on with another, empty store."""
        self.location = Location.of(self.mktemp(), environment={})
        self.store = Store.open(self.location, make=True)
        self.addCleanup(self.store.close)

    def document(self) -> dict[str, Any]:
        """The configuration in force, without its number and its store."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        document: dict[str, Any] = json.loads(found[1])
        document.pop("generation")
        self.stores.append(document.pop("store"))
        return document


_NOT_EXPORTED = {
    "awaited_responses": "made of events",
    "awaited_seconds": "what waits for a second administrator",
    "alerts": "work that is waiting or done",
    "answered_calls": "what callers were answered",
    "audit_records": "the past",
    "crl_urls": "found again in certificates",
    "differences": "the past",
    "events": "the past",
    "figures": "the past",
    "generations": "the past",
    "listed_cas": "found again in trust lists",
    "live_reports": "what clients reported",
    "logins": "who is logged in",
    "node_loads": "what daemons reported",
    "mail_tests": "work that is waiting or done",
    "proposals": "about sightings, and found again with them",
    "seen_certificates": "found again when partners come",
    "session_files": "the past",
    "session_records": "the past",
    "sessions": "the past",
    "server_licences": "what servers reported",
    "store_keys": "of the store, and not of the site",
    "told_endings": "what was told",
    "trials": "work that is waiting",
    "watch_cursors": "made of events",
    "watched_partners": "made of events",
}
"""The tables of which nothing is in the file, and why. Nothing that the configuration is made of is one of them."""


class EveryTable(ArchiveCase):
    """No configuration is forgotten."""

    def contents(self) -> dict[str, list[dict[str, object]]]:
        """What each table holds of the site: without numbers of rows, and what is only known of the entries."""
        known = {"id", "number", "store", "loaded", "proposed", "hits", "told", "last_hit", "last_event", "octets"}
        known |= {
            "last_seen",
            "last_version",
            "last_address",
            "certificate_until",
            "last_used",
            "last_login",
            "failures",
        }
        found = {}
        with self.store.reading() as session:
            for mapper in SiteRow.registry.mappers:
                columns = [each.key for each in mapper.column_attrs if each.key not in known]
                rows = [{key: getattr(row, key) for key in columns} for row in session.scalars(select(mapper.class_))]
                found[mapper.class_.__tablename__] = sorted(rows, key=repr)
        return found

    def test_byte_order_mark(self) -> None:
        """A mark that an editor of Windows put in front is no fault."""
        text = self.export(with_secrets=False)
        self.assertEqual(
            archive_file.parse_file(b"\xef\xbb\xbf" + text.encode()), archive_file.parse_file(text.encode())
        )

    def test_every_table(self) -> None:
        """Each table is in the file, or it is said why not; what is in the file is the same in another store."""
        before = self.contents()
        self.assertEqual(before.keys(), {each.name for each in tables.all_tables()})
        exported = before.keys() - _NOT_EXPORTED.keys()
        self.assertEqual(before.keys() & _NOT_EXPORTED.keys(), _NOT_EXPORTED.keys())
        with self.change() as change:
            clients.add(change, "second")
            clients.remove(change, "second")
        before = self.contents()
        self.assertEqual([name for name in exported if not before[name]], [], "with nothing to compare")
        text = self.export(with_secrets=True)
        self.elsewhere()
        self.take(text)
        after = self.contents()
        for name in exported:
            self.assertEqual(after[name], before[name], name)


class TrustLists(ArchiveCase):
    """What trust lists named, in a store that takes a file."""

    def setUp(self) -> None:
        """Two lists, of which each has named a CA."""
        super().setUp()
        signer = self_signed("tsl").certificate_pem.decode()
        with self.change() as change:
            trust_lists.add(change, TrustListEntry(name="second", signers=signer))
        with self.store.writing() as session:
            for name in ("odette", "second"):
                named = self_signed(f"CA of {name}")
                row = ListedCaRow(trust_list=name, sha256=named.sha256, certificate=named.certificate_pem.decode())
                row.subject, row.provider, row.service, row.status = f"CN=CA of {name}", "P", "S", "granted"
                row.good, row.addresses, row.not_after, row.first_seen = True, [], NOW + timedelta(days=9), NOW
                session.add(row)

    def named(self) -> list[str]:
        """The lists that have named a CA."""
        with self.store.reading() as session:
            return [each.trust_list for each in trust_lists.listed_cas(session)]

    def test_imported(self) -> None:
        """What a list named that the file does not have is forgotten; what others named is kept, with what is decided.

        A file of an earlier version, without trust lists, changes nothing.
        """
        document = json.loads(self.export(with_secrets=False))
        lists = document.pop("trust_lists")
        self.take(json.dumps(document))
        self.assertEqual(self.named(), ["odette", "second"])
        self.take(json.dumps(document | {"trust_lists": [each for each in lists if each["name"] == "odette"]}))
        self.assertEqual(self.named(), ["odette"])
        self.take(json.dumps(document | {"trust_lists": []}))
        self.assertEqual(self.named(), [])


class WithSecrets(ArchiveCase):
    """The whole site."""

    def test_shut_out_clients(self) -> None:
        """Whoever is shut out stays so in the store that takes the file: its next licences say so, too."""
        with self.change() as change:
            clients.remove(change, "inner")
        text = self.export(with_secrets=True)
        with self.store.reading() as session:
            until = licences.withdrawn(session, "inner")
        self.elsewhere()
        self.take(text)
        with self.change() as change:
            row = licences.extend(change, PROXY_ID, valid_until=NOW + timedelta(days=500))
            self.assertEqual(licences.withdrawn(change.session, "inner"), until)
            self.assertEqual(clients.was_removed(change.session, self.token), "inner")
        self.assertIn('"inner"', row.text)

    def test_moved(self) -> None:
        """In an empty store the file makes the same site: configuration, authority, tokens, licences, requests."""
        text, before = self.export(with_secrets=True), self.document()
        with self.store.reading() as session:
            pin = authority.load(session).https_pin
        self.elsewhere()
        found = self.take(text)
        self.assertEqual((found.partners, found.identities, found.clients), (2, 1, 1))
        self.assertEqual(self.document(), before)
        self.assertEqual(len(set(self.stores)), 2, "another store has another id")
        self.assertNotIn(self.stores[0], text)
        with self.store.reading() as session:
            self.assertEqual(authority.load(session).https_pin, pin)
            client = clients.authenticate(session, self.token)
            assert client is not None
            self.assertEqual(client.name, "inner")
            self.assertEqual(licences.licensed(session, NOW), [PROXY_ID])
            self.assertIsNotNone(identities.find(session, "next").request)
        again = json.loads(self.export(with_secrets=True))
        for each in (again, original := json.loads(text)):
            each["configuration"].pop("generation")
        self.assertEqual(again, original)

    def test_generation_goes_on(self) -> None:
        """The imported configuration is newer than any that servers hold, although the store is new."""
        with self.store.reading() as session:
            before = generations.newest_number(session)
        text = self.export(with_secrets=True)
        self.elsewhere()
        self.take(text)
        with self.store.reading() as session:
            self.assertEqual(generations.newest_number(session), before + 1)
        self.assertEqual(self.stored("configuration.changed")[-1].fields["generation"], before + 1)

    def test_other_site(self) -> None:
        """A file of another site's secrets is refused: two authorities cannot be one."""
        text = self.export(with_secrets=True)
        self.elsewhere()
        with self.change() as change:
            authority.create(change, "Other", [])

        error = self.assertRaises(ChangeRefused, self.take, text)
        self.assertIn("'Other'", str(error))
        with self.store.reading() as session:
            self.assertEqual(session.scalars(select(SiteRow.name)).all(), ["Other"])

    def test_same_site(self) -> None:
        """Over its own site, the file brings back what was removed since."""
        text, before = self.export(with_secrets=True), self.document()
        with self.change() as change:
            partners.remove(change, "ACME")
            identities.remove(change, "main")
        self.take(text)
        self.assertEqual(self.document(), before)

    def test_clients_that_the_file_lacks(self) -> None:
        """Servers shut out who may call no more, and who was shut out since stays so; the longest licence counts.

        The file lacks one client, has another one disabled, and knows neither the withdrawal nor the longer licence.
        """
        with self.change() as change:
            clients.add(change, "paused")
            clients.alter(change, "paused", enabled=False)
        text = self.export(with_secrets=True)
        until = NOW + timedelta(days=700)
        with self.change() as change:
            clients.enable(change, "paused", True)
            later = clients.add(change, "later")
            clients.add(change, "stolen")
            clients.remove(change, "stolen")
            licences.extend(change, PROXY_ID, valid_until=until)
        self.take(text)
        with self.change() as change:
            licence = read(licences.find(change.session, PROXY_ID).text, PROXY_ID, NOW)
            self.assertEqual([each.name for each in licence.withdrawn], ["later", "paused", "stolen"])
            self.assertEqual(licence.valid_until, until)
            self.assertEqual(clients.was_removed(change.session, later), "later")
        count = len(self.stored("licence.issued"))
        self.take(text)
        self.assertEqual(len(self.stored("licence.issued")), count, "nothing new has to be said")

    def test_settings_of_partners(self) -> None:
        """Settings that name partners are taken with them: over their own site, and in an empty store."""
        with self.change() as change:
            settings.put(change, "backend.mail.partners", ["ACME"])
            settings.put(change, "backend.event_script.partners", ["ACME", "OFF"])
        text, before = self.export(with_secrets=True), self.document()
        self.take(text)
        self.assertEqual(self.document(), before)
        self.elsewhere()
        self.take(text)
        self.assertEqual(self.document(), before)


class WithoutSecrets(ArchiveCase):
    """What may be shown."""

    def test_holds_no_secret(self) -> None:
        """No private key, no token and no hash of one is in the file."""
        text = self.export(with_secrets=False)
        self.assertNotIn("PRIVATE KEY", text)
        self.assertNotIn(self.own_key.splitlines()[1], text)
        with self.store.reading() as session:
            self.assertNotIn(clients.find(session, "inner").entry.token_sha256, text)
            self.assertNotIn(administrators.listed(session)[0].entry.token_sha256, text)
        self.assertIn("O0013000001ACME", text)

    def test_what_it_lacks_stays(self) -> None:
        """Imported, it replaces partners, authorities, lists and settings, and leaves the rest as it is."""
        text, before = self.export(with_secrets=False), self.document()
        with self.change() as change:
            partners.remove(change, "ACME")
            settings.put(change, "server.deadlines.ssid", 99)
            settings.put(change, "server.deadlines.buffer", 99)
        found = self.take(text)
        self.assertEqual((found.identities, found.clients, found.administrators), (None, None, None))
        self.assertEqual(self.document(), before)
        with self.store.reading() as session:
            self.assertIsNotNone(clients.authenticate(session, self.token))

    def test_ignore_rules(self) -> None:
        """They are brought back as they were, and the log says so; one that stayed keeps its hits."""
        with self.change() as change:
            ignore_rules.find(change.session, "scan").hits = 7
        text = self.export(with_secrets=False)
        with self.change() as change:
            ignore_rules.alter(change, "scan", text="everything")
            ignore_rules.add(change, IgnoreRule(name="more", text="everything else"))
        self.assertEqual(self.take(text).ignore_rules, 1)
        with self.store.reading() as session:
            (rule,) = ignore_rules.listed(session)
        self.assertEqual((rule.rule.text, rule.hits), ("port scan", 7))
        told = [each.fields["ignored_by"] for each in self.stored("ignore.changed")]
        self.assertEqual(sorted(told[-2:]), ["more", "scan"])

    def test_before_ignore_rules(self) -> None:
        """A file of a version that did not export rules, rejections and tokens leaves them as they are."""
        document = json.loads(self.export(with_secrets=True))
        for where, name in ((document, "ignore_rules"), (document, "rejected_lists")):
            del where[name]
        del document["secrets"]["administrators"], document["secrets"]["users"]
        found = self.take(json.dumps(document))
        self.assertEqual((found.ignore_rules, found.administrators, found.users), (None, None, None))
        with self.store.reading() as session:
            self.assertEqual(len(ignore_rules.listed(session)), 1)
            self.assertIsNotNone(administrators.authenticate(session, self.admin_token))

    def test_notes_come_along(self) -> None:
        """What stands in pinned certificates, and whose the revocation lists are, is still readable afterwards."""
        self.take(self.export(with_secrets=False))
        with self.store.reading() as session:
            (first,) = partners.find(session, "ACME").notes
            lists = revocation.listed(session)
        self.assertIn("CN=acme", first.subject)
        self.assertIn("CN=Odette", lists[0].issuer)
        self.assertEqual([(each.scope.points, each.number) for each in lists][1], ((f"URI:{POINT}",), "7"))

    def test_earlier_version(self) -> None:
        """A file of before lists had a scope: they cover all certificates, and the notes say whose they are."""
        document = json.loads(self.export(with_secrets=False))
        notes, lists = document["issuers"], document["configuration"]["server"]["revocation"]
        del notes[1:], lists[1:]
        for each in (notes[0], lists[0]):
            del each["scope"]
        del lists[0]["issuer_name"]
        self.take(json.dumps(document))
        with self.store.reading() as session:
            (row,) = revocation.listed(session)
        self.assertIn("CN=Odette", row.issuer)
        document["issuers"] = []
        self.assertIn("does not name the issuer", str(self.assertRaises(Unusable, self.take, json.dumps(document))))

    def test_notes_are_not_needed(self) -> None:
        """Without the notes the same rules are imported."""
        document = json.loads(self.export(with_secrets=False))
        document["pins"], document["issuers"] = [], []
        before = self.document()
        self.take(json.dumps(document))
        self.assertEqual(self.document(), before)

    def test_needs_a_site(self) -> None:
        """It does not make a site: an empty store refuses it and stays empty."""
        text = self.export(with_secrets=False)
        self.elsewhere()
        self.assertIn("authority create", str(self.assertRaises(NotFound, self.take, text)))


class Damaged(ArchiveCase):
    """Nothing of a bad file is taken."""

    def refused(self, text: str) -> str:
        """Why a file is refused; the site is as it was."""
        before = self.document()
        error = self.assertRaises(Unusable, self.take, text)
        self.assertEqual(self.document(), before)
        return str(error)

    def test_not_an_export(self) -> None:
        """Other files are refused."""
        for text in ("", "[]", "{}", '{"configuration": 3}'):
            self.assertIn("cannot be imported" if not text else "'smartproxy export' writes", self.refused(text))

    def test_places(self) -> None:
        """What is wrong is refused with its place."""
        document = json.loads(self.export(with_secrets=True))
        document["configuration"]["server"]["partners"][1]["codes"] = []
        self.assertIn("server.partners[1].codes", self.refused(json.dumps(document)))
        document = json.loads(self.export(with_secrets=True))
        document["secrets"]["clients"][0]["token_sha256"] = "short"
        self.assertIn("secrets.clients[0].token_sha256", self.refused(json.dumps(document)))
        document = json.loads(self.export(with_secrets=True))
        document["surprise"] = 1
        self.assertIn("surprise", self.refused(json.dumps(document)))

    def test_identity_that_cannot_be_shown(self) -> None:
        """An identity is judged as by 'identity import': a server would refuse every further generation for it."""
        document = json.loads(self.export(with_secrets=True))
        (identity,) = document["configuration"]["server"]["identities"]
        identity["key"] = self_signed("other.example").key_pem.decode()
        self.assertIn("identity main.certificate: does not fit its private key", self.refused(json.dumps(document)))
        certificate, begin, key = corpus()["of-p192-with-key"].decode().partition("-----BEGIN PRIVATE KEY")
        identity["certificate"], identity["key"] = certificate, begin + key
        self.assertIn("does not accept it as strong enough", self.refused(json.dumps(document)))

    def test_newer_form(self) -> None:
        """A file of a form that is not known is refused."""
        document = json.loads(self.export(with_secrets=False))
        document["smartproxy_export"] = 2
        self.assertIn("smartproxy_export", self.refused(json.dumps(document)))
