"""The history: what each generation changed, without secrets, and the way back to any of them."""

from datetime import timedelta

import attrs

from smartproxy.backend import (
    authority,
    cas,
    clients,
    generations,
    history,
    identities,
    partners,
    revocation,
    rollback,
    settings,
    sightings,
    states,
)
from smartproxy.backend.change import Channel
from smartproxy.backend.consequences import Refusal
from smartproxy.backend.errors import ChangedMeanwhile, ChangeRefused, NotFound
from smartproxy.backend.schema import PinNote
from smartproxy.backend.states import Difference, EntryKind, EntryPlace
from smartproxy.backend.trail_tables import DifferenceRow
from smartproxy.logs.record import Record
from smartproxy.oftp2.roles import Level
from smartproxy.policy.configuration import parse
from smartproxy.policy.partners import CertificatePin, Partner, Purpose, RevocationMode, SubjectRule
from tests.unit.sites import NOW, PIN, PROXY_ID, SiteCase
from tests.unit.test_backend_cas import CaCase

ACME = Partner(name="ACME", codes=("O0013000001ACME",), certificates=(CertificatePin(sha256=PIN),))
BETA = Partner(name="BETA", codes=("O0013000002BETA",), certificates=(CertificatePin(sha256="cd" * 32),))
SSID = "server.deadlines.ssid"


def seen(partner: str, ca: str) -> Record:
    """A server tells of a certificate with which a partner was admitted."""
    fields = {
        "partner": partner,
        "ca": ca,
        "certificate_sha256": "12" * 32,
        "subject": "CN=acme",
        "issuer": "CN=Odette",
        "serial": "1f",
        "not_after": "2027-11-20T12:00:00.000Z",
    }
    return Record("certificate.accepted", NOW, "server", 1, fields)


class HistoryCase(SiteCase):
    """A site with a partner, in generation 2."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        with self.change("partner add ACME") as change:
            partners.add(change, ACME)

    def changed(self, number: int) -> tuple[Difference, ...]:
        """What a generation changed."""
        with self.store.reading() as session:
            return history.differences_of(session, number)

    def plan(self, number: int) -> rollback.RollBack:
        """What a roll-back would do."""
        with self.store.reading() as session:
            return rollback.plan(session, number, NOW)

    def roll_back(self, number: int) -> None:
        """Do it."""
        plan = self.plan(number)
        with self.change(f"history roll-back {number}") as change:
            rollback.carry_out(change, plan)

    def content(self) -> tuple[object, ...]:
        """The settings, CAs and partners that clients are told."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        parsed = parse(found[1])
        return parsed.server.partners, parsed.server.cas, parsed.server.deadlines, parsed.server.listeners


class WhatIsKept(HistoryCase):
    """The entry of a generation, and its differences."""

    def test_author_way_and_comment(self) -> None:
        """A generation is kept with its author, its time, the way it came in and why it was made; and told so."""
        with generations.changing(
            self.store, by="bob", what="settings set", now=NOW, channel=Channel.API, comment="as agreed"
        ) as change:
            settings.put(change, SSID, 40)
        with self.store.reading() as session:
            newest = history.find(session, 3)
        self.assertEqual(
            newest,
            history.HistoryEntry(
                number=3, made=NOW, made_by="bob", channel=Channel.API, change="settings set", comment="as agreed"
            ),
        )
        told = self.stored("configuration.changed")[-1].fields
        self.assertEqual((told["channel"], told["comment"]), ("api", "as agreed"))

    def test_comment_is_one_line(self) -> None:
        """A comment of several lines, or of too many characters, refuses the change as a whole."""

        def change(comment: str) -> None:
            with generations.changing(self.store, by="bob", what="test", now=NOW, comment=comment) as making:
                settings.put(making, SSID, 40)

        for comment in ("two\nlines", "x" * 501, ""):
            self.assertIn("nothing is changed", str(self.assertRaises(ChangeRefused, change, comment)))
        with self.store.reading() as session:
            self.assertEqual(generations.newest_number(session), 2)

    def test_differences(self) -> None:
        """A change of one value is one difference, with the entry before and after it."""
        with self.change() as change:
            partners.alter(change, "ACME", lowest_level=Level.OFTP_1_4)
        (found,) = self.changed(3)
        self.assertEqual(found.place, EntryPlace(EntryKind.PARTNER, "ACME"))
        self.assertEqual((found.before["entry"]["lowest_level"], found.after["entry"]["lowest_level"]), (5, 4))

    def test_added_and_removed(self) -> None:
        """What was not there before has no before, and what is removed has no after."""
        (added,) = self.changed(2)
        self.assertIsNone(added.before)
        with self.change() as change:
            partners.remove(change, "ACME")
        (removed,) = self.changed(3)
        self.assertEqual((removed.before, removed.after), (added.after, None))

    def test_nothing_differs(self) -> None:
        """A generation that changes no entry has no difference."""
        with self.change() as change:
            partners.alter(change, "ACME", lowest_level=Level.OFTP_2_0)
        self.assertEqual(self.changed(3), ())

    def test_no_secret(self) -> None:
        """No private key and no token's digest is in the history, which says all the same that they changed."""
        with self.change() as change:
            token = clients.add(change, "inner")
            asked = identities.make_request("main", identities.Subject(common_name="oftp.example"), "ec-p256")
            identities.request(change, asked)
        with self.change() as change:
            clients.new_token_for(change, "inner")
        with self.store.reading() as session:
            kept = repr([(row.before, row.after) for row in session.query(DifferenceRow)])
            site = authority.site_row(session)
            secrets = [clients.token_digest(token), token, asked.key, site.authority_key, site.https_key]
        for secret in secrets:
            self.assertNotIn(secret.strip()[40:90] if "KEY" in secret else secret, kept)
        self.assertNotIn("PRIVATE", kept)
        (renewed,) = self.changed(4)
        self.assertEqual((renewed.place, renewed.secret), (EntryPlace(EntryKind.CLIENT, "inner"), True))
        self.assertEqual(renewed.before, renewed.after)

    def test_since(self) -> None:
        """All changes since a generation are one difference for each entry; what was undone meanwhile is none."""
        for seconds in (40, 50):
            with self.change() as change:
                settings.put(change, SSID, seconds)
        with self.change() as change:
            partners.alter(change, "ACME", enabled=False)
        with self.change() as change:
            partners.alter(change, "ACME", enabled=True)
        with self.store.reading() as session:
            (found,) = history.since(session, 2)
        self.assertEqual((found.place.name, found.before, found.after), (SSID, None, {"value": 50}))

    def test_unknown_generation(self) -> None:
        """A generation that there is not is refused with the newest number."""
        with self.store.reading() as session:
            error = str(self.assertRaises(NotFound, history.find, session, 9))
        self.assertIn("the newest is 2", error)


