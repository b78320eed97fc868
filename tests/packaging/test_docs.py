"""The documents, which are partly made from the code."""

import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

import smartproxy
from tests.packaging.wheel import ROOT, folder, run


class Documents(TestCase):
    """``make docs``."""

    timeout = 300

    def test_no_warnings(self) -> None:
        """The documents build without a warning, every table and reference in them included."""
        place = folder() / "html"
        run(
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"),
            *("-d", folder() / "doctrees", ROOT / "docs", place),
            cwd=Path(smartproxy.__file__).parents[1],
        )
        events = (place / "events.html").read_text(encoding="utf-8")
        self.assertIn("session.violation", events)
        self.assertIn("SSIDLEV", (place / "protocol" / "commands.html").read_text(encoding="utf-8"))
        self.assertIn("AWAIT_I_SSID", (place / "protocol" / "witness.html").read_text(encoding="utf-8"))
