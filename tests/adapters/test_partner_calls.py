"""The server calls partners: from the dial to the session, and each step at which it can fail; TLS in memory."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import attrs
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smartproxy.net.sessions import LiveSessions
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.admission import Admission, Denied
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.configuration import ServerConfiguration, ServerPart
from smartproxy.policy.faults import PartnerUnreachable, Step, StopReason
from smartproxy.policy.partners import Outbound, Partner, RevocationMode, Verify
from smartproxy.policy.penalties import Penalties
from smartproxy.policy.settings import PenaltySettings, ServerLimits, SourceMissing
from smartproxy.relay.ending import Summary
from smartproxy.server.accept import Gate
from smartproxy.server.dial import partner_calls, sources, tls
from smartproxy.server.dial.partner_calls import PartnerCalls
from smartproxy.server.dial.tls import DialledContexts
from smartproxy.server.generation import ServerGeneration
from smartproxy.server.withdrawal import Withdrawals
from smartproxy.testing import pki
from smartproxy.testing.pki import CLIENT_AUTH
from tests.adapters.acme import DAY, LEAF, MIDDLE, NOW, acme, configuration, with_issuing
from tests.adapters.rig import Caller, FakeLeg, Journal, identity_entry, pin
from tests.adapters.wires import End, Network
from tests.resolvers import slow_names
from tests.unit.playbook import PARTNER_SSID, STATION_SSID, ssid

SESSION = "0123456789abcdef"
OWN = pki.self_signed("proxy")
ACME = pki.self_signed("ACME")
HOST = "192.0.2.99"


@implementer(IOpenSSLServerConnectionCreator)
class AnsweringTls:
    """TLS as a called partner speaks it.

    :param credential: the certificate that it shows.
    :param adjust: changes the context before its first use.
    """

    def __init__(self, credential: pki.TestCredential, adjust: Callable[[SSL.Context], object]) -> None:
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate(credential.certificate)
        self.context.use_privatekey(credential.key)
        for certificate in credential.intermediates:
            self.context.add_extra_chain_cert(certificate)
        adjust(self.context)
        self.connections: list[SSL.Connection] = []

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the TLS side of a connection."""
        connection = SSL.Connection(self.context, None)
        self.connections.append(connection)
        return connection


def entry(outbound: Outbound | None = None, **changes: Any) -> Partner:
    """ACME's entry: pinned, and its outgoing check is by the pin."""
    return acme(pin(ACME), outbound=outbound or Outbound(host=HOST, verify=Verify.PIN), **changes)


