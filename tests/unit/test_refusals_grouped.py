"""The operation ``refusal.list``: refusals by cause and partner, each counted once."""

from datetime import timedelta
from typing import Any

from smartproxy.backend import refusals_grouped
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.operations import refusal
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.policy.permissions import AdminRole
from tests.unit.sites import NOW, SiteCase

AUDITOR = Caller(name="alice", scopes=AdminRole.AUDITOR.scopes)


class Grouped(SiteCase):
    """Events of the daemons, and what is counted."""

    def setUp(self) -> None:
        """Begin with no event."""
        super().setUp()
        self.seconds = 0

    def tell(self, name: str, source: str = "server", days: int = 0, **fields: Any) -> None:
        """A daemon tells an event, some days before the others."""
        self.seconds += 1
        time = (NOW + timedelta(seconds=self.seconds, days=-days)).isoformat()
        event = {"name": name, "source": source, "sequence": self.seconds, "time": time, **fields}
        self.assertEqual(ClientRequests(self.store).keep_events("inner", [event], NOW).refused, [])

    def listed(self, **wanted: Any) -> refusal.RefusalList:
        """The groups, as an auditor sees them."""
        return perform(self.store, refusal.listed, refusal.RefusalsWanted(**wanted), AUDITOR, NOW).answer

    def test_counted_once(self) -> None:
        """Both daemons tell of a session, and a connection is refused with several events: each counts as one."""
        for peer in ("192.0.2.7:40001", "192.0.2.7:40002", "198.51.100.9:7"):
            self.tell("certificate.refused", peer=peer, cause="certificate.expired", message="it has ended")
            self.tell("handshake.failed", peer=peer, cause="handshake.tls", message="TLS ended")
        for session in ("a" * 16, "b" * 16):
            self.tell(
                "identity.refused", session=session, partner="ACME", cause="identity.code", message="not its code"
            )
            for source in ("server", "client"):
                self.tell(
                    "session.ended", source, session=session, partner="ACME", outcome="refused", cause="identity.code"
                )
        found = self.listed()
        told = [(each.key, each.partner, each.count) for each in found.items]
        self.assertEqual(told, [("identity.code", "ACME", 2), ("certificate.expired", None, 3)])
        self.assertEqual(found.items[1].peers, ("198.51.100.9", "192.0.2.7"))
        self.assertEqual((found.items[0].newest.name, found.items[0].cause), ("identity.refused", "not its code"))
        self.assertIn("SSIDCODE", found.items[0].remedy)
        self.assertTrue(found.whole)
        number = str(found.items[0].newest.number)
        explained = perform(self.store, refusal.explain, refusal.RefusalWanted(what=number), AUDITOR, NOW).answer
        self.assertEqual((explained.key, explained.happened), ("identity.code", found.items[0].happened))

    def test_which(self) -> None:
        """What completed is none; what is older than wanted, or of another partner, is left out."""
        self.tell("session.ended", session="c" * 16, partner="ACME", outcome="completed")
        self.tell("session.ended", session="d" * 16, partner="ACME", outcome="aborted", ended_by="partner", reason=4)
        self.tell("session.ended", session="e" * 16, partner="BOLT", outcome="lost", ended_by="partner")
        self.tell("session.ended", session="f" * 16, partner="ACME", outcome="lost", ended_by="partner", days=8)
        self.assertEqual(
            {(each.key, each.partner) for each in self.listed().items},
            {
                ("aborted.partner", "ACME"),
                ("lost.partner", "BOLT"),
            },
        )
        self.assertEqual([each.key for each in self.listed(partner="ACME").items], ["aborted.partner"])
        self.assertEqual(len(self.listed(since=NOW - timedelta(days=9)).items), 3)
        first = self.listed(limit=1)
        self.assertEqual(([each.partner for each in first.items], first.left_out), (["BOLT"], 1))

    def test_bounded(self) -> None:
        """Of very many events the newest are looked at, and the answer says so."""
        self.patch(refusals_grouped, "EVENTS_READ", 2)
        for number in range(3):
            self.tell("certificate.refused", peer=f"192.0.2.{number}:1", cause="certificate.expired", message="over")
        found = self.listed()
        self.assertEqual(([each.count for each in found.items], found.whole), ([2], False))
