"""Downloads of revocation lists from hosts that are up to something: slow, endless, packed, elsewhere."""

import gzip
from collections.abc import Sequence
from typing import Any

from service_identity import CertificateError, VerificationError
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.fetching import Fetched, ListFetcher, NotFetched, Wanted
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause


class DNSMismatchError(VerificationError):
    """What a library may make of its error."""


URL = "http://crl.example/ca.crl"
PUBLIC = "93.184.216.34"


class Resolver:
    """Answers with one list of addresses after the other, and counts.

    :ivar answers: the lists; the last one is repeated.
    """

    def __init__(self) -> None:
        self.answers: list[Sequence[str]] = [[PUBLIC]]
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, hostName: str, *arguments: object) -> None:
        """Answer at once."""
        found = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(hostName)
        receiver.resolutionBegan(None)
        for each in found:
            kind = IPv6Address if ":" in each else IPv4Address
            receiver.addressResolved(kind("TCP", each, 0))
        receiver.resolutionComplete()


class Wire(StringTransport):
    """The transport of a connection, which says whether it was aborted."""

    aborted = False

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed here."""


class Fetching(SynchronousTestCase):
    """A fetcher with a reactor in memory: ``self.resolver`` and the test answer for the other end."""

    def setUp(self) -> None:
        """Make both."""
        self.reactor: Any = MemoryReactorClock()
        self.resolver = Resolver()
        vars(self.reactor)["nameResolver"] = self.resolver
        self.fetcher = ListFetcher(self.reactor)
        self.wire = Wire()
        self.protocol: Any = None

    def begin(self, url: str = URL, **wanted: Any) -> Deferred[Fetched]:
        """Begin a download."""
        return Deferred.fromCoroutine(self.fetcher.fetch(Wanted(url=url, **wanted)))

    def called(self) -> list[tuple[str, int]]:
        """The addresses that were called, each with its port."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def connect(self) -> bytes:
        """Let the last call be answered; the request."""
        factory = self.reactor.tcpClients[-1][2]
        self.protocol = factory.buildProtocol(None)
        self.wire = Wire()
        self.protocol.makeConnection(self.wire)
        return bytes(self.wire.value())

    def say(self, octets: bytes) -> None:
        """Let the other end say something."""
        self.protocol.dataReceived(octets)
        if self.wire.aborted:
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def close(self) -> None:
        """Let the other end close the connection."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def fault(self, fetching: "Deferred[Fetched]") -> Cause:
        """Why the download has failed; nothing waits any more."""
        fault = self.failureResultOf(fetching, NotFetched).value
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertNotIn("Error", str(fault))
        self.told = str(fault)
        cause: Cause = fault.cause
        return cause

    def answered(self, *said: bytes, **wanted: Any) -> Cause:
        """Why a download fails whose other end says this."""
        fetching = self.begin(**wanted)
        self.connect()
        for each in said:
            self.say(each)
        return self.fault(fetching)


class Plain(Fetching):
    """What is as it should be."""

    def test_download(self) -> None:
        """The body comes, with its validators; the request names the host and asks for no encoding."""
        fetching = self.begin()
        request = self.connect()
        self.assertEqual(self.called(), [(PUBLIC, 80)])
        self.assertTrue(request.startswith(b"GET /ca.crl HTTP/1.1\r\n"), request)
        self.assertIn(b"Host: crl.example\r\n", request)
        self.assertIn(b"Accept-Encoding: identity\r\n", request)
        self.say(b'HTTP/1.1 200 OK\r\nETag: "7"\r\nLast-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\n')
        self.say(b"Content-Length: 4\r\n\r\nli")
        self.assertNoResult(fetching)
        self.say(b"st")
        self.assertEqual(
            self.successResultOf(fetching),
            Fetched(octets=b"list", etag='"7"', modified="Fri, 20 Nov 2026 12:00:00 GMT"),
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_chunks(self) -> None:
        """A body in chunks is put together, and one that ends with the connection is taken."""
        fetching = self.begin()
        self.connect()
        self.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nli\r\n2\r\nst\r\n0\r\n\r\n")
        self.assertEqual(self.successResultOf(fetching).octets, b"list")
        fetching = self.begin()
        self.connect()
        self.say(b"HTTP/1.0 200 OK\r\n\r\nlist")
        self.close()
        self.assertEqual(self.successResultOf(fetching).octets, b"list")

    def test_not_changed(self) -> None:
        """What is there already is not sent again."""
        fetching = self.begin(etag='"7"', modified="Fri, 20 Nov 2026 12:00:00 GMT")
        request = self.connect()
        self.assertIn(b'If-None-Match: "7"\r\n', request)
        self.assertIn(b"If-Modified-Since: Fri, 20 Nov 2026 12:00:00 GMT\r\n", request)
        self.say(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        self.assertIsNone(self.successResultOf(fetching).octets)

    def test_next_address(self) -> None:
        """An address that refuses is followed by the next one; when all do, that is the cause."""
        self.resolver.answers = [["2001:4860:4860::8888", PUBLIC]]
        fetching = self.begin()
        for number in (1, 2):
            self.assertEqual(len(self.called()), number)
            self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertEqual(self.called(), [("2001:4860:4860::8888", 80), (PUBLIC, 80)])
        self.assertIs(self.fault(fetching), Cause.CRL_CONNECT)
        self.assertIn("its host cannot be reached: it refuses the connection", self.told)

    def test_redirect(self) -> None:
        """A redirect on the host is followed, without asking for its name again."""
        self.resolver.answers = [[PUBLIC], ["127.0.0.1"]]
        fetching = self.begin()
        self.connect()
        self.say(b"HTTP/1.1 302 Found\r\nLocation: /new.crl\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(self.connect().startswith(b"GET /new.crl "))
        self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlist")
        self.assertEqual(self.successResultOf(fetching).octets, b"list")
        self.assertEqual((self.called(), self.resolver.asked), ([(PUBLIC, 80)] * 2, ["crl.example"]))


class Elsewhere(Fetching):
    """Addresses that must not be called."""

    def test_private(self) -> None:
        """A host with private, local or mapped addresses is not called, whatever its name is."""
        for address in (
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "2002:a00:1::",
        ):
            self.resolver.answers = [[address]]
            self.assertIs(self.fault(self.begin()), Cause.CRL_ADDRESS, address)
        for url in ("http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://2130706433/", "http://localhost/"):
            self.resolver.answers = [["127.0.0.1"]]
            self.assertIs(self.fault(self.begin(url)), Cause.CRL_ADDRESS, url)
        self.assertEqual(self.called(), [])

    def test_mixed(self) -> None:
        """Of a host's addresses only those are called that may be."""
        self.resolver.answers = [["10.0.0.1", PUBLIC, "::1"]]
        fetching = self.begin()
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertEqual(self.called(), [(PUBLIC, 80)])
        self.assertIs(self.fault(fetching), Cause.CRL_CONNECT)

    def test_allowed(self) -> None:
        """A network that was allowed is called; the others are not."""
        self.resolver.answers = [["10.0.0.1", "127.0.0.1"]]
        self.begin(allowed=("10.0.0.0/8",))
        self.assertEqual(self.called(), [("10.0.0.1", 80)])

    def test_changing_answers(self) -> None:
        """The name is asked for once, and the address that was judged is called: a second answer changes nothing."""
        self.resolver.answers = [[PUBLIC], ["127.0.0.1"]]
        self.begin()
        self.assertEqual((self.called(), self.resolver.asked), ([(PUBLIC, 80)], ["crl.example"]))

    def test_no_name(self) -> None:
        """A name that does not exist is said to be the cause."""
        self.resolver.answers = [[]]
        self.assertIs(self.fault(self.begin()), Cause.CRL_NAME)

    def test_no_address(self) -> None:
        """What is no address of http or https is not called."""
        self.assertIs(self.fault(self.begin("file:///etc/passwd")), Cause.CRL_ADDRESS)

    def test_redirects(self) -> None:
        """A redirect to another host, another port or out of https ends the download; none is called."""
        for location in (
            b"http://169.254.169.254/",
            b"//other.example/x",
            b"http://crl.example:5432/",
            b"file:///x",
            b"",
        ):
            head = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
            self.assertIs(self.answered(head), Cause.CRL_REDIRECT)
        self.assertEqual(set(self.called()), {(PUBLIC, 80)})

    def test_redirect_loop(self) -> None:
        """Redirects without an end are not followed for long."""
        fetching = self.begin()
        for _ in range(limits.DOWNLOAD_REDIRECTS_MOST + 1):
            self.connect()
            self.say(b"HTTP/1.1 301 Moved\r\nLocation: /ca.crl\r\nContent-Length: 0\r\n\r\n")
        self.assertIs(self.fault(fetching), Cause.CRL_REDIRECT)
        self.assertEqual(len(self.called()), limits.DOWNLOAD_REDIRECTS_MOST + 1)


