"""A live session as an operator sees it."""

import json

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Profile
from smartproxy.policy.faults import Draining
from smartproxy.policy.portraits import Age, Portrait
from smartproxy.policy.schema import read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import PeerText
from smartproxy.relay.events import Arrived, Stop
from smartproxy.relay.session import Session
from tests.unit.playbook import (
    CD_,
    CODE,
    INITIATOR,
    PARTNER_SSID,
    RESPONDER,
    SFPA_0,
    data,
    relaying_client,
    relaying_server,
    server,
    sfid,
)


class Portraits(SynchronousTestCase):
    """From the first octet to the last."""

    def test_greeted(self) -> None:
        """Who called is known from its certificate; nothing else yet."""
        session = server()
        session.start()
        shown = session.portrait()
        self.assertEqual((shown["session"], shown["partner"]), ("0123456789abcdef", "ACME"))
        self.assertEqual((shown["phase"], shown["direction"]), ("identifying", "inbound"))
        for name in ("code", "speaker", "agreed", "file"):
            self.assertIsNone(shown[name], name)

    def test_identified(self) -> None:
        """Its SSIDCODE is told, its password is not."""
        session = server()
        session.start()
        session.receive(Arrived(INITIATOR, PARTNER_SSID))
        shown = session.portrait()
        self.assertEqual((shown["code"], shown["phase"]), (CODE, "opening"))
        self.assertNotIn("SECRET", json.dumps(shown))

    def test_idle(self) -> None:
        """Both SSIDs are exchanged: who speaks, and what was agreed."""
        for book in (relaying_server(), relaying_client()):
            shown = book.session.portrait()
            self.assertEqual((shown["phase"], shown["speaker"], shown["file"]), ("idle", "partner", None))
            agreed = shown["agreed"]
            assert isinstance(agreed, dict)
            self.assertEqual(agreed["level"], 5)

    def test_file_of_the_partner(self) -> None:
        """Its name, its direction and its octets so far, beside the octets of the session."""
        session = relaying_server(Profile.DEFAULT).session
        before = session.portrait()["octets_in"]
        for event in (Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0), Arrived(INITIATOR, data(b"hello"))):
            session.receive(event)
        shown = session.portrait()
        file = shown["file"]
        assert isinstance(file, dict) and isinstance(before, int)
        self.assertEqual(shown["phase"], "transfer")
        self.assertEqual((file["link"], file["octets"], file["originator"]), ("in", 5, CODE))
        self.assertEqual(shown["octets_in"], before + len(sfid()) + len(data(b"hello")))

    def test_file_of_the_station(self) -> None:
        """A file in the other direction says so."""
        session = relaying_client().session
        for event in (Arrived(INITIATOR, CD_), Arrived(RESPONDER, sfid())):
            session.receive(event)
        shown = session.portrait()
        file = shown["file"]
        assert isinstance(file, dict)
        self.assertEqual((file["link"], shown["speaker"]), ("out", "station"))

    def test_declared(self) -> None:
        """Whatever a session is portrayed with is read by the declaration, whichever daemon has it."""
        session = server()
        self.declared(session)
        session.start()
        self.declared(session)
        for book in (relaying_server(), relaying_client()):
            self.declared(book.session)
        for event in (Arrived(INITIATOR, CD_), Arrived(RESPONDER, sfid())):
            book.session.receive(event)
        self.declared(book.session)

    def declared(self, session: Session) -> None:
        """A portrait is the same when it was written and read."""
        shown = session.portrait()
        self.assertEqual(write_object(read_object(Portrait, json.loads(json.dumps(shown)))), shown)

    def test_texts_of_a_peer(self) -> None:
        """What could act on a reader is made visible when it is written, and refused when it is read."""
        kind = PeerText(most=20)
        written = {
            "A\x1b[2J\n": "A\\x1b[2J\\n",
            "\u202e": "\\u202e",
            "\ud800": "\\ud800",
            "x" * 21: "x" * 19 + "…",
            "": "",
        }
        for text, shown in written.items():
            self.assertEqual(kind.write(text), shown)
            self.assertEqual(kind.read(shown, "x"), shown)
        self.assertEqual(len(str(kind.write("\U0010ffff" * 20))), 20)
        for wrong in ("A\x1b", "\u202e", "\ud800", "x" * 21, 5, None):
            self.assertRaises(DocumentRefused, kind.read, wrong, "x")

    def test_ages(self) -> None:
        """An age is a number of seconds that a session can have lived for."""
        for good in (0, 0.5, 1e6):
            self.assertEqual(Age().read(good, "x"), good)
        for wrong in (-0.1, 1e300, float("nan"), float("inf"), True, "5", None):
            self.assertRaises(DocumentRefused, Age().read, wrong, "x")

    def test_ending(self) -> None:
        """A session whose legs are being closed is there still."""
        session = relaying_server().session
        session.receive(Stop(Draining(rule="x", message="x")))
        self.assertEqual(session.portrait()["phase"], "ending")
