"""What an operator reads of a refusal is about the side that can do something."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.page.refusal_advice import ADVICE, OURS_ADVICE, advice_of, title_of
from smartproxy.backend.settings import defaults
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES
from smartproxy.policy.explanations import DISAGREEMENTS, EXPLANATIONS, HowEnded, explanation
from smartproxy.policy.outcomes import Outcome, Participant

DEFAULT = OURS_ADVICE["ours"]


class RefusalSteps(SynchronousTestCase):
    """The steps of causes."""

    def test_ours(self) -> None:
        """Every cause that is on this side has steps of its own; the default is for what nobody has thought of."""
        ours = [key for key, each in EXPLANATIONS.items() if each.ours]
        self.assertGreater(len(ours), 14)
        for key in ours:
            found = advice_of(key.removesuffix(".outgoing"), "", ours=True, outgoing=key.endswith(".outgoing"))
            assert found is not None, key
            self.assertTrue(found.steps, key)
            self.assertEqual(found is DEFAULT, key.removesuffix(".outgoing") == "ours", key)

    def test_partners(self) -> None:
        """Of a cause that the partner can mend, nothing is to be done on this side but what a cause's own steps say."""
        self.assertIsNone(advice_of("violation.partner", "ssid.code", ours=False, outgoing=False))
        self.assertIsNone(advice_of("aborted.partner", "session.aborted", ours=False, outgoing=False))
        for key, each in EXPLANATIONS.items():
            if not each.ours and key not in (*ADVICE, *OURS_ADVICE):
                self.assertIsNone(advice_of(key, key, ours=False, outgoing=False), key)

    def test_told_apart(self) -> None:
        """Where the partner is told only that the cause is ours, the cause tells what to do about it."""
        for cause, word in (
            (Cause.STATION_REFUSED, "/settings/client.station.host"),
            (Cause.TUNNEL_NONE, "/nodes"),
            (Cause.BALANCER_NO_HEADER, "/settings/server.balancers"),
            (Cause.QUOTA_SESSIONS, "/settings/server.limits.sessions"),
            (Cause.API_STORE, "/"),
        ):
            end = HowEnded(cause=cause, outcome=Outcome.REFUSED, outgoing=True)
            found = advice_of(end.key, cause, ours=end.explanation.ours, outgoing=True)
            assert found is not None, cause
            self.assertIn(word, [each.place for each in found.ways], cause)

    def test_settings_that_differ(self) -> None:
        """Where both sides are set differently, the steps say what to compare, whoever answered."""
        for rule in DISAGREEMENTS:
            for by in (Participant.PARTNER, Participant.STATION):
                end = HowEnded(cause=rule, outcome=Outcome.VIOLATED, ended_by=by)
                found = advice_of(end.key, "", ours=end.explanation.ours, outgoing=False)
                assert found is not None, rule
                self.assertEqual((found.steps, found.title), (ADVICE[rule].steps, title_of(end.key, outgoing=True)))

    def test_lost(self) -> None:
        """A connection that was lost is looked for where it was lost."""
        for by, wanted in ((Participant.PARTNER, "lost.partner"), (Participant.CLIENT, "lost")):
            end = HowEnded(cause=Cause.LEG_LOST, outcome=Outcome.LOST, ended_by=by)
            ours = explanation(end.key).ours
            self.assertIs(advice_of(end.key, Cause.LEG_LOST, ours=ours, outgoing=False), OURS_ADVICE[wanted])

    def test_certificates(self) -> None:
        """Every cause for which a certificate is refused has a title and steps, whoever called."""
        for cause in CERTIFICATE_CAUSES:
            for outgoing in (False, True):
                found = advice_of(cause, cause, ours=False, outgoing=outgoing)
                assert found is not None, cause
                self.assertIn("%(who)s", found.title, cause)
                self.assertTrue(found.steps, cause)

    def test_called(self) -> None:
        """Where this site called, what is said is about the partner's server; a cause without such words has one."""
        for cause, words in (
            (Cause.CERTIFICATE_WRONG_PURPOSE, "serverAuth"),
            (Cause.CERTIFICATE_UNKNOWN_CA, "verified by the pin"),
            ("certificate.self_signed", "verified by the pin"),
            (Cause.CERTIFICATE_EXPIRED, "new certificate"),
        ):
            found = advice_of(cause, cause, ours=False, outgoing=True)
            assert found is not None, cause
            self.assertIn(words, " ".join(found.steps))
            self.assertEqual(found.title, title_of(cause, outgoing=True))
        self.assertNotEqual(*(title_of(Cause.CERTIFICATE_WRONG_PURPOSE, outgoing=each) for each in (False, True)))

    def test_settings(self) -> None:
        """A button for a setting leads to one that there is."""
        places = {each.place for advice in OURS_ADVICE.values() for each in advice.ways}
        named = {each.removeprefix("/settings/") for each in places if each.startswith("/settings/")}
        self.assertGreater(len(named), 7)
        self.assertLessEqual(named, defaults().keys())
