"""The figures of the overview's plots."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import smartproxy.backend.page
from smartproxy.backend.page.overview_plots import SUBJECTS, by_subject

STYLE = Path(smartproxy.backend.page.__file__).parent / "static" / "look.css"


class RefusalsBySubject(SynchronousTestCase):
    """The plot of refusals."""

    def test_counted(self) -> None:
        """Refusals are counted by the subject of their cause; what has none of these is another cause."""
        refused = [
            {"certificate.expired": 2, "certificate.no_partner": 1, "handshake.ended": 4},
            {},
            {"identity.code": 1, "station.refused": 5, "quota.sessions": 3, "penalty.banned": 1},
        ]
        self.assertEqual(
            by_subject(refused), [[3.0, 0.0, 0.0], [0.0, 0.0, 1.0], [4.0, 0.0, 0.0], [0.0, 0.0, 5.0], [0.0, 0.0, 4.0]]
        )

    def test_looks(self) -> None:
        """Every subject has a look of its own, which the style draws in the plot and in the legend."""
        style = STYLE.read_text(encoding="utf-8")
        looks = [look for _, look, _ in SUBJECTS]
        self.assertEqual(len(set(looks)), len(SUBJECTS))
        for look in looks:
            self.assertIn(f"svg.plot rect.{look} ", style)
            self.assertIn(f".legend .{look}::before", style)
