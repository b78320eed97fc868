"""Section 5.3.2: what two SSIDs agree on."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.oftp2.witness import Agreed
from tests.conformance.conversation import Conversation
from tests.conformance.openings import INITIATOR, RESPONDER
from tests.conformance.wire import Wire


def ssid(
    level: int = 5, size: int = 1024, mode: str = "B", flags: str = "YY", window: int = 9, auth: bool = False
) -> bytes:
    """An SSID with some values changed."""
    return Wire(level).ssid("O0099PARTNER", size, mode, flags, window, auth)


class NegotiationTests(SynchronousTestCase):
    """The agreed values of the monitor against the section's text."""

    def agreed(self, offer: bytes, answer: bytes) -> Agreed:
        """What is agreed after these two SSIDs."""
        conversation = Conversation("AWAIT_I_SSID")
        conversation.says(INITIATOR, offer)
        self.assertIsNone(conversation.monitor.agreed)
        conversation.says(RESPONDER, answer)
        agreed = conversation.monitor.agreed
        assert agreed is not None
        return agreed

    def test_lowest_level(self) -> None:
        """The release level is negotiable, "with the lowest level being selected"; either side may name it."""
        for offer, answer in product((1, 2, 4, 5), repeat=2):
            self.assertEqual(self.agreed(ssid(offer), ssid(answer)).level, Level(min(offer, answer)))

    def test_smallest_buffer(self) -> None:
        """The smallest buffer size is selected, whoever named it."""
        for offer, answer in product((128, 129, 1024, 99999), repeat=2):
            self.assertEqual(self.agreed(ssid(size=offer), ssid(size=answer)).buffer_size, min(offer, answer))

    def test_window_of_the_answer(self) -> None:
        """The negotiated credit is the Responder's; more than was offered is a protocol error with reason 02."""
        for offer, answer in product((1, 2, 64, 998, 999), repeat=2):
            if answer <= offer:
                self.assertEqual(self.agreed(ssid(window=offer), ssid(window=answer)).credit, answer)
            else:
                conversation = Conversation("AWAIT_I_SSID")
                conversation.says(INITIATOR, ssid(window=offer))
                self.assertEqual(conversation.refuses(RESPONDER, ssid(window=answer)).reason, 2)

    def test_only_if_both(self) -> None:
        """Compression and restart are used only if both locations can."""
        for offer, answer in product(("YY", "YN", "NY", "NN"), repeat=2):
            agreed = self.agreed(ssid(flags=offer), ssid(flags=answer))
            self.assertEqual(agreed.compression, offer[0] == answer[0] == "Y")
            self.assertEqual(agreed.restart, offer[1] == answer[1] == "Y")

    def test_authentication_is_not_negotiable(self) -> None:
        """P == q -> continue; p != q -> abort with reason 12; a Responder below level 5 cannot authenticate either."""
        for profile, p, q in product(Profile, (False, True), (False, True)):
            conversation = Conversation("AWAIT_I_SSID", profile=profile)
            conversation.says(INITIATOR, ssid(auth=p))
            if p == q:
                conversation.says(RESPONDER, ssid(auth=q))
                self.assertEqual(conversation.monitor.state.name, "AWAIT_I_SECD" if p else "IDLE")
            else:
                self.assertEqual(conversation.refuses(RESPONDER, ssid(auth=q)).reason, 12)
        for level in (1, 2, 4):
            conversation = Conversation("AWAIT_I_SSID")
            conversation.says(INITIATOR, ssid(auth=True))
            self.assertEqual(conversation.refuses(RESPONDER, ssid(level)).reason, 12)

    def test_directions(self) -> None:
        """Who may send files is what both sides' capabilities leave; S against S and R against R end with 10."""
        senders = {
            "SR": {Role.INITIATOR},
            "SB": {Role.INITIATOR},
            "BR": {Role.INITIATOR},
            "RS": {Role.RESPONDER},
            "RB": {Role.RESPONDER},
            "BS": {Role.RESPONDER},
            "BB": {Role.INITIATOR, Role.RESPONDER},
        }
        for offer, answer in product("SRB", repeat=2):
            if offer + answer in senders:
                agreed = self.agreed(ssid(mode=offer), ssid(mode=answer))
                self.assertEqual(agreed.senders, senders[offer + answer])
            else:
                conversation = Conversation("AWAIT_I_SSID")
                conversation.says(INITIATOR, ssid(mode=offer))
                self.assertEqual(conversation.refuses(RESPONDER, ssid(mode=answer)).reason, 10)

    def test_the_lower_level_lays_out_the_rest(self) -> None:
        """After a level 5 offer and a level 2 answer, commands are read in the layout of level 2 and in no other."""
        for level in (1, 2, 4):
            conversation = Conversation("AWAIT_I_SSID")
            conversation.says(INITIATOR, ssid(5))
            conversation.says(RESPONDER, ssid(level))
            conversation.says(INITIATOR, Wire(level).sfid(1, "U", 0, 1, 0, ""))
            other = Conversation("AWAIT_I_SSID")
            other.says(INITIATOR, ssid(5))
            other.says(RESPONDER, ssid(level))
            self.assertEqual(other.refuses(INITIATOR, Wire(5).sfid(1, "U", 0, 1, 0, "")).reason, 7)

    def test_password_is_masked(self) -> None:
        """SSIDPSWD never stands in an observation's fields."""
        conversation = Conversation("AWAIT_I_SSID")
        buffer = ssid()
        judgement = conversation.judge(INITIATOR, (0x10000041).to_bytes(4, "big") + buffer)
        (seen,) = judgement.observations
        self.assertEqual(seen.fields["SSIDPSWD"], "***")
        self.assertNotIn("SECRET", repr(seen))
