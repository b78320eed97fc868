"""Whose fault it is, and what the offender is told."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import errors
from smartproxy.oftp2.codec import esid
from smartproxy.oftp2.errors import EsidReason, ProtocolError, SessionFault
from smartproxy.oftp2.roles import Level, Role
from smartproxy.policy import faults

REASONS = {
    "StreamHeaderError": 1,
    "UnknownCommand": 1,
    "UnexpectedCommand": 2,
    "CreditExceeded": 2,
    "RestartRefused": 2,
    "CompressionRefused": 2,
    "BadField": 6,
    "BadSubrecord": 6,
    "BadLength": 7,
    "Incompatible": 10,
    "AuthenticationMismatch": 12,
    "PolicyRefusal": 8,
    "UnknownIdentity": 3,
    "IdentityMismatch": 3,
    "LevelTooLow": 10,
    "AuthenticationRefused": 12,
    "FileCodeRefused": 6,
    "QuotaExceeded": 8,
    "Expired": 9,
    "OwnFault": 8,
    "StationUnreachable": 8,
    "PartnerUnreachable": 8,
    "TunnelLost": 8,
    "Unlicensed": 8,
    "Withdrawn": 99,
    "LegLost": 99,
    "Draining": 5,
    "TooCostly": 8,
    "Killed": 5,
    "ClosedByClient": 5,
    "InternalError": 99,
    "ProtocolError": 2,
    "SessionFault": 99,
}


class ErrorsTests(SynchronousTestCase):
    """The tree of faults."""

    def test_reasons(self) -> None:
        """Every class of fault has its ESID reason; this list is the whole tree."""
        found = {
            name: int(made.reason)
            for name, made in {**vars(errors), **vars(faults)}.items()
            if isinstance(made, type) and issubclass(made, SessionFault)
        }
        self.assertEqual(found, REASONS)

    def test_phrases(self) -> None:
        """The text sent with a reason says no more than the reason, and fits into an ESID."""
        for reason in EsidReason:
            self.assertTrue(reason.phrase.isascii())
            self.assertEqual(reason.phrase == "", reason is EsidReason.NORMAL)
            self.assertIn(reason.phrase.encode(), esid(reason, reason.phrase, Level.OFTP_2_0))

    def test_text(self) -> None:
        """A fault prints as its message and its rule."""
        fault = ProtocolError(rule="a.rule", message="something is wrong", section="5.3.2")
        self.assertEqual(str(fault), "something is wrong [a.rule]")

    def test_other_end(self) -> None:
        """Each end has an opposite."""
        self.assertEqual([role.other.other for role in Role], list(Role))
        self.assertIs(Role.INITIATOR.other, Role.RESPONDER)

    def test_steps(self) -> None:
        """Each step of a call has a cause of its own, which says no more than that the call failed there."""
        self.assertEqual([step.cause for step in faults.Step], [f"call.{step}" for step in faults.Step])
        self.assertEqual(faults.Step.TLS.label, "TLS")
        for step in faults.Step:
            told = faults.PartnerUnreachable.at(step, "no answer: none").message
            self.assertEqual((told, step.worded(told)), (f"{step.label}: no answer: none", "no answer: none"))
