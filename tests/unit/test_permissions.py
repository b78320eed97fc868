"""Scopes, and the roles that stand for several."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.permissions import SCOPE, AdminRole, stands_for
from smartproxy.policy.strict_json import DocumentRefused


class Permissions(SynchronousTestCase):
    """What stands for what."""

    def test_scopes(self) -> None:
        """A scope stands for itself; a star for all families or all that is done; a half of a star for nothing else."""
        for wanted in ("partner:change", "partner:*", "*:change", "*"):
            self.assertTrue(stands_for({"*"}, wanted))
            self.assertTrue(stands_for({wanted}, wanted))
            self.assertFalse(stands_for({"partner:read", "ca:*", "*:read"}, wanted), wanted)
        self.assertTrue(stands_for({"partner:*"}, "partner:change"))
        self.assertTrue(stands_for({"*:change"}, "partner:change"))
        self.assertFalse(stands_for({"partner:*"}, "*"))
        self.assertFalse(stands_for({"*:change"}, "*"))

    def test_form(self) -> None:
        """What is a scope, and what is none."""
        for good in ("*", "partner:change", "admin-token:*", "*:read"):
            self.assertEqual(SCOPE.read(good, "scope"), good)
        for bad in ("", "partner", "**", "*:*", "Partner:read", "partner:", ":read", "partner:re ad", "a:b:c"):
            self.assertRaises(DocumentRefused, SCOPE.read, bad, "scope")

    def test_roles(self) -> None:
        """A viewer sees no audit, an auditor changes nothing, an operator makes no tokens, an administrator may all."""
        may = {role: [each for each in WANTED if stands_for(role.scopes, each)] for role in AdminRole}
        self.assertEqual(may[AdminRole.VIEWER], ["partner:read"])
        self.assertEqual(may[AdminRole.AUDITOR], ["partner:read", "history:audit"])
        self.assertEqual(may[AdminRole.OPERATOR], ["partner:read", "partner:change"])
        self.assertEqual(may[AdminRole.ADMINISTRATOR], list(WANTED))

    def test_operator_is_told(self) -> None:
        """What the help says of an operator has words for each family that it may change."""
        (told,) = (each for each in AdminRole.told().split("; ") if each.startswith("operator = "))
        families = {scope.partition(":")[0] for scope in AdminRole.OPERATOR.scopes} - {"*"}
        self.assertEqual(families, set(OPERATORS))
        for words in OPERATORS.values():
            self.assertIn(words, told)


OPERATORS = {
    "partner": "partners",
    "ca": "CAs",
    "crl": "revocation lists",
    "trial": "test connections",
    "session": "end sessions and set their log level",
    "history": "undo such a change",
}
WANTED = ("partner:read", "partner:change", "history:audit", "settings:change", "admin-token:change")
