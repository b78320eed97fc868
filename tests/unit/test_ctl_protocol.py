"""The control socket's requests and answers."""

import json

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl import protocol
from smartproxy.ctl.answers import DrainBegun, KilledSession
from smartproxy.ctl.protocol import (
    REQUEST_OCTETS_MOST,
    AskLevel,
    AskStatus,
    Refused,
    TellDrain,
    TellKill,
    TellRestart,
    done,
    read_answer,
    read_request,
    refused,
)
from smartproxy.policy.strict_json import DocumentRefused


class Requests(SynchronousTestCase):
    """What a daemon takes for a request."""

    def test_what_is_sent_is_read(self) -> None:
        """A request comes out as it was put in, on one line."""
        for request in (
            AskStatus(),
            AskLevel(level="trace", partner="ACME"),
            TellDrain(seconds=60),
            TellRestart(),
            TellKill(session="0123456789abcdef"),
        ):
            line = request.line()
            self.assertEqual((line.count(b"\n"), line[-1:]), (1, b"\n"))
            self.assertEqual(read_request(line.rstrip(b"\n")), request)

    def test_what_is_no_request(self) -> None:
        """Each is refused in a line that names what is wrong."""
        for line, words in (
            (b"", "not a request"),
            (b"status", "not a request"),
            (b"[]", "has to be an object"),
            (b"\xff", "not a request"),
            (b"{}", "request.do: has to be one of"),
            (b'{"do": 5}', "request.do: has to be one of"),
            (b'{"do": "stop"}', "status, sessions, generation, licence, level, drain, restart, kill"),
            (b'{"do": "status", "do": "kill"}', "not a request"),
            (b'{"do": "status", "session": "x"}', "request.session: no such key"),
            (b'{"do": "kill"}', "request.session: is missing"),
            (b'{"do": "kill", "session": 5}', "request.session: is a number; has to be a text"),
            (b'{"do": "kill", "session": ""}', "between 1 and 128"),
            (b'{"do": "kill", "session": "' + b"x" * 129 + b'"}', "between 1 and 128"),
            (b'{"do": "drain", "seconds": "5"}', "request.seconds: is a text; has to be a number"),
            (b'{"do": "drain", "seconds": true}', "request.seconds: is true or false; has to be a number"),
            (b'{"do": "drain", "seconds": null}', "request.seconds: is null; has to be a number"),
            (b'{"do": "drain", "seconds": -1}', "request.seconds: is -1; has to be between 0 and"),
            (b'{"do": "drain", "seconds": 1.5}', "not a request"),
            (b" " * (REQUEST_OCTETS_MOST + 1), "octets"),
        ):
            refusal: Refused = self.assertRaises(Refused, read_request, line)
            self.assertIn(words, str(refusal), line)
            self.assertNotIn("\n", str(refusal))


class Answers(SynchronousTestCase):
    """What a daemon says."""

    def test_answer_and_refusal(self) -> None:
        """Both are one line of ASCII that says which of them it is."""
        killed = done(TellKill(session="x"), KilledSession(killed="M\u00fcller\n"))
        self.assertEqual(json.loads(killed), {"ok": True, "answer": {"killed": "M\u00fcller\n"}})
        self.assertEqual(json.loads(refused("no\nsession")), {"ok": False, "error": "no\nsession"})
        for line in (killed, refused("no\nsession")):
            self.assertTrue(line.isascii())
            self.assertEqual(line.find(b"\n"), len(line) - 1)

    def test_answer_that_is_too_long(self) -> None:
        """It is not sent; the refusal says so."""
        self.patch(protocol, "ANSWER_OCTETS_MOST", 100)
        self.assertTrue(json.loads(done(TellKill(session="x"), KilledSession(killed="y" * 50)))["ok"])
        self.assertEqual(
            json.loads(done(TellKill(session="x"), KilledSession(killed="y" * 100)))["error"],
            "the answer would be too long",
        )

    def test_answer_that_is_none(self) -> None:
        """What is no answer to what was asked is refused with its place; the daemon's refusal is a refusal."""
        drain = TellDrain()
        self.assertEqual(read_answer(drain, b'{"ok": true, "answer": {"sessions": 3}}\n'), DrainBegun(sessions=3))
        for line, words in (
            (b"", "JSON"),
            (b"[]", "answer: is a list; has to be an object"),
            (b'{"ok": true}', "answer: is null; has to be an object"),
            (b'{"ok": true, "answer": {}}', "answer.sessions: is missing"),
            (b'{"ok": true, "answer": {"sessions": "3"}}', "answer.sessions: is a text; has to be a number"),
            (b'{"ok": true, "answer": {"sessions": 3, "colour": 1}}', "answer.colour: no such key"),
            (b'{"ok": false, "error": 5}', "error: is a number; has to be a text"),
        ):
            wrong: DocumentRefused = self.assertRaises(DocumentRefused, read_answer, drain, line)
            self.assertIn(words, str(wrong), line)
        self.assertRaises(Refused, read_answer, drain, b'{"ok": false, "error": "it drains already"}')