class Holding(Fetching):
    """Hosts that hold a download up, or fill the backend."""

    def test_silence(self) -> None:
        """A host that says nothing is given up after a minute."""
        fetching = self.begin()
        self.connect()
        self.reactor.advance(limits.DOWNLOAD_SECONDS - 1)
        self.assertNoResult(fetching)
        self.reactor.advance(1)
        self.assertIs(self.fault(fetching), Cause.CRL_TIME)
        self.assertTrue(self.wire.aborted)

    def test_drip(self) -> None:
        """One that says an octet a second is given up at the same time, in the head as in the body."""
        for head in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"):
            fetching = self.begin()
            self.connect()
            self.say(head)
            for _ in range(int(limits.DOWNLOAD_SECONDS)):
                self.assertNoResult(fetching)
                self.say(b"H")
                self.reactor.advance(1)
            self.assertTrue(self.wire.aborted)
            self.assertIs(self.fault(fetching), Cause.CRL_TIME)

    def test_no_connection(self) -> None:
        """Nor does a host that cannot be connected to hold it up for longer."""
        self.resolver.answers = [[PUBLIC]]
        fetching = self.begin()
        self.reactor.advance(limits.DOWNLOAD_SECONDS)
        self.assertIs(self.fault(fetching), Cause.CRL_TIME)

    def test_silent_resolver(self) -> None:
        """Nor does a name server that does not answer."""
        self.patch(self.resolver, "resolveHostName", lambda *arguments: None)
        fetching = self.begin()
        self.reactor.advance(limits.DOWNLOAD_SECONDS)
        self.assertIs(self.fault(fetching), Cause.CRL_TIME)

    def test_endless_body(self) -> None:
        """A body without an end is cut off at its bound."""
        self.patch(limits, "DOWNLOAD_OCTETS_MOST", 1000)
        fetching = self.begin()
        self.connect()
        self.say(b"HTTP/1.1 200 OK\r\n\r\n")
        self.say(b"x" * 1000)
        self.assertNoResult(fetching)
        self.say(b"x")
        self.assertTrue(self.wire.aborted)
        self.assertIs(self.fault(fetching), Cause.CRL_SIZE)

    def test_long_body(self) -> None:
        """A body that says that it is too long is not begun."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (limits.DOWNLOAD_OCTETS_MOST + 1)
        self.assertIs(self.answered(head), Cause.CRL_SIZE)
        self.assertTrue(self.wire.aborted)

    def test_small_chunks(self) -> None:
        """Chunks of one octet each are cut off, too: their frames count."""
        self.patch(limits, "DOWNLOAD_OCTETS_MOST", 1000)
        fetching = self.begin()
        self.connect()
        self.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1000):
            if not self.wire.aborted:
                self.say(b"1\r\nx\r\n")
        self.assertIs(self.fault(fetching), Cause.CRL_SIZE)

    def test_endless_head(self) -> None:
        """Headers without an end are cut off, and so are interim answers."""
        for line in (b"X: " + b"y" * 1000 + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"):
            fetching = self.begin()
            self.connect()
            self.say(b"HTTP/1.1 200 OK\r\n" if line.startswith(b"X") else b"")
            sent = 0
            while not self.wire.aborted:
                self.assertLess(sent, limits.DOWNLOAD_HEAD_OCTETS_MOST + 2 * len(line))
                self.say(line)
                sent += len(line)
            self.assertIs(self.fault(fetching), Cause.CRL_SIZE)

    def test_packed(self) -> None:
        """A packed body is refused before it is unpacked."""
        bomb = gzip.compress(b"\0" * 1_000_000)
        for name in (b"gzip", b"deflate", b"GZIP, identity"):
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (name, len(bomb))
            self.assertIs(self.answered(head + bomb), Cause.CRL_ANSWER)

    def test_other_answers(self) -> None:
        """Another status is no list; neither is an answer that is no HTTP, or that ends before its end."""
        self.assertIs(self.answered(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), Cause.CRL_ANSWER)
        self.assertIs(self.answered(b"HTTP/1.1 204 No Content\r\n\r\n"), Cause.CRL_ANSWER)
        self.assertIs(self.answered(b"SSH-2.0-OpenSSH\r\n\r\n"), Cause.CRL_CONNECT)
        self.assertIn("its host gave no whole answer: what answers there does not speak HTTP", self.told)
        fetching = self.begin()
        self.connect()
        self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nlist")
        self.close()
        self.assertIs(self.fault(fetching), Cause.CRL_CONNECT)
        self.assertIn("its host gave no whole answer: its answer was cut off", self.told)

    def test_validators(self) -> None:
        """What cannot be a validator is not kept: it would be sent back."""
        fetching = self.begin()
        self.connect()
        self.say(
            b"HTTP/1.1 200 OK\r\nETag: " + b"x" * 500 + b"\r\nLast-Modified: \x80\x81\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertEqual(self.successResultOf(fetching), Fetched(octets=b""))

    def test_no_tls(self) -> None:
        """A host that does not speak TLS where https is wanted is said to be the cause."""
        fetching = self.begin("https://crl.example/ca.crl")
        self.assertEqual(self.called(), [(PUBLIC, 443)])
        self.connect()
        self.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.close()
        self.assertIs(self.fault(fetching), Cause.CRL_TLS)

    def test_wrong_name(self) -> None:
        """A certificate for another name, or for none, is a fault of TLS, whatever class of error says so."""
        for reason in (DNSMismatchError(errors=[]), CertificateError("no name")):
            fetching = self.begin("https://crl.example/ca.crl")
            self.connect()
            # What TLS calls when it has looked at the certificate's names.
            self.protocol._wrappedProtocol.failVerification(Failure(reason))
            self.close()
            self.assertIs(self.fault(fetching), Cause.CRL_TLS, reason)

    def test_given_up(self) -> None:
        """A download that is given up closes its connection."""
        fetching = self.begin()
        self.connect()
        fetching.cancel()
        self.failureResultOf(fetching, CancelledError)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
