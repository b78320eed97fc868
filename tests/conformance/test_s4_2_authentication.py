"""Section 4.2.4: the six commands of secure authentication, in their one order."""

from itertools import permutations

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.conversation import Conversation
from tests.conformance.openings import INITIATOR, RESPONDER, TERMS, handshake
from tests.conformance.wire import NOISE, Wire, binary_field, framed

WIRE = Wire(5)
SEQUENCE = tuple(
    (sender, WIRE.any(command))
    for sender, command in (
        (INITIATOR, "SECD"),
        (RESPONDER, "AUCH"),
        (INITIATOR, "AURP"),
        (RESPONDER, "SECD"),
        (INITIATOR, "AUCH"),
        (RESPONDER, "AURP"),
    )
)


class AuthenticationTests(SynchronousTestCase):
    """After two SSIDs that agree on it."""

    def conversation(self, profile: Profile = Profile.DEFAULT) -> Conversation:
        """A session whose SSIDs have agreed on authentication."""
        conversation = Conversation(profile=profile)
        for sender, buffer in handshake(TERMS, authentication=True):
            conversation.says(sender, buffer)
        return conversation

    def test_every_order(self) -> None:
        """Of the 720 orders of the six commands one passes; each other is refused with 02 where it leaves that one."""
        for order in permutations(range(6)):
            conversation = self.conversation()
            for place, index in enumerate(order):
                sender, buffer = SEQUENCE[index]
                if index == place:
                    conversation.says(sender, buffer)
                else:
                    self.assertEqual(conversation.refuses(sender, buffer).reason, 2)
                    break

    def test_nothing_before_the_end(self) -> None:
        """No file, end response or turn before the last AURP, from either side, in either profile."""
        for profile in Profile:
            for done in range(6):
                for sender in Role:
                    for command in ("SFID", "EERP", "NERP", "CD", "RTR", "DATA"):
                        conversation = self.conversation(profile)
                        for step in SEQUENCE[:done]:
                            conversation.says(*step)
                        self.assertEqual(conversation.refuses(sender, WIRE.any(command)).reason, 2)

    def test_only_once(self) -> None:
        """After the last AURP the session is idle and a second authentication is refused."""
        conversation = self.conversation()
        for step in SEQUENCE:
            conversation.says(*step)
        self.assertEqual(conversation.monitor.state.name, "IDLE")
        self.assertEqual(conversation.refuses(INITIATOR, b"J").reason, 2)

    def test_sizes(self) -> None:
        """AUCHCHAL may be of any length that the ceiling lets in; AURPRSP has 20 octets and no others."""
        for length in (0, 1, 128, 4000, 16381):
            conversation = self.conversation()
            conversation.says(*SEQUENCE[0])
            conversation.says(RESPONDER, b"A" + binary_field(NOISE[:length]))
        for length in (0, 19, 21):
            conversation = self.conversation()
            for step in SEQUENCE[:2]:
                conversation.says(*step)
            self.assertEqual(conversation.refuses(INITIATOR, b"S" + NOISE[:length]).reason, 7)

    def test_the_response_is_secret(self) -> None:
        """AURPRSP never stands in an observation's fields, nor in what an observation prints."""
        conversation = self.conversation()
        for step in SEQUENCE[:2]:
            conversation.says(*step)
        secret = b"the secret response!"
        (seen,) = conversation.judge(INITIATOR, framed(b"S" + secret)).observations
        self.assertEqual(seen.fields["AURPRSP"], "***")
        self.assertNotIn("secret response", repr(seen))
