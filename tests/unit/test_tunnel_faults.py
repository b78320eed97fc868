"""Faults of sessions on their way through the tunnel."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import ProtocolError, SessionFault
from smartproxy.policy import faults
from smartproxy.policy.admission import Admission, Denied
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import (
    OwnFault,
    PartnerUnreachable,
    QuotaExceeded,
    StationUnreachable,
    Step,
    UnknownIdentity,
)
from smartproxy.policy.identity import judge_code
from smartproxy.policy.settings import ServerLimits
from smartproxy.tunnel.faults import OpeningFailed
from tests.unit.chains import partner


def site_faults() -> list[type[SessionFault]]:
    """Every class of fault that this site has."""
    found = [kind for kind in vars(faults).values() if isinstance(kind, type) and issubclass(kind, SessionFault)]
    return [kind for kind in found if kind is not SessionFault]


def crossed(fault: SessionFault) -> SessionFault:
    """What arrives at the other daemon."""
    failed = OpeningFailed(fault)
    return OpeningFailed.read(str(failed), failed.fields()).fault


class RoundTripTests(SynchronousTestCase):
    """Both daemons speak of the same fault."""

    def test_every_class_arrives_as_itself(self) -> None:
        """Class, rule and message are those of the daemon that found it; so is what the peer is told."""
        self.assertGreater(len(site_faults()), 12)
        for kind in site_faults():
            more = {"step": Step.TLS, "cause": Cause.CERTIFICATE_EXPIRED} if kind is PartnerUnreachable else {}
            sent = kind(rule=Cause.TUNNEL_NONE, message="a sentence", **more)
            came = crossed(sent)
            self.assertIs(type(came), kind)
            self.assertEqual((came.rule, came.message, came.reason), (sent.rule, sent.message, sent.reason))
            self.assertIsInstance(came.rule, Cause)

    def test_quota_is_a_quota(self) -> None:
        """A limit of the client is no station that cannot be reached."""
        came = crossed(QuotaExceeded(rule=Cause.TUNNEL_POOL, message="the limit of 3 sessions is reached"))
        self.assertNotIsInstance(came, StationUnreachable)
        self.assertEqual(came.rule, Cause.TUNNEL_POOL)

    def test_what_policy_refuses(self) -> None:
        """What the other daemon refuses by a limit or by the partner's entry arrives as what it is."""
        admission = Admission(limits=ServerLimits(sessions=1, sessions_per_partner=1))
        admission.begin_call("ACME")
        full = self.assertRaises(Denied, admission.begin_call, "ACME")
        self.assertEqual(crossed(full).rule, "quota.sessions")
        mismatch = self.assertRaises(UnknownIdentity, judge_code, partner(), "O0013999999OTHER")
        self.assertEqual(crossed(mismatch).rule, "identity.code")

    def test_every_step_and_cause_of_a_call(self) -> None:
        """Where and why a call failed is read from fields, whatever its sentence says."""
        for step in Step:
            for cause in (step.cause, Cause.CERTIFICATE_REVOKED):
                came = crossed(PartnerUnreachable(rule=step.cause, message="name: x", step=step, cause=cause))
                assert isinstance(came, PartnerUnreachable)
                self.assertEqual((came.step, came.cause, came.rule), (step, cause, step.cause))

    def test_subclass_arrives_as_the_class_above_it(self) -> None:
        """A fault that only one daemon knows is told as what it is for the other."""

        class OnlyHere(StationUnreachable):
            pass

        self.assertIs(type(crossed(OnlyHere(rule=Cause.TUNNEL_NONE, message="x"))), StationUnreachable)

    def test_violation_of_the_protocol(self) -> None:
        """A station that breaks the protocol in its greeting is a station that cannot be reached."""
        came = crossed(ProtocolError(rule="command.first", message="no SSRM", section="4.2"))
        self.assertEqual((type(came), came.rule), (StationUnreachable, Cause.OPENING_VIOLATION))
        self.assertEqual(came.message, "no SSRM")


class NewerVersionTests(SynchronousTestCase):
    """Codes that are not known here have a fallback; what is no code has none."""

    def test_unknown_codes(self) -> None:
        """An unknown class, cause or step is taken for the most general one; the sentence stays."""
        came = OpeningFailed.read("new", {b"fault": b"eclipse", b"rule": b"moon.full"}).fault
        self.assertEqual((type(came), came.rule, came.message), (OwnFault, Cause.TUNNEL_UNKNOWN_CAUSE, "new"))
        fields = {b"fault": b"partner_unreachable", b"rule": b"call.x", b"step": b"sni", b"cause": b"certificate.new"}
        came = OpeningFailed.read("new", fields).fault
        assert isinstance(came, PartnerUnreachable)
        self.assertEqual((came.step, came.cause), (Step.CONNECT, Cause.TUNNEL_UNKNOWN_CAUSE))

    def test_what_is_no_code(self) -> None:
        """Fields that are missing or do not look like codes are refused, which ends the tunnel."""
        good = {b"fault": b"partner_unreachable", b"rule": b"call.tls", b"step": b"tls", b"cause": b"call.tls"}
        OpeningFailed.read("x", good)
        for key in good:
            for bad in (None, b"", b"TLS", b"a b", b"a" * 65, b"\xff", b"a\n"):
                fields = {name: value for name, value in good.items() if name != key}
                if bad is not None:
                    fields[key] = bad
                self.assertRaises(ValueError, OpeningFailed.read, "x", fields)
