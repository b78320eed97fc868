"""Sessions of partners who are revoked, disabled or removed while they run, over real TLS."""

from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import EFPA
from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy.certificates.revocation import RevocationSet
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import RevocationMode
from smartproxy.policy.settings import Deadlines
from smartproxy.testing.pki import TestCa
from tests.adapters.acme import LEAF, MIDDLE, ROOT, configuration, revoked
from tests.adapters.rig import Caller, CallerTls, ServerRig
from tests.unit.playbook import EFID_5, PARTNER_SSID, SFPA_0, STATION_SSID, data, esid, framed, sfid

WITHDRAWN = esid(EsidReason.UNSPECIFIED_ABORT, "Ended by policy")


class Withdrawals(SynchronousTestCase):
    """A live session, and a generation that takes the partner's right away."""

    def setUp(self) -> None:
        """A partner of an authority whose lists are all there, in a session."""
        good = configuration(mode=RevocationMode.REQUIRE, lists=(revoked(ROOT), revoked(MIDDLE)))
        told = attrs.asdict(good, recurse=False, filter=lambda field, _: field.name != "identities")
        self.rig = ServerRig(**told)
        self.caller, _ = self.rig.call(CallerTls(LEAF))
        self.rig.send(self.caller, PARTNER_SSID)
        self.leg = self.rig.inside()
        self.hear(STATION_SSID)

    def hear(self, octets: bytes) -> None:
        """The station speaks."""
        self.leg.receive(octets)
        self.rig.network.settle()

    def put(self, lists: tuple[RevocationSet, ...], **changes: Any) -> None:
        """Put another generation in force."""
        server: ServerConfiguration = attrs.evolve(
            self.rig.configuration,
            revocation=lists,
            **changes,
        )
        self.rig.sessions.adopt(self.rig.generation(server, 2))
        self.rig.network.settle()

    def revoke(self, **changes: object) -> None:
        """Put a generation in force that revokes the partner's certificate."""
        self.put((revoked(ROOT), revoked(MIDDLE, LEAF)), **changes)

    def test_idle(self) -> None:
        """An idle session ends at once, both sides are told, and one event says why."""
        self.revoke()
        self.assertTrue(self.caller.received.endswith(WITHDRAWN))
        self.assertEqual(self.leg.sent, PARTNER_SSID)
        self.assertIsNotNone(self.leg.end)
        told = self.rig.journal.the("session.withdrawn")
        self.assertEqual((told["partner"], told["cause"], told["depth"]), ("ACME", "certificate.revoked", 0))
        self.assertEqual(told["certificate_sha256"], LEAF.sha256)
        failed = self.rig.journal.the("session.failed")
        self.assertEqual(failed["cause"], "certificate.revoked")
        self.assertEqual(failed["message"], f"{told['message']}; it was accepted when the session began")
        self.leg.lose()
        self.assertEqual(self.rig.sessions.live, {})
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_root_that_was_issued_again(self) -> None:
        """A session goes on when its root's certificate is replaced by another one of the same name and key."""
        key = ROOT.credential.key
        for again, ended in ((TestCa.root("partners' root", key=key), False), (TestCa.root("partners' root"), True)):
            (entry,) = self.rig.configuration.cas
            self.put((), cas=(attrs.evolve(entry, certificates=again.certificate_pem.decode()),))
            self.assertEqual([bool(self.rig.journal.of("session.withdrawn"))], [ended])

    def test_within_a_file(self) -> None:
        """A file that is under way is finished, its answer included; the session ends then, without another file."""
        self.rig.send(self.caller, sfid())
        self.hear(SFPA_0)
        self.rig.send(self.caller, data())
        self.revoke()
        self.rig.send(self.caller, EFID_5)
        self.assertNotIn(WITHDRAWN, self.caller.received)
        answer = framed(EFPA(cd="N"))
        self.hear(answer)
        self.assertTrue(self.caller.received.endswith(answer + WITHDRAWN))
        self.assertEqual(self.rig.journal.the("file.ended")["outcome"], "completed")
        self.assertEqual(len(self.rig.journal.of("session.withdrawn")), 1)

    def test_deadline(self) -> None:
        """A session that does not come to an idle moment is ended when the deadline has passed, and not before."""
        self.rig.send(self.caller, sfid())
        self.hear(SFPA_0)
        self.revoke(deadlines=Deadlines(withdrawal=30))
        self.rig.network.wait(29)
        self.put((revoked(ROOT), revoked(MIDDLE, LEAF)))
        self.assertNotIn(WITHDRAWN, self.caller.received)
        self.rig.network.wait(1)
        self.assertTrue(self.caller.received.endswith(WITHDRAWN))
        self.assertEqual(self.rig.journal.the("session.withdrawn")["seconds"], 30)

    def test_before_the_session(self) -> None:
        """A partner who has not greeted yet is not let go on."""
        caller, _ = self.rig.call(CallerTls(LEAF))
        self.revoke()
        self.assertTrue(caller.received.endswith(WITHDRAWN))

    def test_connected_before(self) -> None:
        """A session ends if its certificate was revoked between the connection and the handshake."""
        near = self.rig.factory.buildProtocol(IPv4Address("TCP", "192.0.2.8", 40000))
        assert near is not None
        self.revoke()
        caller = Caller()
        tls = TLSMemoryBIOFactory(CallerTls(LEAF), True, Factory.forProtocol(lambda: caller), self.rig.clock)
        self.rig.network.connect(tls.buildProtocol(None), near, "192.0.2.8")
        self.rig.network.settle()
        self.assertEqual(caller.handshakes, 1)
        self.assertTrue(caller.received.endswith(WITHDRAWN))
        self.assertEqual(len(self.rig.journal.of("session.withdrawn")), 2)

    def test_others_go_on(self) -> None:
        """A list that went out of date, and somebody else's revocation, end nothing."""
        self.put(())
        self.put((revoked(ROOT), revoked(MIDDLE, ROOT.issue("somebody else"))))
        self.assertEqual(self.rig.journal.of("session.withdrawn"), [])
        self.rig.send(self.caller, sfid())
        self.assertTrue(self.leg.sent.endswith(sfid()))

    def test_disabled(self) -> None:
        """Disabling the entry ends the partner's sessions, too."""
        partners = (attrs.evolve(self.rig.configuration.partners[0], enabled=False),)
        self.put((revoked(ROOT), revoked(MIDDLE)), partners=partners)
        self.assertEqual(self.rig.journal.the("session.withdrawn")["cause"], "certificate.partner_disabled")