class CallingTestCase(SynchronousTestCase):
    """A server that calls on a network in memory."""

    def setUp(self) -> None:
        """One partner who can be called."""
        self.reactor: Any = MemoryReactorClock()
        self.reactor.advance(1_000_000_000)
        self.network = Network(self.reactor)
        self.journal = Journal(self.reactor)
        self.finished: list[Summary] = []
        self.sessions = LiveSessions(self.reactor, self.journal.events, self.finished.append)
        self.unused: list[str] = []
        self.stopped: list[StopReason] = []
        self.admission = Admission(limits=ServerLimits())
        self.gate = Gate(self.reactor, self.journal.events, self.admission, Penalties(PenaltySettings()))
        self.withdrawals = Withdrawals(self.reactor, self.journal.events, lambda: NOW)
        self.sources = sources.Sources(self.reactor, self.journal.events, self.stopped.append)
        self.calls = PartnerCalls(
            reactor=self.reactor,
            events=self.journal.events,
            sessions=self.sessions,
            admission=self.gate,
            withdrawals=self.withdrawals,
            unused=self.unused.append,
            sources=self.sources,
        )
        self.configure(entry())

    def configure(self, *partners: Partner, **server: Any) -> None:
        """Put a configuration in force."""
        whole = ServerConfiguration(**{"identities": (identity_entry(OWN),), "partners": partners, **server})
        self.adopt(whole)

    def adopt(self, server: ServerConfiguration, number: int = 1) -> None:
        """Put a generation in force whose certificates for partners that call are of no importance."""
        part = ServerPart(generation=number, site="Muster GmbH", server=server)
        called = DialledContexts(server, lambda: datetime.now(UTC))
        self.admission.limits = server.limits
        self.calls.adopt(ServerGeneration(part, cast(Any, None), called))

    def call(self, name: str = "ACME", *, trial: bool = False) -> Deferred[Any]:
        """Begin a call."""
        calling = self.calls.open(SESSION, name, trial=trial)
        self.reactor.advance(0)
        return calling

    def connect(
        self, credential: pki.TestCredential = ACME, adjust: Callable[[SSL.Context], object] = lambda context: None
    ) -> Caller:
        """The partner takes the connection; TLS goes as far as it does."""
        self.partner = Caller()
        self.tls = AnsweringTls(credential, adjust)
        wrapped = Factory.forProtocol(lambda: self.partner)
        far = TLSMemoryBIOFactory(self.tls, False, wrapped, self.reactor).buildProtocol(None)
        near = self.reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", HOST, 6619))
        self.socket: End
        self.far: End
        self.socket, self.far = self.network.connect(near, far, "192.0.2.1")
        self.network.settle()
        return self.partner

    def dial_fails(self, error: Exception) -> None:
        """The connection does not come about; there is no other address to try."""
        self.reactor.tcpClients[-1][2].clientConnectionFailed(self.reactor.connectors[-1], Failure(error))
        self.passed(1)

    def says(self, octets: bytes) -> None:
        """The partner sends octets."""
        transport: Any = self.partner.transport
        transport.write(octets)
        self.network.settle()

    def passed(self, seconds: float) -> None:
        """Time passes."""
        self.reactor.advance(seconds)
        self.network.settle()

    def assertFailed(self, calling: Deferred[Any], message: str, step: str, **fields: object) -> None:
        """A call failed, and one event says at which step."""
        self.network.settle()
        fault: PartnerUnreachable = self.failureResultOf(calling, PartnerUnreachable).value
        self.assertEqual(fault.message, message)
        told = self.journal.the("outbound.failed")
        self.assertEqual(
            (told["message"], told["step"], told["partner"], told["session"]), (message, step, "ACME", SESSION)
        )
        self.assertEqual(told["cause"], fault.cause)
        self.assertEqual({name: told.get(name) for name in fields}, fields)
        self.assertEqual(self.journal.of("internal.error"), [])
        self.passed(10)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Steps(CallingTestCase):
    """Where a call can fail."""

    def test_connecting(self) -> None:
        """Each failure to connect has its words and its step."""
        for error, message, step in (
            (ConnectionRefusedError(), "connect: the partner refuses the connection", "connect"),
            (NoRouteError(), "connect: there is no route to the partner", "connect"),
            (TimeoutError(), "connect: the partner does not answer", "connect"),
            (ConnectError(), "connect: the connection failed", "connect"),
            (DNSLookupError(), f"name: the host name {HOST} is not known", "name"),
        ):
            self.setUp()
            calling = self.call()
            self.dial_fails(error)
            self.assertFailed(calling, message, step, host=HOST, port=6619)

    def test_no_host_name(self) -> None:
        """A name that nothing can dial, which an older version took, fails at the step of the name."""
        self.configure(entry(Outbound(host="a_b", verify=Verify.PIN)))
        self.assertFailed(self.call(), "name: a_b is not a host name", "name", host="a_b", cause=Cause.CALL_NAME)

    def test_source(self) -> None:
        """The address to call from; one that this host does not have is CRITICAL, told at once and again."""
        self.configure(entry(), source_address="127.0.0.1")
        self.call().addErrback(lambda failure: None)
        self.assertEqual(self.reactor.tcpClients[-1][4], ("127.0.0.1", 0))
        own = Outbound(host=HOST, verify=Verify.PIN, source="192.0.2.77")
        self.configure(entry(own), source_address="127.0.0.1")
        self.assertEqual(self.journal.the("outbound.source_missing")["names"], ["ACME"])
        before = len(self.reactor.tcpClients)
        calling = self.call()
        fault = self.failureResultOf(calling, PartnerUnreachable).value
        self.assertEqual(fault.message, "source: this server does not have the address 192.0.2.77")
        self.assertEqual(len(self.reactor.tcpClients), before)
        self.assertEqual(len(self.journal.of("outbound.source_missing")), 2)

    def test_source_looked_for(self) -> None:
        """The site's address is looked for each minute, also while nobody is called; its loss is told once."""
        here = {"192.0.2.77"}
        self.patch(sources, "has_address", lambda address: address in here)
        self.configure(source_address="192.0.2.77")
        self.passed(60)
        self.assertEqual(self.journal.of("outbound.source_missing"), [])
        here.clear()
        self.passed(120)
        missing = self.journal.the("outbound.source_missing")
        self.assertEqual((missing["address"], missing["names"]), ("192.0.2.77", []))
        self.assertEqual(self.sources.missing(), {"192.0.2.77": []})
        here.add("192.0.2.77")
        self.passed(60)
        here.clear()
        self.passed(60)
        self.assertEqual(len(self.journal.of("outbound.source_missing")), 2)
        self.calls.forget()
        self.assertEqual((self.reactor.getDelayedCalls(), self.sources.missing()), ([], {}))
        self.assertEqual(self.stopped, [])

    def test_source_that_stops_the_server(self) -> None:
        """Where the setting says so, the site's missing address stops the server, a partner's does not."""
        own = entry(Outbound(host=HOST, verify=Verify.PIN, source="192.0.2.78"))
        self.configure(own, source_address="127.0.0.1", source_address_missing=SourceMissing.STOP)
        self.assertEqual((len(self.journal.of("outbound.source_missing")), self.stopped), (1, []))
        self.configure(entry(), source_address="192.0.2.77", source_address_missing=SourceMissing.REFUSE)
        self.assertEqual(self.stopped, [])
        self.configure(entry(), source_address="192.0.2.77", source_address_missing=SourceMissing.STOP)
        (reason,) = self.stopped
        self.assertEqual((reason.cause, reason.status), (Cause.SOURCE_MISSING, 2))
        self.assertIn("192.0.2.77", reason.message)
        self.assertIn("the server stops", str(self.journal.of("outbound.source_missing")[-1]["message"]))

    def test_source_that_cannot_be_bound(self) -> None:
        """An address that was there a moment ago."""
        self.configure(entry(), source_address="127.0.0.1")
        calling = self.call()
        error = ConnectBindError(OSError(99, "Cannot assign"), "")
        self.patch(partner_calls, "has_address", lambda address: False)
        self.dial_fails(error)
        self.failureResultOf(calling, PartnerUnreachable)
        self.assertEqual(self.journal.the("outbound.failed")["step"], "source")
        self.assertEqual(self.journal.the("outbound.source_missing")["address"], "127.0.0.1")

    def test_source_that_is_there_after_all(self) -> None:
        """A socket that could not be bound for another reason stops no server and blames no address."""
        self.configure(entry(), source_address="127.0.0.1", source_address_missing=SourceMissing.STOP)
        calling = self.call()
        self.dial_fails(ConnectBindError(OSError(98, "Address already in use"), ""))
        self.failureResultOf(calling, PartnerUnreachable)
        self.assertEqual((self.journal.of("outbound.source_missing"), self.stopped), ([], []))

    def test_family_of_the_source(self) -> None:
        """From an address, a partner is called at its addresses of the same family: the others cannot be reached."""
        asked: list[Any] = []

        class Resolver:
            def resolveHostName(self, receiver: Any, name: str, port: int, types: Any, semantics: str) -> None:
                asked.append((name, types))
                receiver.resolutionBegan(None)
                receiver.resolutionComplete()

        self.reactor.nameResolver = Resolver()
        for source, family in (("127.0.0.1", IPv4Address), ("::1", IPv6Address)):
            self.configure(entry(Outbound(host="oftp.acme.example", verify=Verify.PIN)), source_address=source)
            fault = self.failureResultOf(self.call(), PartnerUnreachable).value
            self.assertEqual((asked.pop(), fault.step), (("oftp.acme.example", (family,)), Step.NAME))
            self.assertIn(f"has no address of the family of {source}", fault.message)

    def test_source_in_ipv6_form(self) -> None:
        """An IPv4 address in IPv6 form is the IPv4 address, of the site as of a partner."""
        mapped = "::ffff:127.0.0.1"
        for own, site in ((None, mapped), (mapped, None)):
            self.configure(entry(Outbound(host=HOST, verify=Verify.PIN, source=own)), source_address=site)
            self.call().addErrback(lambda failure: None)
            self.assertEqual(self.reactor.tcpClients[-1][4], ("127.0.0.1", 0))
        self.patch(sources, "has_address", lambda address: False)
        self.configure(source_address=mapped, source_address_missing=SourceMissing.STOP)
        self.assertEqual(self.sources.missing(), {"127.0.0.1": []})
        self.assertEqual(len(self.stopped), 1)

    def test_no_answer(self) -> None:
        """A connection that does not come about has its time."""
        calling = self.call()
        self.passed(19)
        self.assertNoResult(calling)
        self.passed(1)
        self.assertFailed(calling, "connect: the partner does not answer", "connect")

    def call_by_name(self) -> Deferred[Any]:
        """Call a partner whose name the resolver has not found yet."""
        slow_names(self.reactor)
        self.configure(entry(Outbound(host="oftp.acme.example", verify=Verify.PIN)))
        return self.call()

    def test_name_that_is_not_resolved(self) -> None:
        """A look-up that takes all the time is one of the name: nobody has called the partner."""
        calling = self.call_by_name()
        self.passed(20)
        self.assertFailed(calling, "name: the host name oftp.acme.example was not resolved within 20 s", "name")

    def test_given_up_while_the_name_is_looked_up(self) -> None:
        """A station that hangs up leaves no failure of the partner's name."""
        calling = self.call_by_name()
        calling.cancel()
        self.failureResultOf(calling)
        self.assertEqual([event.get("step") for event in self.journal.of("outbound.failed")], [])

    def test_silent_in_tls(self) -> None:
        """The handshake has a deadline of its own."""
        calling = self.call()
        self.socket_without_tls()
        self.passed(10)
        self.assertFailed(calling, "TLS: no TLS handshake within 10 s", "tls")

    def socket_without_tls(self) -> Caller:
        """The partner takes the connection and does not speak TLS."""
        self.partner = Caller()
        near = self.reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", HOST, 6619))
        self.network.connect(near, self.partner, "192.0.2.1")
        self.network.settle()
        return self.partner

    def test_not_tls(self) -> None:
        """Something else than TLS."""
        calling = self.call()
        self.socket_without_tls()
        self.says(SSRM_BUFFER)
        fault = self.failureResultOf(calling, PartnerUnreachable).value
        self.assertTrue(fault.message.startswith("TLS: TLS error: "), fault.message)

    def test_closed_in_tls(self) -> None:
        """A partner who closes before TLS is done."""
        calling = self.call()
        transport: Any = self.socket_without_tls().transport
        transport.loseConnection()
        self.network.settle()
        fault = self.failureResultOf(calling, PartnerUnreachable).value
        self.assertTrue(
            fault.message.startswith("TLS: the partner ended the connection before TLS was done"), fault.message
        )

    def test_silent_before_ssrm(self) -> None:
        """TLS alone is not enough: without SSRM within the deadline, the call fails."""
        calling = self.call()
        self.connect()
        self.assertEqual(self.partner.handshakes, 1)
        self.assertNoResult(calling)
        self.passed(20)
        self.assertFailed(calling, "SSRM: the partner does not answer within 20 s", "ssrm")

    def test_closed_before_ssrm(self) -> None:
        """It ends TLS in an orderly way, without a word."""
        calling = self.call()
        transport: Any = self.connect().transport
        transport.loseConnection()
        self.network.settle()
        fault = self.failureResultOf(calling, PartnerUnreachable).value
        self.assertTrue(
            fault.message.startswith("SSRM: the partner ended the connection before SSRM was done"), fault.message
        )

    def test_wrong_greeting(self) -> None:
        """What comes is no SSRM: judged by the same monitor, ended at once."""
        for octets in (b"SSH-2.0-x\r\n", PARTNER_SSID):
            self.setUp()
            calling = self.call()
            self.connect()
            self.says(octets)
            fault = self.failureResultOf(calling, PartnerUnreachable).value
            self.assertTrue(fault.message.startswith("SSRM: what the partner sent is not SSRM: "), fault.message)
            self.assertIsNotNone(self.partner.ended)

    def test_alert_after_our_handshake(self) -> None:
        """With TLS 1.3 the partner refuses our certificate when our handshake is over: the alert is the cause."""
        calling = self.call()
        self.connect(adjust=lambda context: context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT))
        self.assertFailed(
            calling, "TLS: the partner refused the connection with the TLS alert unknown_ca", "tls", alert="unknown_ca"
        )
        self.assertEqual(self.journal.the("outbound.failed")["cause"], "call.distrusted")
        self.assertIn("smartproxy identity show NAME -o FILE", self.journal.the("outbound.failed")["advice"])

    def test_another_certificate(self) -> None:
        """A host with another certificate gets an alert, and the event says what it showed."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.setUp()
            calling = self.call()
            other = pki.self_signed("somebody else")
            self.connect(other, lambda context, version=version: context.set_max_proto_version(version))  # type: ignore[misc]  # mypy cannot infer it
            message = "TLS: the certificate is not one expected from the called partner"
            self.assertFailed(
                calling, message, "tls", cause="certificate.not_expected", certificate_sha256=other.sha256, depth=0
            )
            self.assertEqual(self.partner.handshakes, 0)

    def test_old_tls(self) -> None:
        """TLS 1.2 without forward secrecy is not offered."""
        calling = self.call()
        self.connect(
            adjust=lambda context: (
                context.set_max_proto_version(SSL.TLS1_2_VERSION),
                context.set_cipher_list(b"AES256-GCM-SHA384:AES128-SHA"),
            )
        )
        self.failureResultOf(calling, PartnerUnreachable)
        self.assertEqual(self.journal.the("outbound.failed")["alert"], "handshake_failure")


class Names(CallingTestCase):
    """Certificates that have to bear the host's name."""

    def named(
        self, name: str, credential: pki.TestCredential, mode: RevocationMode = RevocationMode.OFF
    ) -> Deferred[Any]:
        """Call a host by this name, where somebody shows this."""
        known = acme(outbound=Outbound(host=HOST, server_name=name))
        part = attrs.evolve(configuration(known, mode=mode), identities=(identity_entry(OWN),))
        self.adopt(part)
        calling = self.call()
        self.connect(credential)
        self.says(SSRM_BUFFER)
        return calling

    def test_right_name(self) -> None:
        """The name, however it is written; it is the server name in TLS."""
        for name in ("oftp.acme.example", "OFTP.acme.example"):
            self.setUp()
            self.successResultOf(self.named(name, LEAF))
            self.assertEqual(self.tls.connections[0].get_servername(), name.encode())
            self.assertEqual(self.journal.the("outbound.answered")["by"], "name")

    def test_issuing_ca_beside_its_root(self) -> None:
        """The root that the certificate has to come from is reached, though its issuing CA is a CA of its own."""
        known = acme(outbound=Outbound(host=HOST, server_name="oftp.acme.example", ca="ca"))
        self.adopt(attrs.evolve(with_issuing(configuration(known)), identities=(identity_entry(OWN),)))
        calling = self.call()
        self.connect(LEAF)
        self.says(SSRM_BUFFER)
        self.successResultOf(calling)
        self.assertEqual(self.journal.the("outbound.answered")["ca"], "ca")

    def test_wildcard_and_address(self) -> None:
        """A wildcard covers one label; an address has to stand there as one, and is not asked for."""
        wild = MIDDLE.issue("x", sans=("DNS:*.acme.example",))
        self.successResultOf(self.named("oftp.acme.example", wild))
        self.setUp()
        self.failureResultOf(self.named(HOST, LEAF), PartnerUnreachable)
        self.assertIsNone(self.tls.connections[0].get_servername())

    def test_unknown_issuer(self) -> None:
        """A stranger's certificate in a check by name: the cure may be to verify by the pin, and the advice says so."""
        shown = pki.self_signed("oftp.acme.example")
        self.failureResultOf(self.named("oftp.acme.example", shown), PartnerUnreachable)
        told = self.journal.the("outbound.failed")
        self.assertEqual(told["cause"], "certificate.unknown_ca")
        self.assertIn("smartproxy partner outbound NAME --verify pin", told["advice"])

    def test_where_its_list_is(self) -> None:
        """The partner's path is told, with its CA, for the lists that it names: accepted, and refused for want of one.

        A certificate that is refused for another reason tells nothing.
        """
        name = "oftp.acme.example"
        young = MIDDLE.issue(name, valid_from=NOW + DAY, valid_until=NOW + 9 * DAY)
        for shown, mode, told in (
            (LEAF, RevocationMode.OFF, ["ca"]),
            (LEAF, RevocationMode.REQUIRE, ["ca"]),
            (young, RevocationMode.REQUIRE, []),
        ):
            self.setUp()
            seen: list[str] = []

            def note(chain: ChainFacts, ca: str, server: ServerConfiguration, seen: list[str] = seen) -> None:
                self.assertEqual(len(chain.path), 3)
                seen.append(ca)

            self.patch(self.calls, "_crl_urls", note)
            self.named(name, shown, mode).addErrback(lambda failure: None)
            self.assertEqual(seen, told)

    def test_wrong_purpose(self) -> None:
        """A certificate for clients is refused as one for a server; the advice speaks of a server."""
        shown = MIDDLE.issue("oftp.acme.example", purposes=[CLIENT_AUTH])
        self.failureResultOf(self.named("oftp.acme.example", shown), PartnerUnreachable)
        told = self.journal.the("outbound.failed")
        self.assertEqual(told["cause"], "certificate.wrong_purpose")
        self.assertIn("serverAuth", told["advice"])
        self.assertNotIn("clientAuth", told["advice"])

    def test_wrong_name(self) -> None:
        """Another name, no name at all, and a name in the subject only."""
        for credential in (LEAF, MIDDLE.issue("other.example"), MIDDLE.issue("x", sans=("DNS:*.example",))):
            self.setUp()
            fault = self.failureResultOf(self.named("other.acme.example", credential), PartnerUnreachable).value
            self.assertIn("does not contain the name of the called host", fault.message)
            self.assertEqual(self.journal.the("outbound.failed")["cause"], "certificate.wrong_name")


