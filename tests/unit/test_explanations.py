"""What refused partners are told: a word for every cause, and nothing of this site's inside."""

import re

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES
from smartproxy.policy.explanations import EXPLANATIONS, explanation

INSIDE = re.compile(r"\b(backend|tunnel|station|smartproxy|generation|pin|pinned|entry)\b", re.IGNORECASE)


class Words(SynchronousTestCase):
    """The table."""

    def test_every_cause(self) -> None:
        """Each cause for which a certificate is refused has words of its own."""
        causes = [cause for cause in Cause if cause.startswith("certificate.")]
        self.assertEqual(set(CERTIFICATE_CAUSES), set(causes))
        own = {explanation(cause).happened for cause in causes}
        self.assertEqual(len(own), len(causes))

    def test_fallbacks(self) -> None:
        """A cause without words of its own has those of its subject; one of no known subject is our affair."""
        self.assertIs(explanation("certificate.new"), EXPLANATIONS["certificate"])
        self.assertIs(explanation("quota.connections"), EXPLANATIONS["quota"])
        self.assertIs(explanation("lost.server", outgoing=False), EXPLANATIONS["lost"])
        self.assertIs(explanation("identity.level"), EXPLANATIONS["identity.level"])
        for ours in ("licence.expired", "tunnel.none", "", "station"):
            self.assertIs(explanation(ours), EXPLANATIONS["ours"])

    def test_nothing_of_the_inside(self) -> None:
        """What is sent outside speaks in sentences, and of nothing that only this site should know."""
        for key, words in EXPLANATIONS.items():
            for sentence in (words.happened, words.remedy):
                self.assertIsNone(INSIDE.search(sentence), key)
                self.assertTrue(sentence[0].isupper() and sentence.endswith("."), key)