class RollingBack(HistoryCase):
    """The way back."""

    def test_back(self) -> None:
        """Settings and partners are those of the earlier generation again, in a new generation; and forth again."""
        first = self.content()
        with self.change() as change:
            settings.put(change, SSID, 40)
            settings.reset(change, settings.LISTENERS)
            partners.alter(change, "ACME", lowest_level=Level.OFTP_1_4, codes=("O0013000001ACME", "O0013000001B"))
            partners.add(change, BETA)
        second = self.content()
        self.assertNotEqual(first, second)
        self.roll_back(2)
        self.assertEqual(self.content(), first)
        self.roll_back(3)
        self.assertEqual(self.content(), second)
        with self.store.reading() as session:
            self.assertEqual([each.number for each in history.listed(session, 100)], [1, 2, 3, 4, 5])

    def test_removed_partner(self) -> None:
        """A partner that was removed comes back with its entry and what was known of its pins."""
        note = PinNote(sha256=PIN, subject="CN=acme", not_after=NOW + timedelta(days=9))
        with self.change() as change:
            partners.alter(change, "ACME", [note], purpose=Purpose.ANY)
        with self.change() as change:
            partners.remove(change, "ACME")
        self.roll_back(3)
        with self.store.reading() as session:
            row = partners.find(session, "ACME")
        self.assertEqual((row.entry.purpose, row.notes), (Purpose.ANY, (note,)))

    def test_partner_of_a_setting(self) -> None:
        """A setting that names a partner comes back together with the partner, and goes with it."""
        for name in ("backend.mail.partners", "backend.event_script.partners"):
            with self.change() as change:
                settings.put(change, name, ["ACME"])
        with self.store.reading() as session:
            named = generations.newest_number(session)
        with self.change() as change:
            settings.reset(change, "backend.mail.partners")
            settings.reset(change, "backend.event_script.partners")
            partners.remove(change, "ACME")
        self.roll_back(named)
        with self.store.reading() as session:
            self.assertEqual(partners.find(session, "ACME").entry, ACME)
            self.assertEqual(settings.value_of(session, "backend.mail.partners"), ["ACME"])
            self.assertEqual(settings.value_of(session, "backend.event_script.partners"), ["ACME"])
        self.roll_back(1)
        with self.store.reading() as session:
            self.assertEqual(partners.listed(session), [])
            self.assertEqual(settings.value_of(session, "backend.mail.partners"), [])

    def test_whom_it_refuses(self) -> None:
        """What a partner could do after the change, and not after the roll-back, is said of each partner."""
        with self.change() as change:
            partners.alter(change, "ACME", lowest_level=Level.OFTP_1_4, codes=("O0013000001ACME", "O0013000001B"))
            partners.add_rules(change, "ACME", [CertificatePin(sha256="ef" * 32)])
            partners.add(change, BETA)
        self.assertEqual(
            self.plan(2).refusals,
            (
                Refusal(partner="ACME", why="its code O0013000001B is not known any more"),
                Refusal(partner="ACME", why="release levels below 2.0 are refused"),
                Refusal(partner="ACME", why=f"its certificate is not recognized any more: certificate {'ef' * 32}"),
                Refusal(partner="BETA", why="it is no partner any more"),
            ),
        )

    def test_what_stays(self) -> None:
        """Clients, their tokens, licences and private keys are not brought back; each is said with its reason."""
        with self.change() as change:
            clients.add(change, "inner")
        with self.change() as change:
            clients.remove(change, "inner")
            settings.put(change, SSID, 40)
        plan = self.plan(3)
        self.assertEqual([each.place.name for each in plan.differences], [SSID])
        self.assertIn(
            (EntryPlace(EntryKind.CLIENT, "inner"), "it was removed together with its token: add it again"),
            [(each.difference.place, each.why) for each in plan.kept],
        )
        self.roll_back(3)
        with self.store.reading() as session:
            self.assertRaises(NotFound, clients.find, session, "inner")

    def test_changed_meanwhile(self) -> None:
        """A plan that was made before another change is refused: it would undo what nobody looked at."""
        with self.change() as change:
            settings.put(change, SSID, 40)
        plan = self.plan(2)
        with self.change() as change:
            settings.put(change, SSID, 50)

        def late() -> None:
            with self.change() as change:
                rollback.carry_out(change, plan)

        refused = self.assertRaises(ChangedMeanwhile, late)
        self.assertEqual(("alice", NOW, 4), (refused.by, refused.made, refused.generation))
        with self.store.reading() as session:
            self.assertEqual(settings.value_of(session, SSID), 50)


