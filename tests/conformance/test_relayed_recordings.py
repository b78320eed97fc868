"""What foreign implementations said to each other goes through both daemons' sessions unchanged."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from tests.conformance.cuts import Chunks, at_random, by_turns, octet_by_octet
from tests.conformance.recordings import names, recorded, until_the_end
from tests.unit.session_pair import Pair


class Relayed(SynchronousTestCase):
    """Every recording, through server and client, however it is cut."""

    def play(self, chunks: Chunks) -> Pair:
        """Let partner and station say what was recorded; the station greets when it is called."""
        pair = Pair()
        early = b""
        for sender, octets in chunks:
            if sender is Role.INITIATOR:
                pair.says(pair.server, octets)
                early, waiting = (b"", early) if pair.client is not None else (early, b"")
                if waiting:
                    pair.says(pair.client, waiting)
            elif pair.client is None:
                early += octets
            else:
                pair.says(pair.client, octets)
        return pair

    def test_recordings(self) -> None:
        """Both ends get each other's octets up to ESID, and a greeting; both sessions end by that ESID."""
        for name in names():
            chunks = recorded(name)
            said = until_the_end(chunks)
            for cut in (chunks, octet_by_octet(chunks), by_turns(chunks), at_random(chunks, Random(name))):
                pair = self.play(cut)
                assert pair.client is not None
                self.assertEqual(pair.client.received, said[Role.INITIATOR], name)
                self.assertEqual(pair.server.received, SSRM_BUFFER + said[Role.RESPONDER][len(SSRM_BUFFER) :], name)
                for daemon in pair.daemons:
                    self.assertIn(daemon.done[0].ending.outcome, ("completed", "aborted"), name)
                    self.assertEqual([report.name for report in daemon.reports if "violation" in report.name], [], name)
