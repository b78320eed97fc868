"""Clients and their clients."""

import re
from datetime import timedelta
from hashlib import sha256
from unittest.mock import patch

from sqlalchemy import select

from smartproxy.backend import clients, licences
from smartproxy.backend.errors import AlreadyThere, NotFound, Unusable
from smartproxy.backend.schema import ClientRow
from smartproxy.policy.licence import WithdrawnClient
from smartproxy.policy.licence import read as read_licence
from tests.unit.sites import NOW, PROXY_ID, SiteCase


class Clients(SiteCase):
    """Adding, knowing and removing clients."""

    def add(self, name: str = "inner") -> str:
        """Add a client; return its token."""
        with self.change(f"client add {name}") as change:
            return clients.add(change, name)

    def known(self, token: str) -> ClientRow | None:
        """Whose token it is."""
        with self.store.reading() as session:
            return clients.authenticate(session, token)

    def test_shut_out(self) -> None:
        """Whoever is disabled or removed is in every licence that is in force, with the begin of its last certificate.

        The end of the licences stays; those that have ended stay as they are.
        """
        ended, other = "e" * 64 + "px", "f" * 64 + "px"
        with self.change() as change:
            for each, days in ((ended, 1), (PROXY_ID, 30), (other, 60)):
                until = NOW + timedelta(days=days)
                licences.issue(change, each, valid_from=NOW, valid_until=until, limits={"sessions": 7})
        for name in ("first", "second"):
            self.add(name)
        later = NOW + timedelta(days=2, microseconds=400)
        with self.change(now=later) as change:
            clients.enable(change, "first", False)
        with self.change(now=later + timedelta(days=1)) as change:
            clients.remove(change, "second")
        until = later.replace(microsecond=0) - timedelta(hours=1)
        withdrawn = (
            WithdrawnClient(name="first", begins_until=until),
            WithdrawnClient(name="second", begins_until=until + timedelta(days=1)),
        )
        with self.store.reading() as session:
            newest = licences.newest(session)
        for each, expected in ((ended, ()), (PROXY_ID, withdrawn), (other, withdrawn)):
            licence = read_licence(newest[each].text, each, NOW)
            self.assertEqual((licence.withdrawn, licence.limits), (expected, {"sessions": 7}))
            self.assertEqual(licence.valid_until, newest[each].valid_until)

    def test_shut_out_again(self) -> None:
        """What was withdrawn for long stays so, though a client of the same name is shut out for days."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + timedelta(days=90), limits={})
            licences.shut_out(change, "inner", timedelta(days=3650))
        token = self.add()
        self.add("other")
        with self.change() as change:
            clients.remove(change, "inner")
        with self.change(now=NOW + timedelta(days=10)) as change:
            clients.remove(change, "other")
        with self.store.reading() as session:
            licence = read_licence(licences.newest(session)[PROXY_ID].text, PROXY_ID, NOW)
        self.assertEqual([each.name for each in licence.withdrawn], ["inner", "other"])
        with self.change() as change:
            licences.shut_out(change, "inner", timedelta(days=1))
            self.assertEqual(clients.was_removed(change.session, token), "inner")

    def test_shut_out_later(self) -> None:
        """A client that is shut out again is so with what it got in between; a clock put back takes nothing away."""
        for days in (0, 2, 1):
            with self.change(now=NOW + timedelta(days=days)) as change:
                licences.shut_out(change, "inner", timedelta(days=7))
        with self.store.reading() as session:
            begins = NOW.replace(microsecond=0) + timedelta(days=2) - timedelta(hours=1)
            self.assertEqual(licences.withdrawn(session, "inner"), begins)

    def test_token(self) -> None:
        """A token is 256 random bits with a prefix; the store holds its SHA-256 and nothing else of it."""
        token = self.add()
        self.assertTrue(re.fullmatch(r"spc_[A-Za-z0-9_-]{43}", token), token)
        self.assertNotEqual(token, clients.new_token())
        with self.store.reading() as session:
            (entry,) = session.scalars(select(ClientRow.entry))
            self.assertEqual(entry.token_sha256, sha256(token.encode()).hexdigest())
        held = self.held()
        self.assertNotIn(token.encode(), held)

    def test_known_by_token(self) -> None:
        """A client is known by its own token, by no other and by no part of it."""
        first, second = self.add("first"), self.add("second")
        for token, name in ((first, "first"), (second, "second")):
            row = self.known(token)
            assert row is not None
            self.assertEqual(row.name, name)
        for wrong in ("", first[:-1], first + "x", first.upper(), "spc_" + "A" * 43, "\udcff"):
            self.assertIsNone(self.known(wrong), wrong)

    def test_every_client_is_compared(self) -> None:
        """The time that it takes does not tell how many clients came before the right one."""
        first = self.add("a")
        for name in ("b", "c"):
            self.add(name)
        with patch.object(clients, "same_digest", wraps=clients.same_digest) as compared:
            self.known(first)
        self.assertEqual(compared.call_count, 3)

    def test_new_token(self) -> None:
        """After a new token the old one is worth nothing."""
        old = self.add()
        with self.change() as change:
            new = clients.new_token_for(change, "inner")
        self.assertIsNone(self.known(old))
        self.assertIsNotNone(self.known(new))

    def test_disabled(self) -> None:
        """A disabled client is still known by its token, so that the refusal can name it."""
        token = self.add()
        with self.change() as change:
            clients.enable(change, "inner", False)
        row = self.known(token)
        assert row is not None
        self.assertFalse(row.entry.enabled)

    def test_removed(self) -> None:
        """A removed client is not known, and its name can be used again."""
        token = self.add()
        with self.change() as change:
            clients.remove(change, "inner")
        self.assertIsNone(self.known(token))
        self.add()

    def test_names(self) -> None:
        """A name stands once, and is one that certificates and logs take."""
        self.add()
        self.assertIn("smartproxy client token inner", str(self.assertRaises(AlreadyThere, self.add)))
        for name in ("", "a b", "x" * 65, "-a", "ä", "a\n"):
            self.assertRaises(Unusable, self.add, name)

    def test_not_there(self) -> None:
        """A client that is not there is refused with those that are."""
        self.add("first")
        with self.store.reading() as session:
            error = self.assertRaises(NotFound, clients.find, session, "second")
        self.assertIn("known: first", str(error))

    def test_noted_calls(self) -> None:
        """A call is noted when it tells something: the first, one half a minute later, one from elsewhere.

        One that was noted while the clock was ahead does not stand for those of now.
        """
        self.add()
        with self.store.writing() as session:
            row = clients.find(session, "inner")
            self.assertTrue(clients.worth_noting(row, NOW, "1", "192.0.2.1"))
            clients.note_call(session, "inner", NOW, "1", "192.0.2.1")
            soon, later = NOW + timedelta(seconds=29), NOW + timedelta(seconds=30)
            self.assertFalse(clients.worth_noting(row, soon, "1", "192.0.2.1"))
            self.assertTrue(clients.worth_noting(row, later, "1", "192.0.2.1"))
            self.assertTrue(clients.worth_noting(row, soon, "2", "192.0.2.1"))
            self.assertTrue(clients.worth_noting(row, soon, "1", "192.0.2.2"))
            for back, noted in ((timedelta(seconds=29), False), (timedelta(hours=1), True)):
                self.assertEqual(clients.worth_noting(row, NOW - back, "1", "192.0.2.1"), noted, back)
            clients.note_certificate(session, "inner", later)
        with self.store.reading() as session:
            row = clients.find(session, "inner")
        self.assertEqual(
            (row.last_seen, row.last_version, row.last_address, row.certificate_until), (NOW, "1", "192.0.2.1", later)
        )

    def test_noted_after_removal(self) -> None:
        """A client that was removed during its call is not brought back by the note of it."""
        with self.store.writing() as session:
            clients.note_call(session, "gone", NOW, "1", "192.0.2.1")
            clients.note_certificate(session, "gone", NOW)
        with self.store.reading() as session:
            self.assertEqual(clients.listed(session), [])

    def test_address(self) -> None:
        """A client may be bound to one address, and freed again; what is no address is refused."""
        with self.change() as change:
            clients.add(change, "bound", address="2001:DB8::0:1")
            change.session.flush()
            self.assertEqual(clients.find(change.session, "bound").entry.address, "2001:db8::1")
            self.assertIsNone(clients.alter(change, "bound", address=None).entry.address)
            self.assertRaises(Unusable, clients.alter, change, "bound", address="10.0.0.0/8")
            self.assertRaises(Unusable, clients.add, change, "other", address="localhost")

    def test_told(self) -> None:
        """Each of these changes is an event that names the client and never the token."""
        token = self.add()
        (event,) = self.stored("client.changed")
        self.assertEqual(event.fields["names"], ["inner"])
        self.assertFalse([each for each in self.stored() if token in str(each)])
