"""What two SSIDs agree on."""

import itertools

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import codec, stream
from smartproxy.oftp2.commands import SSID, SSRM
from smartproxy.oftp2.errors import AuthenticationMismatch, CreditExceeded, EsidReason, Incompatible, ProtocolError
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.oftp2.witness import Agreed, answer_limits
from tests.unit.samples import ssid


def agree(offer: SSID, answer: SSID, profile: Profile = Profile.DEFAULT) -> Agreed:
    """What a monitor finds that two SSIDs agree on.

    :raises ProtocolError: if it refuses one of them.
    """
    monitor = Monitor(profile)
    for role, command in ((Role.RESPONDER, SSRM()), (Role.INITIATOR, offer), (Role.RESPONDER, answer)):
        judgement = monitor.judge(role, stream.frame(codec.encode(command)))
        if judgement.error is not None:
            raise judgement.error
    assert monitor.agreed is not None
    return monitor.agreed


class AgreeTests(SynchronousTestCase):
    """The outcome for every pair of offers that matters."""

    def test_levels(self) -> None:
        """The lower level counts."""
        for first, second in itertools.product((1, 2, 4, 5), repeat=2):
            self.assertIs(agree(ssid(lev=first), ssid(lev=second)).level, Level(min(first, second)))

    def test_buffer_size_and_credit(self) -> None:
        """The smaller buffer counts, and the Responder's credit."""
        agreed = agree(ssid(sdeb=99999, cred=999), ssid(sdeb=128, cred=20))
        self.assertEqual((agreed.buffer_size, agreed.credit), (128, 20))
        agreed = agree(ssid(sdeb=128, cred=1), ssid(sdeb=99999, cred=1))
        self.assertEqual((agreed.buffer_size, agreed.credit), (128, 1))

    def test_more_credit_than_offered(self) -> None:
        """An answer with more credit than was offered breaks section 5.3.2."""
        error = self.assertRaises(CreditExceeded, agree, ssid(cred=3), ssid(cred=4))
        self.assertEqual((error.rule, error.field, error.offset), ("negotiation.credit", "SSIDCRED", 50))
        self.assertIs(error.reason, EsidReason.PROTOCOL_VIOLATION)

    def test_options(self) -> None:
        """Compression and restart need both."""
        for first, second in itertools.product("YN", repeat=2):
            both = first == second == "Y"
            self.assertIs(agree(ssid(cmpr=first), ssid(cmpr=second)).compression, both)
            self.assertIs(agree(ssid(rest=first), ssid(rest=second)).restart, both)

    def test_directions(self) -> None:
        """Files go where one end can send and the other receive; two senders or two receivers do not fit."""
        both, initiator, responder = frozenset(Role), {Role.INITIATOR}, {Role.RESPONDER}
        outcomes = {
            "BB": both, "BS": responder, "BR": initiator, "SB": initiator, "SR": initiator, "RB": responder,
            "RS": responder,
        }  # fmt: skip
        for first, second in itertools.product("SRB", repeat=2):
            if first + second in outcomes:
                agreed = agree(ssid(sr=first), ssid(sr=second))
                self.assertEqual(agreed.senders, outcomes[first + second], first + second)
            else:
                error = self.assertRaises(Incompatible, agree, ssid(sr=first), ssid(sr=second))
                self.assertEqual((error.rule, error.field), ("negotiation.direction", "SSIDSR"))
                self.assertIs(error.reason, EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE)

    def test_authentication(self) -> None:
        """Both ends want secure authentication or neither does; it needs level 5."""
        agreed = agree(ssid(auth="Y"), ssid(auth="Y"))
        self.assertTrue(agreed.authentication)
        self.assertFalse(agree(ssid(), ssid()).authentication)
        self.assertFalse(agree(ssid(lev=4), ssid()).authentication)
        for first, second, field in (
            (ssid(auth="Y"), ssid(), "SSIDAUTH"),
            (ssid(), ssid(auth="Y"), "SSIDAUTH"),
            (ssid(lev=4), ssid(auth="Y"), "SSIDAUTH"),
            (ssid(auth="Y"), ssid(lev=4), "SSIDLEV"),
        ):
            error: ProtocolError = self.assertRaises(AuthenticationMismatch, agree, first, second)
            self.assertEqual((error.rule, error.field), ("negotiation.authentication", field))
            self.assertIs(error.reason, EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE)

    def test_special_logic(self) -> None:
        """Special logic of both ends does not fit TCP; in the strict profile not even an offer does."""
        agree(ssid(spec="Y"), ssid())
        agree(ssid(), ssid(spec="Y"))
        error: ProtocolError = self.assertRaises(Incompatible, agree, ssid(spec="Y"), ssid(spec="Y"))
        self.assertEqual((error.rule, error.field), ("negotiation.special_logic", "SSIDSPEC"))
        for first, second in ((ssid(spec="Y"), ssid()), (ssid(), ssid(spec="Y"))):
            error = self.assertRaises(Incompatible, agree, first, second, Profile.STRICT)
            self.assertEqual(error.rule, "negotiation.special_logic")

    def test_limits_name_only_what_the_offer_decides(self) -> None:
        """Nothing else in an answer is narrowed by the offer."""
        self.assertEqual(set(answer_limits(ssid())), {"sr", "cred", "auth"})
        self.assertEqual(set(answer_limits(ssid(spec="Y", auth="Y"))), {"sr", "cred", "auth", "spec", "lev"})
