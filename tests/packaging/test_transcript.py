"""The operator's session in the documents, which is written down by running it."""

import re
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.packaging.wheel import ROOT, folder, run
from tests.process.clock import LIMIT_SECONDS

CHECKED_IN = ROOT / "docs" / "transcript.md"


def commands(page: Path) -> list[str]:
    """What is typed on a page, without what differs each time: hashes, dates, numbers of lines."""
    typed = re.findall(r"^(?:dmz|inside|acme)\$ .*$", page.read_text("utf-8"), re.MULTILINE)
    return [re.sub(r"[0-9a-f]{12}\.\.\.|\d{4}-\d\d-\d\d|(?<=-n )\d+", "*", line) for line in typed]


class Transcript(TestCase):
    """``make transcript``."""

    timeout = LIMIT_SECONDS

    def test_run(self) -> None:
        """The session runs to its end with real daemons, and its commands are those of the page that is checked in."""
        page = folder() / "transcript.md"
        run(sys.executable, "-P", ROOT / "docs" / "transcript.py", page, cwd=folder())
        self.assertEqual(commands(CHECKED_IN), commands(page))
        self.assertGreater(len(commands(page)), 20)
        told = page.read_text("utf-8")
        for words in ("EERP for ORDER-1.TXT", "ESID 03 User code not known", "command=SFID", "EERP for DRAWING.DAT"):
            self.assertIn(words, told)
