"""HTTP CONNECT and SOCKS5 as a proxy reads and answers them."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.proxying.connect import REQUEST_OCTETS_MOST, ConnectDialogue
from smartproxy.net.proxying.requester import either_way
from smartproxy.net.proxying.socks import SocksDialogue
from smartproxy.net.proxying.ways import ConnectFailure, Dialogue, RequestRefused, Target

HELLO = b"\x05\x01\x00"
TO_NAME = b"\x05\x01\x00\x03\x0foftp.acme.examp\x1a\x0a"


def feed(dialogue: Dialogue, octets: bytes, size: int) -> bytes:
    """Feed a dialogue octets in pieces; what it answers until it knows the target."""
    answers = b""
    for at in range(0, len(octets), size):
        answers += dialogue.receive(octets[at : at + size])
    return answers


class Connect(SynchronousTestCase):
    """RFC 9110 section 9.3.6."""

    def target(self, request: bytes) -> tuple[Target | None, bytes]:
        """Whom a request asks for, and what came after it; the same however it is cut."""
        found = set()
        for size in (1, 2, 7, len(request)):
            dialogue = ConnectDialogue()
            self.assertEqual(feed(dialogue, request, size), b"")
            found.add((dialogue.target, dialogue.rest))
        self.assertEqual(len(found), 1)
        return found.pop()

    def refused(self, request: bytes) -> bytes:
        """The status line that a request is refused with; the same however it is cut."""
        found: set[bytes] = set()
        for size in (1, 5, len(request)):
            refused = self.assertRaises(RequestRefused, feed, ConnectDialogue(), request, size)
            found.add(refused.answer.split(b"\r\n", 1)[0])
            self.assertIn(str(refused).encode(), refused.answer)
        self.assertEqual(len(found), 1)
        return found.pop()

    def test_targets(self) -> None:
        """A name or an address with a port, or the name of a partner alone; headers are skipped."""
        for asked, target in (
            (b"oftp.acme.example:6619", Target("oftp.acme.example", 6619)),
            (b"192.0.2.7:6619", Target("192.0.2.7", 6619)),
            (b"[2001:db8::7]:6619", Target("2001:db8::7", 6619)),
            (b"ACME", Target("ACME", None)),
        ):
            for headers in (b"", b"Host: x\r\nProxy-Authorization: Basic eA==\r\n"):
                request = b"CONNECT " + asked + b" HTTP/1.1\r\n" + headers + b"\r\n"
                self.assertEqual(self.target(request), (target, b""))

    def test_tolerated(self) -> None:
        """HTTP/1.0, bare line feeds, and empty lines in front are taken (RFC 9112 section 2.2)."""
        self.assertEqual(self.target(b"\r\nCONNECT a:1 HTTP/1.0\n\n"), (Target("a", 1), b""))

    def test_the_rest_is_kept(self) -> None:
        """What follows the request is for the far end."""
        dialogue = ConnectDialogue()
        dialogue.receive(b"CONNECT a:1 HTTP/1.1\r\n\r\nrest")
        self.assertEqual((dialogue.target, dialogue.rest), (Target("a", 1), b"rest"))

    def test_other_methods(self) -> None:
        """Nothing but CONNECT is served; the answer says which method is."""
        self.assertEqual(self.refused(b"GET http://a/ HTTP/1.1\r\n\r\n"), b"HTTP/1.1 405 Method Not Allowed")
        dialogue = ConnectDialogue()
        refused = self.assertRaises(RequestRefused, dialogue.receive, b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn(b"\r\nAllow: CONNECT\r\n", refused.answer)

    def test_not_http(self) -> None:
        """What cannot become a request is refused at once, not at its end."""
        for octets in (b"\x16\x03\x01\x02\x00", b"\x10\x00\x00\x17IODETTE", b"connect a:1"):
            self.assertEqual(self.refused(octets), b"HTTP/1.1 400 Bad Request")

    def test_no_target(self) -> None:
        """A target that is none is refused, and never repeated."""
        for asked in (b"a:0", b"a:65536", b"a:", b":1", b"a:b", b"[::1", b"a/b:1", b"u@[::1]:1", b"a b"):
            self.assertEqual(self.refused(b"CONNECT " + asked + b" HTTP/1.1\r\n\r\n"), b"HTTP/1.1 400 Bad Request")
        dialogue = ConnectDialogue()
        refused = self.assertRaises(RequestRefused, dialogue.receive, b"CONNECT <canary>:x HTTP/1.1\r\n\r\n")
        self.assertNotIn(b"canary", refused.answer)

    def test_another_version(self) -> None:
        """HTTP/2's preface and version 0.9 are not HTTP/1.1."""
        self.assertEqual(self.refused(b"CONNECT a:1 HTTP/2.0\r\n\r\n"), b"HTTP/1.1 400 Bad Request")

    def test_size(self) -> None:
        """A request may be as large as the limit, and no octet larger, finished or not."""
        begin = b"CONNECT a:1 HTTP/1.1\r\nX: "
        fits = begin + b"x" * (REQUEST_OCTETS_MOST - len(begin) - 4) + b"\r\n\r\n"
        self.assertEqual(self.target(fits), (Target("a", 1), b""))
        for octets in (begin + b"x" * REQUEST_OCTETS_MOST, begin + b"x" * REQUEST_OCTETS_MOST + b"\r\n\r\n"):
            self.assertEqual(self.refused(octets), b"HTTP/1.1 431 Request Header Fields Too Large")

    def test_answers(self) -> None:
        """Each trouble has a status, and the cause stands in the body."""
        dialogue = ConnectDialogue()
        self.assertEqual(dialogue.accepted(), b"HTTP/1.1 200 Connection established\r\n\r\n")
        for trouble, status in (
            (ConnectFailure.NOT_ALLOWED, b"403 Forbidden"),
            (ConnectFailure.NO_NAME, b"502 Bad Gateway"),
            (ConnectFailure.NO_ROUTE, b"502 Bad Gateway"),
            (ConnectFailure.REFUSED, b"502 Bad Gateway"),
            (ConnectFailure.TIMED_OUT, b"504 Gateway Timeout"),
            (ConnectFailure.NOT_ACCEPTABLE, b"502 Bad Gateway"),
            (ConnectFailure.NOT_READY, b"503 Service Unavailable"),
        ):
            head, body = dialogue.refused(trouble, "why").split(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 " + status + b"\r\n"))
            self.assertIn(b"\r\nContent-Length: 4\r\n", head)
            self.assertEqual(body, b"why\n")


class Socks(SynchronousTestCase):
    """RFC 1928."""

    def asked(self, request: bytes) -> tuple[Target | None, bytes]:
        """Whom a request asks for, and what came after it; the same however it is cut."""
        found = set()
        for size in (1, 2, 5, 100):
            dialogue = SocksDialogue()
            self.assertEqual(feed(dialogue, HELLO + request, size), b"\x05\x00")
            found.add((dialogue.target, dialogue.rest))
        self.assertEqual(len(found), 1)
        return found.pop()

    def refused(self, octets: bytes) -> bytes:
        """What octets are refused with; the same however they are cut."""
        found: set[bytes] = {
            self.assertRaises(RequestRefused, feed, SocksDialogue(), octets, size).answer for size in (1, 3, 300)
        }
        self.assertEqual(len(found), 1)
        return found.pop()

    def test_targets(self) -> None:
        """Names, which are handed on as they came, and addresses of both families."""
        self.assertEqual(self.asked(TO_NAME), (Target("oftp.acme.examp", 6666), b""))
        self.assertEqual(self.asked(b"\x05\x01\x00\x01\xc0\x00\x02\x07\x19\xdb"), (Target("192.0.2.7", 6619), b""))
        six = bytes.fromhex("20010db8000000000000000000000007")
        self.assertEqual(self.asked(b"\x05\x01\x00\x04" + six + b"\x19\xdb"), (Target("2001:db8::7", 6619), b""))

    def test_the_rest_is_kept(self) -> None:
        """What follows the request is for the far end."""
        dialogue = SocksDialogue()
        dialogue.receive(HELLO + TO_NAME + b"rest")
        self.assertEqual((dialogue.target, dialogue.rest), (Target("oftp.acme.examp", 6666), b"rest"))

    def test_methods(self) -> None:
        """Any number of methods may be offered; none has to be among them."""
        dialogue = SocksDialogue()
        self.assertEqual(dialogue.receive(b"\x05\x03\x02\x01\x00"), b"\x05\x00")
        self.assertEqual(self.refused(b"\x05\x02\x01\x02"), b"\x05\xff")
        self.assertEqual(self.refused(b"\x05\x00"), b"\x05\xff")

    def test_wrong(self) -> None:
        """Each thing that is not offered has the reply that the RFC gives it."""
        for request, reply in (
            (b"\x04\x01\x00\x01", 1),
            (b"\x05\x02\x00\x01\x00", 7),
            (b"\x05\x03\x00\x01\x00", 7),
            (b"\x05\x01\x00\x02\x00", 8),
            (b"\x05\x01\x00\x03\x00\x19\xdb", 1),
            (b"\x05\x01\x00\x03\x02\xff\xfe\x19\xdb", 1),
            (b"\x05\x01\x00\x03\x02a\n\x19\xdb", 1),
            (b"\x05\x01\x00\x03\x01a\x00\x00", 1),
        ):
            self.assertEqual(self.refused(HELLO + request)[:2], bytes((5, reply)))

    def test_not_socks(self) -> None:
        """A caller that speaks something else is told nothing."""
        self.assertEqual(self.refused(b"\x04\x01\x00"), b"")

    def test_answers(self) -> None:
        """Each trouble has a reply of ten octets."""
        dialogue = SocksDialogue()
        self.assertEqual(dialogue.accepted(), b"\x05\x00\x00\x01" + bytes(6))
        for trouble, reply in (
            (ConnectFailure.NOT_ALLOWED, 2),
            (ConnectFailure.NO_NAME, 4),
            (ConnectFailure.NO_ROUTE, 3),
            (ConnectFailure.REFUSED, 5),
            (ConnectFailure.TIMED_OUT, 6),
            (ConnectFailure.NOT_ACCEPTABLE, 1),
            (ConnectFailure.NOT_READY, 1),
        ):
            self.assertEqual(dialogue.refused(trouble, "why"), bytes((5, reply, 0, 1)) + bytes(6))


class FirstOctetTells(SynchronousTestCase):
    """One port for both ways."""

    def test_each_way(self) -> None:
        """The first octet tells which it is."""
        for octets, name, talk in (
            (b"CONNECT a:1 HTTP/1.1\r\n\r\nrest", "http-connect", ConnectDialogue()),
            (HELLO + b"\x05\x01\x00\x03\x01a\x00\x01rest", "socks5", SocksDialogue()),
        ):
            dialogue = either_way()
            self.assertEqual(dialogue.name, "unknown")
            self.assertEqual(dialogue.receive(b""), b"")
            dialogue.receive(octets)
            self.assertEqual((dialogue.name, dialogue.target, dialogue.rest), (name, Target("a", 1), b"rest"))
            same: list[Callable[[Dialogue], bytes]] = [
                lambda each: each.accepted(),
                lambda each: each.refused(ConnectFailure.REFUSED, "why"),
            ]
            for answer in same:
                self.assertEqual(answer(dialogue), answer(talk))

    def test_nothing_said(self) -> None:
        """Who has said nothing is answered nothing."""
        dialogue = either_way()
        self.assertEqual((dialogue.target, dialogue.rest, dialogue.accepted()), (None, b"", b""))
        self.assertEqual(dialogue.refused(ConnectFailure.REFUSED, "why"), b"")
