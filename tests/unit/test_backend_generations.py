"""Generations: every change is whole, valid, numbered and told, or it is none."""

import json
from hashlib import sha256
from unittest.mock import patch

import attrs

from smartproxy.backend import authority, clients, generations, history, partners, settings
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound
from smartproxy.backend.generations import Tag
from smartproxy.backend.schema import GenerationRow
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId, parse
from smartproxy.policy.partners import CertificatePin, KeyPin, Outbound, Partner
from smartproxy.policy.strict_json import DocumentRefused
from tests.unit.sites import NOW, PIN, SiteCase

ACME = Partner(name="ACME", codes=("O0013000001ACME",), certificates=(CertificatePin(sha256=PIN),))


class Changes(SiteCase):
    """What a change leaves behind."""

    def numbers(self) -> list[int]:
        """The numbers of the history."""
        with self.store.reading() as session:
            return [each.number for each in history.listed(session, 100)]

    def test_one_more(self) -> None:
        """A change is the next number, with its author, its words and its time."""
        with self.change("partner add ACME") as change:
            partners.add(change, ACME)
        with self.store.reading() as session:
            newest = history.listed(session, 1)[0]
        self.assertEqual(
            newest,
            history.HistoryEntry(
                number=2, made=NOW, made_by="alice", channel=Channel.COMMAND, change="partner add ACME"
            ),
        )

    def test_nothing_new(self) -> None:
        """A change whose entries are all as they were makes no generation, and tells nothing; it is still judged."""
        with self.change() as change:
            partners.add(change, ACME)
            settings.put(change, "server.limits.sessions", 700)
        told = len(self.stored())
        with self.change() as change:
            partners.alter(change, "ACME", enabled=True)
            settings.put(change, "server.limits.sessions", 700)
        self.assertEqual((change.made, self.numbers(), len(self.stored())), (False, [1, 2], told))
        with self.change() as change:
            partners.alter(change, "ACME", enabled=True)
            partners.alter(change, "ACME", enabled=False)
        self.assertEqual((change.made, self.numbers()), (True, [1, 2, 3]))

    def test_document(self) -> None:
        """The document of the newest generation is what the policy reads, with this number; older ones are not kept."""
        with self.change() as change:
            partners.add(change, ACME)
        with self.store.reading() as session:
            found = generations.newest_document(session)
            kept = [row.number for row in session.query(GenerationRow) if row.document is not None]
        assert found is not None
        tag, octets = found
        configuration = parse(octets)
        self.assertEqual((tag.number, configuration.generation, kept), (2, 2, [2]))
        self.assertEqual((tag.store, tag.digest), (configuration.store, sha256(octets).hexdigest()[:16]))
        self.assertEqual([each.name for each in configuration.server.partners], ["ACME"])
        self.assertEqual(configuration.site, "Muster GmbH")
        self.assertEqual([each.port for each in configuration.server.listeners], [6619])

    def test_own_port_of_a_client(self) -> None:
        """A port that would be a partner's and a client's is refused with both names, whichever came last."""
        with self.change() as change:
            clients.add(change, "inner", listen_port=65434)
            partners.add(change, attrs.evolve(ACME, outbound=Outbound(host="acme.example", listener=3306)))
        with self.assertRaises(ChangeRefused) as refused, self.change() as change:
            clients.alter(change, "inner", listen_port=3306)
        self.assertRegex(str(refused.exception), "partner ACME, outbound.listener: port 3306 .* client inner listens")
        with self.assertRaises(ChangeRefused), self.change() as change:
            partners.alter(change, "ACME", outbound=Outbound(host="acme.example", listener=65434))

    def test_text_in_a_document(self) -> None:
        """No text in a document is taken for the client's part of it."""
        name = 'a,"client":{"outbound":1}'
        with self.change() as change:
            authority.site_row(change.session).name = name
            clients.add(change, "inner", listen_port=1)
        with self.store.reading() as session:
            found, entry = generations.newest_document(session), clients.entry_of(session, "inner")
        assert found is not None and entry is not None
        configuration = parse(generations.for_client(found[1], entry))
        self.assertEqual((configuration.site, configuration.client.outbound.port), (name, 1))

    def test_events(self) -> None:
        """A change is told: its subject's event and configuration.changed, with number and author."""
        with self.change("partner add ACME") as change:
            partners.add(change, ACME)
        (partner,) = self.stored("partner.changed")
        (changed,) = [each for each in self.stored("configuration.changed") if each.fields["generation"] == 2]
        self.assertEqual(partner.fields["partner"], "ACME")
        self.assertEqual(partner.fields["facts"], {"by": "alice"})
        self.assertEqual((changed.fields["previous"], changed.fields["command"]), (1, "partner add ACME"))

    def test_refused(self) -> None:
        """A change that is not valid leaves no row, no number and no event, and its refusal names the partner."""
        events = len(self.stored())

        def refuse() -> None:
            with self.change() as change:
                partners.add(change, attrs.evolve(ACME, codes=("X" * 26,)))

        error = self.assertRaises(ChangeRefused, refuse)
        self.assertIn("partner ACME, codes[0]", str(error))
        self.assertIn("nothing is changed", str(error))
        self.assertEqual(self.numbers(), [1])
        self.assertEqual(len(self.stored()), events)
        with self.store.reading() as session:
            self.assertEqual(partners.listed(session), [])

    def test_out_of_range(self) -> None:
        """A date that arithmetic cannot bear refuses the change as a whole, in words."""

        def overflow() -> None:
            with (
                patch.object(generations, "parse", side_effect=OverflowError("date value out of range")),
                self.change(),
            ):
                pass

        self.assertIn("nothing is changed", str(self.assertRaises(ChangeRefused, overflow)))
        self.assertEqual(self.numbers(), [1])

    def test_refused_by_the_store(self) -> None:
        """A name that is taken leaves the generation as it was."""
        with self.change() as change:
            partners.add(change, ACME)

        def again() -> None:
            with self.change() as change:
                partners.add(change, ACME)

        self.assertIn("there is a partner 'ACME' already", str(self.assertRaises(AlreadyThere, again)))
        self.assertEqual(self.numbers(), [1, 2])

    def test_both_partners_named(self) -> None:
        """A code that two partners would have names both of them in the operator's words, and leaves nothing behind."""
        with self.change() as change:
            partners.add(change, ACME)
        events = len(self.stored())

        def clash() -> None:
            with self.change() as change:
                partners.add(change, attrs.evolve(ACME, name="BETA", certificates=(KeyPin(sha256=PIN),)))

        error = str(self.assertRaises(ChangeRefused, clash))
        self.assertIn("partner BETA, codes[0]", error)
        self.assertIn("partner ACME, codes[0]", error)
        self.assertEqual((self.numbers(), len(self.stored())), ([1, 2], events))
        with self.store.reading() as session:
            self.assertEqual([row.name for row in partners.listed(session)], ["ACME"])

    def test_history_is_bounded(self) -> None:
        """The history gives the newest entries, oldest first."""
        for _ in range(3):
            with self.change():
                pass
        with self.store.reading() as session:
            self.assertEqual([each.number for each in history.listed(session, 2)], [3, 4])