class RollingBackCas(CaCase):
    """CAs come back with their certificates; their revocation lists never grow older."""

    def roll_back(self, number: int) -> None:
        """Roll back."""
        with self.store.reading() as session:
            plan = rollback.plan(session, number, NOW)
        with self.change() as change:
            rollback.carry_out(change, plan)

    def test_back(self) -> None:
        """A CA that was removed is there again for the partner that needs it, and revocation as it was."""
        rule = SubjectRule(ca="odette", serial_number="O0013000001ACME")
        with self.change() as change:
            partners.add(change, attrs.evolve(ACME, certificates=(rule,)))
        before = self.configured()
        with self.change() as change:
            partners.remove(change, "ACME")
            cas.remove(change, "odette")
        with self.change() as change:
            cas.add(change, "later", self.certificates[:1])
        self.roll_back(3)
        self.assertEqual(self.configured().cas, before.cas)
        self.assertEqual(self.configured().partners, before.partners)
        with self.change() as change:
            cas.alter(change, "odette", certificates=self.certificates[:1], revocation=RevocationMode.OFF)
        self.roll_back(3)
        self.assertEqual(self.configured().cas, before.cas)

    def test_newer_list_stays(self) -> None:
        """A list that was loaded since stays loaded, and that is said."""
        with self.change() as change:
            revocation.load(change, revocation.parse(self.root.crl([], this_update=NOW), "root.crl"))
        with self.store.reading() as session:
            plan = rollback.plan(session, 2, NOW)
        (kept,) = plan.kept
        self.assertEqual(plan.differences, ())
        self.assertEqual(kept.difference.place.subject, EntryKind.LIST)
        self.assertIn("never takes the place of a newer one", kept.why)

    def test_whom_a_ca_refuses(self) -> None:
        """Partners whose certificates came from a CA are named when a certificate of the CA goes."""
        with self.change() as change:
            partners.add(change, ACME)
            cas.add(change, "later", self.certificates[:1])
        with self.store.writing() as session:
            sightings.note(session, [seen("ACME", "later")])
        with self.store.reading() as session:
            found = rollback.plan(session, 2, NOW).refusals
        self.assertIn(
            ("ACME", "a certificate of the CA later is not trusted any more, and its own may depend on it"),
            [(each.partner, each.why) for each in found],
        )
        with self.change() as change:
            cas.add(change, "both", self.certificates)
        with self.store.writing() as session:
            sightings.note(session, [seen("ACME", "both")])
        with self.store.reading() as session:
            found = rollback.plan(session, 3, NOW).refusals
        why = "2 certificates of the CA both are not trusted any more, and its own may depend on one of them"
        self.assertIn(("ACME", why), [(each.partner, each.why) for each in found])


class Secrets(SiteCase):
    """What counts as one."""

    def test_declared(self) -> None:
        """A client's token and private keys are masked in every state; certificates are not."""
        with self.change() as change:
            clients.add(change, "inner")
        with self.store.reading() as session:
            (found,) = [
                each
                for each in states.differences({}, states.present(session))
                if each.place.subject is EntryKind.CLIENT
            ]
        self.assertLess({"name", "enabled", "address", "created"}, set(found.after))
        self.assertNotIn("token_sha256", found.after)
        self.assertEqual(attrs.asdict(found)["secret"], False)
        self.assertNotIn(PROXY_ID, repr(found))
