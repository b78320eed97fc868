"""The client's calls to the backend, over an in-memory HTTP server."""

import json
from collections.abc import Callable
from hashlib import sha256
from operator import methodcaller
from typing import Any, cast
from unittest.mock import Mock

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.exceptions import DNSMismatch
from service_identity.hazmat import DNS_ID
from treq import content
from treq.testing import RequestTraversalAgent
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import ParseError
from twisted.web.client import Agent, ResponseFailed, ResponseNeverReceived
from twisted.web.http import _DataLoss
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from smartproxy import __version__
from smartproxy.client.address import (
    KEPT_SECONDS,
    BackendAddress,
    BackendHttp,
    BadBackendAddress,
    backend_http,
    checked_url,
)
from smartproxy.client.backend import CALL_SECONDS, Backend, BackendRefused, BackendUnavailable
from smartproxy.client.token import AGAIN_SECONDS, TokenInForce
from smartproxy.policy.limits import API_ANSWER_OCTETS_MOST, API_EVENTS_OCTETS_SENT
from smartproxy.policy.versions import NEWEST
from smartproxy.testing.pki import SERVER_AUTH, TestCa, TestCredential
from tests.adapters.tls_peers import Forged, Shown, is_proven
from tests.unit.odd_files import block, of_no_version


class Answering(Resource):
    """A web server that answers every request by one function and remembers the requests."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], bytes | int]) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def render(self, request: Request) -> bytes | int:
        """Note what was asked, then answer."""
        headers = {
            name.decode().lower(): values[-1].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        body = request.content.read() if request.content is not None else b""
        self.seen.append((request.method.decode(), request.uri.decode(), headers, body))
        return self.answer(request)


class BackendCalls(SynchronousTestCase):
    """What a call sends and what it makes of the answer."""

    def call(
        self, answer: Callable[[Request], bytes | int], basic: str | None = None
    ) -> tuple[Backend, Answering, Any]:
        """A backend whose server answers so, the server, and the agent to flush."""
        server = Answering(answer)
        agent = RequestTraversalAgent(server)
        self.clock = Clock()
        self.file = "spc_secret"
        self.token = TokenInForce("spc_secret", lambda: self.file)
        return (
            Backend("https://backend.example", self.token, BackendHttp(cast(Agent, agent)), self.clock, basic=basic),
            server,
            agent,
        )

    def result(self, coroutine: Any, agent: Any) -> Any:
        """Run a call to its end."""
        deferred = Deferred.fromCoroutine(coroutine)
        agent.flush()
        return deferred

    def test_token_and_version_travel_in_headers(self) -> None:
        """The token goes as a bearer token, the version beside it, and the path is the API's."""
        greeting = {"version": "1", "protocol": {"oldest": NEWEST, "newest": NEWEST}}
        backend, server, agent = self.call(lambda request: json.dumps(greeting).encode())
        self.assertEqual(self.successResultOf(self.result(backend.hello(), agent)), greeting)
        method, uri, headers, _ = server.seen[0]
        self.assertEqual((method, uri), ("GET", "/api/v1/hello"))
        self.assertEqual(headers["authorization"], "Bearer spc_secret")
        self.assertIn("smartproxy-version", headers)
        self.assertEqual(headers["smartproxy-protocol"], str(NEWEST))

    def test_octets_of_events_in_one_call(self) -> None:
        """A call carries the first events, 512 KiB of them at most, and one that is larger alone; it says how many."""
        backend, server, agent = self.call(lambda request: b'{"stored": 1}')
        for sizes, count in (([4_000] * 300, 129), ([600_000, 10], 1), ([400] * 800, 800), ([400_000, 400_000], 1)):
            events = [{"name": "tunnel.up", "detail": "x" * size} for size in sizes]
            self.assertEqual(self.successResultOf(self.result(backend.events(events), agent)), count)
            sent = json.loads(server.seen[-1][3])["events"]
            self.assertEqual(sent, events[:count])
            self.assertTrue(count == 1 or len(server.seen[-1][3]) <= API_EVENTS_OCTETS_SENT)

    def test_backend_of_another_protocol(self) -> None:
        """One that is older or newer is refused with both versions and what to update; also one that says nothing."""
        newer = {"oldest": NEWEST + 1, "newest": NEWEST + 1}
        for answer, update in (
            ({"version": "0.0.9", "api": 1}, "update smartproxy-backend"),
            ({"version": "9.9.9", "protocol": newer}, "update smartproxy-client to a version that speaks"),
        ):

            def say(request: Request, octets: bytes = json.dumps(answer).encode()) -> bytes:
                return octets

            backend, _, agent = self.call(say)
            failure = self.failureResultOf(self.result(backend.hello(), agent), BackendRefused)
            self.assertEqual(failure.value.code, "api.version")
            for words in (update, f"smartproxy-client {__version__}", f"smartproxy-backend {answer['version']}"):
                self.assertIn(words, str(failure.value))
        strange = b'{"version": "1", "protocol": {"oldest": -1, "newest": 3}}'
        backend, _, agent = self.call(lambda request: strange)
        self.failureResultOf(self.result(backend.hello(), agent), BackendUnavailable)

    def test_basic_authentication_of_a_web_server_in_front(self) -> None:
        """With user and password in the URL the token moves to its own header."""
        backend, server, agent = self.call(lambda request: b'{"licences": {}}', basic="u:p")
        self.successResultOf(self.result(backend.licences(), agent))
        headers = server.seen[0][2]
        self.assertEqual(headers["authorization"], "Basic dTpw")
        self.assertEqual(headers["smartproxy-token"], "spc_secret")

    def test_token_is_read_again(self) -> None:
        """A call that the backend refuses for its token is made again with the new one, and seldom for nothing."""
        reads: list[float] = []

        def answer(request: Request) -> bytes:
            if server.seen[-1][2]["authorization"] == "Bearer spc_new":
                return b'{"licences": {}}'
            request.setResponseCode(401)
            return b'{"error": "token", "message": "unknown token"}'

        def read() -> str:
            reads.append(self.clock.seconds())
            if not self.file:
                raise ValueError("empty")
            return self.file

        backend, server, agent = self.call(answer)
        self.token._read = read
        for _ in range(3):
            self.failureResultOf(self.result(backend.licences(), agent), BackendRefused)
        self.assertEqual((reads, len(server.seen)), ([0.0], 3))
        self.file = ""
        self.clock.advance(AGAIN_SECONDS)
        self.failureResultOf(self.result(backend.licences(), agent), BackendRefused)
        self.file = "spc_new"
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.successResultOf(self.result(backend.licences(), agent)), {})
        self.assertEqual(len(reads), 3)
        self.assertNotIn("spc_", repr(self.token))

    def test_refusal_carries_the_backends_words(self) -> None:
        """An error document becomes an exception with the status, the code, the message and the advice."""

        def answer(request: Request) -> bytes:
            request.setResponseCode(403)
            return b'{"error": "token", "message": "unknown token", "advice": "make one"}'

        backend, _, agent = self.call(answer)
        failure = self.failureResultOf(self.result(backend.hello(), agent), BackendRefused)
        self.assertEqual(str(failure.value), "unknown token; make one (HTTP 403, api.token)")

    def test_foreign_answers_are_unavailability(self) -> None:
        """A page that is not the API's is never taken for an answer, whatever its status."""
        twice, huge = b'{"site": "a", "site": "b"}', b'{"api": 1e999}'
        error = b'{"error": "token", "error": "version", "message": "m"}'
        for status, body in (
            *((200, each) for each in (b"<html>", b"[]", b"[" * 100_000, twice, huge)),
            *((500, b"oops"), (404, b"{}"), (403, error)),
        ):

            def answer(request: Request, status: int = status, body: bytes = body) -> bytes:
                request.setResponseCode(status)
                return body

            backend, _, agent = self.call(answer)
            self.failureResultOf(self.result(backend.hello(), agent), BackendUnavailable)

    def test_configuration_is_conditional(self) -> None:
        """The ETag is sent back, a 304 gives None, a new document comes with its ETag."""

        def answer(request: Request) -> bytes:
            request.setHeader("ETag", '"8"')
            if request.getHeader("if-none-match") == '"8"':
                request.setResponseCode(304)
                return b""
            return b"{}"

        backend, server, agent = self.call(answer)
        document = self.successResultOf(self.result(backend.configuration(None), agent))
        self.assertEqual((document.etag, document.octets), ('"8"', b"{}"))
        self.assertIn("wait=0", server.seen[0][1])
        self.assertIsNone(self.successResultOf(self.result(backend.configuration('"8"'), agent)))
        self.assertIn("wait=50", server.seen[1][1])

    def test_configuration_without_etag_is_no_configuration(self) -> None:
        """A page that happens to be JSON but has no ETag is not taken for a generation."""
        backend, _, agent = self.call(lambda request: b"{}")
        self.failureResultOf(self.result(backend.configuration(None), agent), BackendUnavailable)

    def test_silence_ends_the_call(self) -> None:
        """A backend that does not answer costs one deadline."""
        backend, _, agent = self.call(lambda request: NOT_DONE_YET)
        deferred = self.result(backend.hello(), agent)
        self.assertNoResult(deferred)
        self.clock.advance(CALL_SECONDS)
        failure = self.failureResultOf(deferred, BackendUnavailable)
        self.assertIn("within 20 s", str(failure.value))

    def test_failed_connections(self) -> None:
        """Certificate, port and scheme that are not the backend's are told in words, with what to do."""
        wrong_name = VerificationError(errors=[DNSMismatch(mismatched_id=DNS_ID("dmz.example"))])
        for url, error, told in (
            ("https://dmz.example", wrong_name, "not for dmz.example; .*authority https --name dmz.example$"),
            (
                "https://x",
                SSL.Error([("", "", "certificate verify failed")]),
                "verify failed; is --backend-ca ",
            ),
            ("https://x", SSL.Error([("", "", "wrong version number")]), "does not speak TLS"),
            ("https://x", SSL.Error([]), "^TLS: connection ended$"),
            ("https://x", SSL.SysCallError(-1, "Unexpected EOF"), "^TLS: connection ended$"),
            ("https://x", SSL.SysCallError(104, "ECONNRESET"), "^TLS: connection reset by peer$"),
            ("https://x", ConnectionRefusedError(111), "^it refuses the connection$"),
            ("https://x", DNSLookupError("no results for hostname lookup: x"), "^its name is not known$"),
            ("https://x", ParseError("wrong number of parts", b"\x00\x01garbage"), "^what answers .* speak HTTP; is "),
            ("https://x", ValueError("Too many Content-Length headers"), "^what answers .* speak HTTP; is "),
            ("https://x", _DataLoss(), "^its answer was cut off$"),
            ("https://x", RuntimeError(b"\xff"), "^the connection failed$"),
            ("http://127.0.0.1:1", ConnectionDone(), "begin its URL with https://$"),
        ):
            for raised in (error, ResponseNeverReceived([Failure(error)])):
                http = Mock(request=Mock(return_value=fail(raised)))
                call = Deferred.fromCoroutine(Backend(url, TokenInForce("t"), http, Clock()).hello())
                reason = str(self.failureResultOf(call, BackendUnavailable).value)
                self.assertRegex(reason, told)
                self.assertNotIn("errors=", reason)

    def test_cut_answer(self) -> None:
        """An answer that ends too early is told as one, and not as the connection's end."""
        for lost in (ConnectionLost(), ConnectionDone()):
            raised = ResponseFailed([Failure(lost), Failure(_DataLoss())])
            http = Mock(request=Mock(return_value=fail(raised)))
            call = Deferred.fromCoroutine(Backend("https://x", TokenInForce("t"), http, Clock()).hello())
            self.assertEqual(str(self.failureResultOf(call, BackendUnavailable).value), "its answer was cut off")

    def test_call_that_is_given_up(self) -> None:
        """Canceling a call is not the backend's fault, and is not told as one."""
        backend, _, agent = self.call(lambda request: NOT_DONE_YET)
        deferred = self.result(backend.hello(), agent)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)

    def test_answers_are_bounded(self) -> None:
        """An answer over the limit is thrown away, not parsed."""
        body = b"[" + b" " * API_ANSWER_OCTETS_MOST + b"]"
        backend, _, agent = self.call(lambda request: body)
        failure = self.failureResultOf(self.result(backend.hello(), agent), BackendUnavailable)
        self.assertIn("larger", str(failure.value))

    def test_certificate_request(self) -> None:
        """The request's PEM is posted as JSON and the answer's parts come back; a part missing is an error."""
        whole = {"certificate": "C", "not_after": "2026-11-27T00:00:00Z", "proxy_ids": ["a"], "authority": "A"}
        backend, server, agent = self.call(lambda request: json.dumps(whole).encode())
        credentials = self.successResultOf(self.result(backend.tunnel_certificate("CSR"), agent))
        self.assertEqual(credentials.proxy_ids, ("a",))
        self.assertEqual(json.loads(server.seen[0][3]), {"csr": "CSR"})
        del whole["authority"]
        self.failureResultOf(self.result(backend.tunnel_certificate("CSR"), agent), BackendUnavailable)


