"""The control socket's requests and answers."""

import json

from twisted.trial.unittest import SynchronousTestCase

from smartproxy import __version__
from smartproxy.ctl import protocol
from smartproxy.ctl.answers import DrainBegun, KilledSession
from smartproxy.ctl.asking import apart_words
from smartproxy.ctl.protocol import (
    REQUEST_OCTETS_MOST,
    AskLevel,
    AskStatus,
    Misunderstood,
    NoRequest,
    Refused,
    TellDrain,
    TellKill,
    TellRestart,
    done,
    read_answer,
    read_request,
    refused,
)


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
        said = {"version": __version__, "protocol": "3"}
        self.assertEqual(json.loads(killed), {"ok": True, "answer": {"killed": "M\u00fcller\n"}} | said)
        self.assertEqual(json.loads(refused("no\nsession")), {"ok": False, "error": "no\nsession"} | said)
        for line in (killed, refused("no\nsession")):
            self.assertTrue(line.isascii())
            self.assertEqual(line.find(b"\n"), len(line) - 1)

    def test_answer_that_is_too_long(self) -> None:
        """It is not sent; the refusal says so."""
        self.patch(protocol, "ANSWER_OCTETS_MOST", 140)
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
            wrong: Misunderstood = self.assertRaises(Misunderstood, read_answer, drain, line)
            self.assertEqual((words in str(wrong), wrong.daemon), (True, None), line)
        self.assertRaises(Refused, read_answer, drain, refused("it drains already"))


class Versions(SynchronousTestCase):
    """A command and a daemon of other versions."""

    def told(self, line: bytes) -> str:
        """What the command says of an answer that it does not understand."""
        wrong: Misunderstood = self.assertRaises(Misunderstood, read_answer, TellDrain(), line)
        return apart_words(wrong.daemon)

    def answer(self, version: str, spoken: str) -> bytes:
        """An answer that lacks what this version wants."""
        return json.dumps({"ok": True, "answer": {}, "version": version, "protocol": spoken}).encode("ascii")

    def test_daemon_that_does_not_say(self) -> None:
        """A daemon of before says nothing of itself, whether it knows the request or not: it is to be restarted."""
        us = f"smartproxy {__version__} (protocol 3)"
        words = f"the daemon is of a version before {us} and does not understand it; restart the daemon"
        for line in (b'{"ok": false, "error": "not a request: do"}', b'{"ok": true, "answer": {}}'):
            self.assertEqual(self.told(line), words)
        for spoken in ("x", ""):
            self.assertEqual(self.told(self.answer("0.0.1", spoken)), words)

    def test_which_part(self) -> None:
        """The older of both is named with both versions; a daemon may be restarted first."""
        us = f"smartproxy {__version__} (protocol 3)"
        self.assertEqual(
            self.told(self.answer("0.0.1", "2")),
            f"the daemon 0.0.1 (protocol 2) and {us} cannot work together; restart the daemon, and if it is the same "
            f"then, update the daemon to a version that speaks protocol 3, such as {__version__}",
        )
        self.assertEqual(
            self.told(self.answer("9.0", "4-5")),
            f"{us} and the daemon 9.0 (protocol 4 to 5) cannot work together; update smartproxy to a version that "
            "speaks protocol 4, such as 9.0",
        )
        self.assertEqual(
            self.told(self.answer("9.0", "3")),
            f"{us} and the daemon 9.0 (protocol 3) do not understand each other; restart the daemon, or update the "
            "older of both",
        )
        self.assertIn("cannot read what the daemon", self.told(self.answer(__version__, "3")))

    def test_request_of_a_newer_command(self) -> None:
        """A request that a daemon does not know is no refusal: the daemon says so by more than its words."""
        unknown: NoRequest = self.assertRaises(NoRequest, read_request, b'{"do": "dance"}')
        line = refused(str(unknown), unknown=True)
        self.assertIs(json.loads(line)["unknown"], True)
        self.assertIn("cannot read what the daemon", self.told(line))
