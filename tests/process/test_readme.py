"""README's block "Try it on one machine", word for word."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import environment
from tests.packaging.wheel import ROOT
from tests.process.clock import PATIENCE_SECONDS

README = ROOT / "README.md"
PORTS = ("6619", "3305", "8443", "2878")
"""The ports that stand in the block; the test has ports of its own in their place."""

COMMANDS_MOST = 14


def blocks() -> list[str]:
    """The blocks of README's section: what is set up and tried, then how it is stopped and removed."""
    section = README.read_text(encoding="utf-8").partition("## Try it on one machine\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


class TryItTests(SynchronousTestCase):
    """The block in a shell, in a folder that holds README.md alone."""

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        shutil.copy(README, self.folder)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Kill daemons that are left."""
        for path in self.folder.glob("trial/state/*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)

    def test_every_command_works(self) -> None:
        """A file arrives, the revoked certificate is refused and explained, and everything stops; only that call fails.

        The block has at most as many commands as README's reader is asked to type.
        """
        trying, stopping = blocks()
        self.assertLessEqual(len(trying.replace("\\\n", "").splitlines()), COMMANDS_MOST)
        text = trying + "cp trial/O0013000001ACME-README.MD-* arrived\n" + stopping
        for port in PORTS:
            self.assertIn(port, trying)
        ports = {port: str(held_port()) for port in PORTS}
        text = re.sub("|".join(PORTS), lambda found: ports[found[0]], text)
        done = subprocess.run(
            ["bash", "-c", "trap 'echo \"FAILED: $BASH_COMMAND\"' ERR\n" + text],
            cwd=self.folder,
            env={**environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        shown = done.stdout
        self.assertIn("verdict        ok", shown, shown)
        self.assertIn("EERP for README.MD", shown)
        self.assertEqual((self.folder / "arrived").read_bytes(), README.read_bytes())
        self.assertIn("TLS alert: certificate revoked", shown)
        self.assertIn("[certificate.revoked]", shown)
        self.assertFalse((self.folder / "trial").exists())
        failed = re.findall("FAILED: (.*)", shown)
        self.assertEqual(len(failed), 1, shown)
        self.assertIn("revoked.crt", shown.partition("FAILED: ")[2])
