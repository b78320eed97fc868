"""Section 5.3.11: ESID as the proxy itself says it, and the level in whose layout it is understood."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.codec import esid
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level
from tests.conformance.conversation import Conversation
from tests.conformance.openings import INITIATOR, RESPONDER, Terms, handshake
from tests.conformance.wire import Wire, framed


class EsidTests(SynchronousTestCase):
    """What is sent to a side that must be told."""

    def test_layouts(self) -> None:
        """Each reason in each level's layout is what the RFC prints; the text exists at level 5 only."""
        for reason in EsidReason:
            for level in Level:
                expected = framed(Wire(level).esid(reason, reason.phrase))
                self.assertEqual(esid(reason, reason.phrase, level), expected)

    def test_every_phrase_passes_a_monitor(self) -> None:
        """What the proxy says is correct in every state after SSRM: a second monitor takes it from either side."""
        for reason in set(EsidReason) - {EsidReason.NORMAL}:
            for sender in (INITIATOR, RESPONDER):
                for state in ("AWAIT_R_SSID", "AWAIT_R_AUCH", "IDLE", "SENDING", "CLOSING-0"):
                    conversation = Conversation(state)
                    judgement = conversation.judge(sender, esid(reason, reason.phrase))
                    self.assertIsNone(judgement.error)

    def test_level_for_esid(self) -> None:
        """Level 2.0 before any SSID, the offer's level after one, the agreed level after both."""
        for offer in Level:
            for answer in Level:
                terms = Terms(level=offer)
                conversation = Conversation("AWAIT_I_SSID", terms=terms)
                self.assertIs(conversation.monitor.level_for_esid, Level.OFTP_2_0)
                conversation.says(*handshake(terms)[1])
                self.assertIs(conversation.monitor.level_for_esid, offer)
                conversation.says(*handshake(Terms(level=answer))[2])
                self.assertIs(conversation.monitor.level_for_esid, min(offer, answer))

    def test_level_of_an_offender(self) -> None:
        """An SSID that is refused has named its level before: the ESID is laid out by it."""
        for level in Level:
            conversation = Conversation("AWAIT_I_SSID")
            ssid = handshake(Terms(level=level))[1][1]
            conversation.refuses(INITIATOR, ssid[:40] + b"?" + ssid[41:])
            self.assertIs(conversation.monitor.level_for_esid, level)