class Answered(CallingTestCase):
    """A partner who greets."""

    def answered(self, *, trial: bool = False) -> Callable[[Any], None]:
        """Call, and have the partner greet."""
        calling = self.call(trial=trial)
        self.connect()
        self.says(SSRM_BUFFER)
        take: Callable[[Any], None] = self.successResultOf(calling)
        return take

    def test_session(self) -> None:
        """Its SSRM is relayed as it came, then each side's octets; the session is the daemon's, and ends."""
        leg = FakeLeg()
        self.answered()(leg)
        self.network.settle()
        self.assertEqual(leg.sent, SSRM_BUFFER)
        self.assertEqual(list(self.sessions.live), [SESSION])
        leg.receive(STATION_SSID)
        self.network.settle()
        self.assertEqual(self.partner.received, STATION_SSID)
        self.says(PARTNER_SSID)
        self.assertEqual(leg.sent, SSRM_BUFFER + PARTNER_SSID)
        told = self.journal.the("identity.accepted")
        self.assertEqual((told["partner"], told["direction"]), ("ACME", "outbound"))
        leg.lose()
        self.passed(10)
        self.assertEqual((self.sessions.live, [each.session for each in self.finished]), ({}, [SESSION]))
        self.assertEqual(self.unused, [])

    def test_partner_that_costs_too_much(self) -> None:
        """After two sessions that took far too much computing time the partner is not called until its ban ends."""
        for _ in range(2):
            leg = FakeLeg()
            self.answered()(leg)
            self.sessions._end_costly(SESSION)
            leg.lose()
            self.passed(10)
            self.assertEqual(self.finished[-1].ending.cause, Cause.SESSION_COSTLY)
        fault = self.failureResultOf(self.call(), PartnerUnreachable).value
        self.assertEqual((fault.step, fault.cause), (Step.POLICY, Cause.CALL_BANNED))
        self.assertEqual(self.journal.of("outbound.failed")[-1]["cause"], Cause.CALL_BANNED)
        self.passed(60)
        self.answered()

    def test_somebody_elses_code(self) -> None:
        """An SSID that is not the partner's ends the session before the station sees it."""
        leg = FakeLeg()
        self.answered()(leg)
        self.network.settle()
        leg.receive(STATION_SSID)
        self.network.settle()
        self.says(ssid("O0013000009OTHER"))
        self.assertNotIn(b"OTHER", leg.sent)
        self.assertEqual(self.journal.the("identity.refused")["told_partner"], "ESID 03")

    def test_nobody_takes_it(self) -> None:
        """A call that was answered for nothing ends, and is told."""
        self.answered()(None)
        self.passed(10)
        self.assertIsNotNone(self.partner.ended)
        self.assertEqual(self.journal.the("outbound.failed")["message"], "SSRM: the local caller was gone")
        self.assertEqual(self.unused, [SESSION])

    def test_he_leaves_meanwhile(self) -> None:
        """A partner who is gone when the leg comes; both are ended."""
        take = self.answered()
        self.far.abortConnection()
        self.passed(0)
        self.socket.resumeProducing()
        self.passed(0)
        leg = FakeLeg()
        take(leg)
        self.assertEqual(leg.calls, ["finish"])
        self.assertEqual(self.journal.the("outbound.failed")["message"], "SSRM: the partner ended the connection")
        assert leg.end is not None
        self.assertEqual(
            (leg.end.outcome, leg.end.cause, leg.end.ended_by), ("unreachable", Cause.CALL_CLOSED, "partner")
        )

    def test_trial(self) -> None:
        """A trial ends with the partner's greeting; no session begins, and nothing failed."""
        leg = FakeLeg()
        self.answered(trial=True)(leg)
        self.passed(10)
        self.assertIsNotNone(self.partner.ended)
        self.assertEqual((leg.calls, self.partner.received, self.unused), (["finish"], b"", [SESSION]))
        self.assertEqual((self.journal.of("outbound.failed"), self.journal.of("session.started")), ([], []))

    def test_early_octets_are_judged(self) -> None:
        """What the partner sends behind SSRM, before its turn, is judged by the session."""
        calling = self.call()
        self.connect()
        self.says(SSRM_BUFFER + PARTNER_SSID)
        leg = FakeLeg()
        self.successResultOf(calling)(leg)
        self.network.settle()
        self.assertEqual(self.journal.the("session.violation")["side"], "partner")

    def test_greeting_in_pieces(self) -> None:
        """An SSRM that trickles in is one, and what follows it before its turn is kept, and little of it."""
        calling = self.call()
        self.connect()
        for octet in SSRM_BUFFER[:-1]:
            self.says(bytes((octet,)))
            self.assertNoResult(calling)
        self.says(SSRM_BUFFER[-1:])
        take = self.successResultOf(calling)
        self.says(PARTNER_SSID)
        leg = FakeLeg()
        take(leg)
        self.network.settle()
        self.assertTrue(leg.sent.startswith(SSRM_BUFFER))
        self.assertEqual(self.journal.the("session.violation")["side"], "partner")

    def test_a_bug_in_the_verifier(self) -> None:
        """A bug of ours while the certificate is judged ends this call only, and is reported as one."""
        self.patch(tls, "judge_called", lambda *arguments: 1 / 0)
        calling = self.call()
        self.connect()
        fault = self.failureResultOf(calling, PartnerUnreachable).value
        self.assertEqual(fault.message, "connect: an internal error ended the call")
        self.assertEqual(self.journal.the("internal.error")["exception"], "ZeroDivisionError")

    def test_canceled(self) -> None:
        """A call that nobody waits for any more leaves nothing behind."""
        for connected in (False, True):
            self.setUp()
            calling = self.call()
            if connected:
                self.connect()
            calling.cancel()
            self.failureResultOf(calling, CancelledError)
            self.passed(10)
            self.assertEqual((self.journal.of("outbound.failed"), self.reactor.getDelayedCalls()), ([], []))


