"""Many generations while sessions run, over real TLS in memory: none is disturbed, each holds for who comes next."""

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import EFPA
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.partners import Partner
from smartproxy.testing import pki
from tests.adapters.rig import Caller, CallerTls, FakeLeg, ServerRig, identity_entry, pin
from tests.unit.playbook import EFID_5, SFPA_0, data, framed, sfid, ssid

GENERATIONS, SESSIONS = 200, 50
PARTNER_SSID, STATION_SSID = ssid(cred=99), ssid("O0013000002ME", pswd="", cred=99)
NEWCOMERS = 8
"""Partners' certificates that take turns in being the only new one of a generation."""


class ManyGenerations(SynchronousTestCase):
    """Two hundred generations under fifty sessions, half of which are in the middle of a file."""

    def setUp(self) -> None:
        """Open the sessions."""
        self.rig = ServerRig()
        self.calls: list[tuple[Caller, FakeLeg]] = []
        for number in range(SESSIONS):
            caller, _ = self.rig.call(host=f"192.0.2.{number + 1}")
            self.rig.send(caller, PARTNER_SSID)
            leg = self.rig.inside()
            self.hear(leg, STATION_SSID)
            self.calls.append((caller, leg))
            if number % 2:
                self.rig.send(caller, sfid())
                self.hear(leg, SFPA_0)
        self.newcomers = [pki.self_signed(f"newcomer {number}") for number in range(NEWCOMERS)]

    def hear(self, leg: FakeLeg, octets: bytes) -> None:
        """The station speaks."""
        leg.receive(octets)
        self.rig.network.settle()

    def put(self, number: int) -> pki.TestCredential:
        """Put a generation in force in which one newcomer is known; its certificate."""
        newcomer = self.newcomers[number % NEWCOMERS]
        entry = Partner(name=f"NEW-{number}", codes=(f"O0013NEW{number}",), certificates=(pin(newcomer),))
        server = attrs.evolve(self.rig.configuration, partners=(self.rig.entry(), entry))
        self.rig.sessions.adopt(self.rig.generation(server, number + 2))
        return newcomer

    def test_none_is_dropped(self) -> None:
        """All sessions live on, carry what they are sent between any two generations, and finish their files."""
        for number in range(GENERATIONS):
            self.put(number)
            caller, leg = self.calls[2 * (number % (SESSIONS // 2)) + 1]
            before = len(leg.sent)
            self.rig.send(caller, data())
            self.assertEqual(leg.sent[before:], data(), number)
        self.assertEqual(len(self.rig.sessions.live), SESSIONS)
        self.assertEqual([caller.ended for caller, _ in self.calls], [None] * SESSIONS)
        for caller, leg in self.calls[::2]:
            self.rig.send(caller, sfid())
            self.assertTrue(leg.sent.endswith(sfid()))
        for name in ("session.failed", "session.withdrawn", "session.violation", "session.ended"):
            self.assertEqual(self.rig.journal.of(name), [])

    def test_each_holds_for_who_comes_next(self) -> None:
        """The partner that a generation names is let in at once, and the one before it no more."""
        former: pki.TestCredential | None = None
        for number in range(NEWCOMERS):
            newcomer = self.put(number)
            caller, _ = self.rig.call(CallerTls(newcomer))
            self.assertEqual(caller.received, SSRM_BUFFER)
            if former is not None:
                turned_away, _ = self.rig.call(CallerTls(former))
                self.assertEqual(turned_away.received, b"")
            former = newcomer
        self.assertEqual(len(self.rig.journal.of("certificate.refused")), NEWCOMERS - 1)

    def test_new_identity(self) -> None:
        """The server's own new certificate is shown to who comes next; the running sessions go on with the old one."""
        renewed = pki.self_signed("renewed")
        server = attrs.evolve(self.rig.configuration, identities=(identity_entry(renewed),))
        self.rig.sessions.adopt(self.rig.generation(server, 2))
        tls = CallerTls(self.rig.partner)
        self.rig.call(tls)
        shown = tls.connections[-1].get_peer_certificate(as_cryptography=True)
        self.assertEqual(shown, renewed.certificate)
        caller, leg = self.calls[1]
        self.rig.send(caller, data() + EFID_5)
        self.hear(leg, framed(EFPA(cd="N")))
        self.assertTrue(caller.received.endswith(framed(EFPA(cd="N"))))
