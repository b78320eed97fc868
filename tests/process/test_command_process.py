"""The command ``smartproxy`` as a process: what it needs to start, and what it does when nobody reads its answer."""

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from tests.process.clock import PATIENCE_SECONDS

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(smartproxy.__file__).parent.parent)}
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["sqlalchemy", "alembic", "klein", "treq"]))
from smartproxy.tap.command import main
sys.exit(main(sys.argv[1:]))
"""


class Process(SynchronousTestCase):
    """The command in an interpreter of its own."""

    def run_python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the interpreter."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def test_without_the_backends_libraries(self) -> None:
        """Help works where the libraries of the backend are missing; what needs them says what to install."""
        helped = self.run_python("-c", WITHOUT, "--help")
        self.assertEqual((helped.returncode, helped.stderr), (0, ""))
        needing = self.run_python("-c", WITHOUT, "partner", "list")
        self.assertEqual(needing.returncode, 1)
        self.assertIn("pip install 'smartproxy[backend]'", needing.stderr)
        self.assertEqual(len(needing.stderr.splitlines()), 1)

    def test_starts_without_them(self) -> None:
        """Help does not import what it does not need: the command is quick."""
        script = (
            "import sys\nfrom smartproxy.tap.command import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\n"
            "print(sorted({'sqlalchemy', 'alembic', 'klein', 'cryptography', 'OpenSSL'} & set(sys.modules)))"
        )
        self.assertTrue(self.run_python("-c", script).stdout.endswith("\n[]\n"))

    def test_reader_went_away(self) -> None:
        """A pipe that nobody reads any more is no error and no traceback."""
        state = str(Path(self.mktemp()))
        command = ("-m", "smartproxy.tap.command", "--state-dir", state)
        self.assertEqual(self.run_python(*command, "authority", "create", "--site", "Muster GmbH").returncode, 0)
        read, write = os.pipe()
        os.close(read)
        try:
            done = subprocess.run(
                [sys.executable, *command, "history"],
                env=ENVIRONMENT,
                stdout=write,
                stderr=subprocess.PIPE,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        finally:
            os.close(write)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