class Cancelled(SynchronousTestCase):
    """A call that is given up."""

    def test_while_it_is_dialled(self) -> None:
        """It ends as a call that was cancelled, and not as one of a backend that is away."""
        gone = ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 8443))
        for failure in (gone, DNSLookupError("no results"), ResponseNeverReceived([Failure(gone)])):
            http: Any = Mock()
            http.request.return_value = Deferred(methodcaller("errback", failure))
            backend = Backend("https://backend.example:8443", TokenInForce("t"), http, Clock())
            calling = Deferred.fromCoroutine(backend.hello())
            calling.cancel()
            self.failureResultOf(calling, CancelledError)


class BackendUrls(SynchronousTestCase):
    """Which URLs are taken."""

    def test_user_information_is_taken_out(self) -> None:
        """What is left of a URL can be logged; what was in it is kept apart."""
        self.assertEqual(checked_url("https://u:p@backend.example:8443/x/"), ("https://backend.example:8443/x", "u:p"))
        self.assertEqual(checked_url("http://[::1]:8443"), ("http://[::1]:8443", None))

    def test_unusable_urls_are_refused_in_words(self) -> None:
        """Plain http to another machine, other schemes, and what is no URL each say what is right."""
        for url in (
            "http://backend.example",
            "ftp://x",
            "backend.example:8443",
            "https://",
            "https://x/?a=b",
            "http://10.0.0.1",
            "https://0.0.0.0:8443",
            "https://[::]:8443",
        ):
            self.assertRaises(BadBackendAddress, checked_url, url)

    def test_hosts_that_nobody_can_call(self) -> None:
        """A host that is no name and a port that is none are refused, with the reason; other letters are a name."""
        for url, told in (
            ("https://127_0:1", "'127_0' is not a host name"),
            ("https://a b", "'a b' is not a host name"),
            ("https://a..b:1", "'a..b' is not a host name"),
            (f"https://{'a' * 70}", "is not a host name"),
            ("https://192.168.1.300", "no name ends in a number"),
            ("https://127.0.0.1:99999", "'99999' is not a port"),
            ("https://backend.example:0", "'0' is not a port"),
        ):
            self.assertIn(told, str(self.assertRaises(BadBackendAddress, checked_url, url)), url)
        for url in ("https://b\u00fccher.example:8443", "https://Backend.Example", "https://[2001:db8::1]:1"):
            self.assertEqual(checked_url(url)[0].lower(), url.lower())