class BeforeTheFirst(SiteCase):
    """A store without a site."""

    founded = False

    def test_nothing(self) -> None:
        """There is no generation and no document."""
        with self.store.reading() as session:
            self.assertEqual(generations.newest_number(session), 0)
            self.assertIsNone(generations.newest_document(session))

    def test_no_change_without_a_site(self) -> None:
        """Nothing can be changed before the authority is made, and the refusal says how to make it."""

        def early() -> None:
            with self.change() as change:
                partners.add(change, ACME)

        self.assertIn("smartproxy authority create", str(self.assertRaises(NotFound, early)))


class SetBack(SiteCase):
    """A store that was set back to a copy of itself."""

    def tag(self) -> Tag:
        """What the newest generation is known by."""
        with self.store.reading() as session:
            return generations.newest_tag(session)

    def known(self, tag: Tag) -> Tag:
        """A client calls that knows this; what the newest generation is known by then."""
        generations.set_back(self.store, tag, "inner", NOW)
        return self.tag()

    def test_what_it_made_and_what_others_made(self) -> None:
        """A client that knows its newest or an older generation, another store's or none changes nothing."""
        first = self.tag()
        with self.change() as change:
            partners.add(change, ACME)
        newest = self.tag()
        self.assertNotEqual(newest.digest, first.digest)
        for tag in (newest, first, attrs.evolve(newest, store="0" * 16, number=99), Tag(0), Tag(99)):
            self.assertEqual(self.known(tag), newest)
        self.assertEqual(self.stored("store.set_back"), [])

    def test_later_than_its_newest(self) -> None:
        """A client that knows a later one makes it take another id, once, in a generation of its own, which is told."""
        before = self.tag()
        after = self.known(attrs.evolve(before, number=99))
        self.assertEqual(after.number, before.number + 1)
        self.assertNotEqual(after.store, before.store)
        with self.store.reading() as session:
            found = generations.newest_document(session)
            (newest,) = history.listed(session, 1)
        assert found is not None
        self.assertEqual(parse(found[1]).id, GenerationId(after.number, after.store))
        self.assertEqual(newest.made_by, "smartproxy-backend")
        (told,) = self.stored("store.set_back")
        self.assertEqual((told.fields["previous"], told.fields["client"]), (99, "inner"))
        self.assertEqual(self.known(attrs.evolve(before, number=99)), after)

    def test_two_at_once(self) -> None:
        """Two clients that ask at once, both before either is answered, make it take one id, in one generation."""
        known = attrs.evolve(self.tag(), number=99)
        self.patch(generations, "_made", lambda session, tag: False)
        after = self.known(known)
        self.assertEqual(self.known(known), after)
        self.assertEqual(len(self.stored("store.set_back")), 1)

    def test_grown_past_it_again(self) -> None:
        """That the copy has a generation of this number by now hides nothing: its document is another."""
        before = self.tag()
        lost = attrs.evolve(before, number=before.number + 1, digest="0" * 16)
        for _ in range(3):
            with self.change() as change:
                settings.put(change, "server.deadlines.ssid", 40 + change.generation)
        self.assertNotEqual(self.known(lost).store, before.store)


class Explaining(SiteCase):
    """Places of the document in the operator's words."""

    def test_unknown_entry(self) -> None:
        """A place that the tables do not have stays as it is."""
        with self.store.reading() as session:
            for place in ("server.partners[9].codes", "client.pool.ready"):
                refused = DocumentRefused(where=place, cause=Cause.DOCUMENT_NOT_UNIQUE, message="is wrong")
                self.assertEqual(generations.explain(session, refused), f"{place}: is wrong")

    def test_everything_in_it_is_left_to_defaults(self) -> None:
        """What is in no table does not stand in the document, so that defaults stand in one place only."""
        with self.store.reading() as session:
            built = json.loads(generations.build(session, 1))
        self.assertEqual(set(built["server"]), {"identities", "cas", "revocation", "partners", "licence", "listeners"})
        self.assertEqual(built["client"], {})
