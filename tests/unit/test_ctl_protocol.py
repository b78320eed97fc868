"""The control socket's requests and answers."""

import json

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl import protocol
from smartproxy.ctl.protocol import ACTIONS, REQUEST_OCTETS_MOST, Refused, Request, done, read_request, refused


class Requests(SynchronousTestCase):
    """What a daemon takes for a request."""

    def test_what_is_sent_is_read(self) -> None:
        """A request comes out as it was put in, on one line."""
        for request in (
            Request("status"),
            Request("level", {"level": "trace", "partner": "ACME"}),
            Request("drain", {"seconds": 60}),
            Request("kill", {"session": "0123456789abcdef"}),
        ):
            line = request.line()
            self.assertEqual((line.count(b"\n"), line[-1:]), (1, b"\n"))
            self.assertEqual(read_request(line.rstrip(b"\n")), request)

    def test_values_by_their_kind(self) -> None:
        """A text is no number and a number no text; what was not said is ``None``."""
        request = Request("drain", {"seconds": 5, "session": "x"})
        self.assertEqual((request.number("seconds"), request.text("seconds")), (5, None))
        self.assertEqual((request.number("session"), request.text("session")), (None, "x"))
        self.assertEqual((request.number("other"), request.text("other")), (None, None))

    def test_what_is_no_request(self) -> None:
        """Each is refused in a line that names what is wrong."""
        for line, words in (
            (b"", "not a request"),
            (b"status", "not a request"),
            (b"[]", "write an object"),
            (b"\xff", "not a request"),
            (b"{}", "no such action"),
            (b'{"do": 5}', "no such action"),
            (b'{"do": "stop"}', ", ".join(ACTIONS)),
            (b'{"do": "status", "do": "kill"}', "not a request"),
            (b'{"do": "status", "session": "x"}', "takes no 'session'"),
            (b'{"do": "kill"}', "needs session"),
            (b'{"do": "kill", "session": 5}', "is not a text"),
            (b'{"do": "kill", "session": ""}', "1 to 128 characters"),
            (b'{"do": "kill", "session": "' + b"x" * 129 + b'"}', "1 to 128 characters"),
            (b'{"do": "drain", "seconds": "5"}', "is not a whole number"),
            (b'{"do": "drain", "seconds": true}', "is not a whole number"),
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
        self.assertEqual(json.loads(done({"name": "M\u00fcller\n"})), {"ok": True, "answer": {"name": "M\u00fcller\n"}})
        self.assertEqual(json.loads(refused("no\nsession")), {"ok": False, "error": "no\nsession"})
        for line in (done({"name": "M\u00fcller\n"}), refused("no\nsession")):
            self.assertTrue(line.isascii())
            self.assertEqual(line.find(b"\n"), len(line) - 1)

    def test_answer_that_is_too_long(self) -> None:
        """It is not sent; the refusal says so."""
        self.patch(protocol, "ANSWER_OCTETS_MOST", 100)
        self.assertTrue(json.loads(done({"x": "y" * 50}))["ok"])
        self.assertEqual(json.loads(done({"x": "y" * 100}))["error"], "the answer would be too long")