class BackendProofs(SynchronousTestCase):
    """Which backends are spoken to, tried with real handshakes."""

    def setUp(self) -> None:
        """A backend's certificate from an authority."""
        self.authority = TestCa.root("site")
        self.shown = self.authority.issue("backend.example", sans=["DNS:backend.example"], purposes=[SERVER_AUTH])

    def shakes(self, shown: Shown, **proof: str) -> bool:
        """Whether a client with this proof speaks to a backend that shows this certificate."""
        agent: Any = backend_http(Clock(), BackendAddress(url="https://backend.example", **proof))._agent
        policy = agent._endpointFactory._policyForHTTPS
        return is_proven(policy.creatorForNetloc(b"backend.example", 443), shown)

    def pin(self, of: TestCredential) -> str:
        """The pin of a certificate's key."""
        key = of.certificate.public_key()
        return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def test_pin(self) -> None:
        """A pinned backend is spoken to whoever issued its certificate; another key is not, not even from the CA."""
        other = self.authority.issue("backend.example", sans=["DNS:backend.example"], purposes=[SERVER_AUTH])
        self.assertTrue(self.shakes(self.shown, pin=self.pin(self.shown)))
        self.assertFalse(self.shakes(other, pin=self.pin(self.shown)))

    def test_unreadable(self) -> None:
        """A backend that shows what cannot be read is not spoken to; a CA file with such a certificate is refused."""
        odd = of_no_version(self.shown.certificate)
        self.assertFalse(self.shakes(Forged(self.shown.key, odd), pin=self.pin(self.shown)))
        bundle = block("CERTIFICATE", odd).decode()
        self.assertRaises(BadBackendAddress, BackendAddress, url="https://backend.example", authority=bundle)

    def test_authority(self) -> None:
        """A backend from the CA file with the right name is spoken to; another name, none, or another CA is not."""
        pem = self.authority.certificate_pem.decode()
        named = self.authority.issue("other.example", sans=["DNS:other.example"], purposes=[SERVER_AUTH])
        nameless = self.authority.issue("backend.example", purposes=[SERVER_AUTH])
        foreign = TestCa.root("foreign").issue("backend.example", sans=["DNS:backend.example"])
        self.assertTrue(self.shakes(self.shown, authority=pem))
        self.assertFalse(self.shakes(named, authority=pem))
        self.assertFalse(self.shakes(nameless, authority=pem))
        self.assertFalse(self.shakes(foreign, authority=pem))

    def test_system(self) -> None:
        """Without a proof the system's store judges, which knows nothing of a site's own authority."""
        self.assertFalse(self.shakes(self.shown))


class KeptConnections(SynchronousTestCase):
    """Calls do not each dial and shake hands."""

    def test_one_connection(self) -> None:
        """A second call goes over the connection of the first one; after its time it is closed."""
        reactor = MemoryReactorClock()
        http = backend_http(reactor, BackendAddress(url="http://127.0.0.1:8080"))
        line = StringTransportWithDisconnection()
        for count in (1, 2):
            call = http.request("GET", "http://127.0.0.1:8080/")
            self.assertEqual(1, len(reactor.tcpClients))
            if count == 1:
                protocol: Any = reactor.tcpClients[0][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 8080))
                line.protocol = protocol
                protocol.makeConnection(line)
            self.assertEqual(count, line.value().count(b"GET / HTTP/1.1"))
            protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            self.assertEqual(b"ok", self.successResultOf(content(self.successResultOf(call))))
        reactor.advance(KEPT_SECONDS + 1)
        self.assertFalse(line.connected)