class Allowed(CallingTestCase):
    """Who may be called at all."""

    def refused(self, name: str = "ACME", *, step: str = "policy") -> str:
        """Why a call is refused without a dial."""
        before = len(self.reactor.tcpClients)
        fault: PartnerUnreachable = self.failureResultOf(self.call(name), PartnerUnreachable).value
        self.assertEqual(len(self.reactor.tcpClients), before)
        self.assertEqual(self.journal.of("outbound.failed")[-1]["step"], step)
        return fault.message

    def test_configured_partners_only(self) -> None:
        """Unknown, disabled, never called."""
        self.configure(entry(enabled=False), acme(name="CALLER", codes=("X",)))
        for name in ("ACME", "CALLER", "192.0.2.1"):
            self.assertEqual(self.refused(name), "policy: the partner's entry does not allow calls")

    def test_without_configuration(self) -> None:
        """A server that forgot everything calls nobody."""
        self.calls.forget()
        self.assertEqual(self.refused(step="connect"), "connect: the server has no configuration")

    def test_limit(self) -> None:
        """Calls count with the sessions, also while they are dialled."""
        self.configure(entry(), limits=ServerLimits(sessions=1))
        self.call().addErrback(lambda failure: None)
        self.assertEqual(self.refused(step="connect"), "connect: the server's limit of 1 sessions is reached")
        self.reactor.advance(60)
        self.assertEqual(self.admission.sessions, 0)

    def test_sessions_that_partners_began_count(self) -> None:
        """Sessions are counted once, whoever began them: in all, and with one partner."""
        self.configure(entry(), limits=ServerLimits(sessions=1))
        visit = self.admission.enter("192.0.2.7")
        visit.prove("OTHER")
        self.assertEqual(self.refused(step="connect"), "connect: the server's limit of 1 sessions is reached")
        visit.leave()
        self.configure(entry(), limits=ServerLimits(sessions_per_partner=1))
        visit = self.admission.enter("192.0.2.7")
        visit.prove("ACME")
        limit = "connect: the server's limit of 1 sessions with this partner is reached"
        self.assertEqual(self.refused(step="connect"), limit)
        visit.leave()
        self.call().addErrback(lambda failure: None)
        visit = self.admission.enter("192.0.2.7")
        self.assertRaises(Denied, visit.prove, "ACME")

    def test_identity(self) -> None:
        """The partner is shown the certificate that its entry names; one that cannot be used is told with its place."""
        second = pki.self_signed("second")
        outbound = Outbound(host=HOST, verify=Verify.PIN, identity="second")
        both = (identity_entry(OWN), identity_entry(second, "second"))
        self.configure(entry(outbound), identities=both)
        self.call()
        shown: list[str] = []

        def look(connection: SSL.Connection, certificate: Any, error: int, depth: int, ok: int) -> bool:
            shown.append(certificate.get_subject().CN)
            return True

        self.connect(adjust=lambda context: context.set_verify(SSL.VERIFY_PEER, look))
        self.assertEqual(set(shown), {"second"})
        broken = attrs.evolve(both[1], key=both[0].key)
        self.configure(entry(outbound), identities=(both[0], broken))
        self.assertIn("policy: server.identities[1].certificate: does not fit its private key", self.refused())
        self.configure(entry(outbound), identities=both[:1])
        self.assertIn("there is no server certificate that can be shown", self.refused())
