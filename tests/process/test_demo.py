"""``make demo``: the main job with the real daemons, and nothing left behind, however it ends."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.testing.programs import environment, module
from tests.packaging.wheel import ROOT
from tests.process.clock import PATIENCE_SECONDS
from tests.process.test_backend_process import HttpsBrowser

ATTACKS = 14
FILES = 29
OPERATIONS = (
    r"outgoing call +the station called ACME, TLSv1.3: 2 files there, 2 back; server and client counted 1 and 1 ",
    r"licence renewal +7 days left, then 36\d, .* 4 of 4 sessions went on, 0 of 3 daemons restarted",
    r"drain +4 sessions ran; 3 of 3 new calls refused; 4 sessions ended in order, with 4 files; .* status 0 after",
)
"""A line for each operation, with its counts."""


class DemoTests(SynchronousTestCase):
    """The demonstration as a process."""

    def setUp(self) -> None:
        """Make a folder to run it in."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def demo(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the demonstration."""
        return subprocess.Popen(
            [*module("smartproxy.testing"), "demo", *arguments],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def rest(self, running: "subprocess.Popen[str]") -> str:
        """What it shows from here to its end; one that does not end is killed, and all that it started with it."""
        try:
            return running.communicate(timeout=PATIENCE_SECONDS)[0]
        except subprocess.TimeoutExpired:
            running.kill()
            raise

    def left(self) -> list[str]:
        """Processes that have to do with the folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.folder) in words:
                found.append(words)
        return found

    def test_every_line_is_as_it_should_be(self) -> None:
        """All files arrive, all attacks end in the DMZ, the exit status is 0; no process and no stray file is left."""
        with self.demo() as running:
            shown = self.rest(running)
        self.assertEqual(running.returncode, 0, shown)
        self.assertNotIn("WRONG", shown)
        self.assertEqual(shown.count("  equal, "), FILES, shown)
        self.assertEqual(shown.count("\n    "), ATTACKS, shown)
        for operation in OPERATIONS:
            self.assertRegex(shown, f"\n{operation}")
        self.assertIn("\n  smartproxy partner add ACME --code O0013000001ACME --certificate .demo/", shown)
        self.assertIn("Every line is as it should be", shown)
        page = re.search(r"The page was at https://127\.0\.0\.1:\d+/ \(user guide, password (\S{16})\)", shown)
        assert page is not None, shown
        self.assertIn("make demo KEEP=1", shown)
        self.assertEqual((self.folder / ".demo" / "page.password").read_text(), page[1] + "\n")
        self.assertIn("Now do it yourself", shown)
        section = re.search('the section "([^"]+)" of README.md', shown)
        assert section is not None
        self.assertIn(f"\n## {section[1]}\n", (ROOT / "README.md").read_text(encoding="utf-8"))
        self.assertTrue((self.folder / ".demo" / "certificates" / "acme.crt").exists())
        self.assertEqual(self.left(), [])
        self.assertEqual([path.name for path in self.folder.iterdir()], [".demo"])

    def test_kept(self) -> None:
        """Kept running, it says where the page is, and who logs in; the page has the demonstration's events in it."""
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        with self.demo("--keep") as running:
            assert running.stdout is not None
            shown = ""
            while "It runs until Ctrl-C" not in shown:
                line = running.stdout.readline()
                self.assertTrue(line, shown)
                shown += line
            address = re.search(r"Look at the page, with all of this in it: (https://\S+)", shown)
            login = re.search(r"user (guide), password (\S{16});", shown)
            assert address is not None and login is not None, shown
            browser = HttpsBrowser(address[1])
            browser.page("/login")
            configured = ""
            while not configured:
                line = running.stdout.readline()
                self.assertTrue(line, shown)
                if line.startswith("  what was configured "):
                    configured = line.removeprefix("  what was configured ").strip()
            listed = subprocess.run(shlex.split(configured), capture_output=True, text=True, check=True)
            self.assertIn("ACME", listed.stdout)
            self.assertEqual(browser.send("/login", name=login[1], password=login[2]), (303, "/"))
            self.assertIn("ACME", browser.page("/partners"))
            running.send_signal(signal.SIGINT)
            self.rest(running)
        self.assertEqual(self.left(), [])

    def test_interrupted(self) -> None:
        """Ctrl-C in the middle of a file ends everything at once, with status 130; a second signal changes nothing."""
        # Tests that run in a shell's background ignore SIGINT, and their children would inherit that.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        with self.demo() as running:
            assert running.stdout is not None
            for line in running.stdout:
                if "in one session" in line:
                    self.assertGreater(len(self.left()), 3)
                    running.send_signal(signal.SIGINT)
                    running.send_signal(signal.SIGTERM)
                    break
            shown = self.rest(running)
        self.assertEqual((running.returncode, shown), (130, "interrupted\n"))
        self.assertEqual(self.left(), [])

    def test_something_wrong(self) -> None:
        """A demonstration that cannot be set up says why in a line and ends with status 1, leaving nothing."""
        wrapper = (
            "import sys; from smartproxy.testing import programs, site\n"
            "site.SMARTPROXY = [sys.executable, '-c', 'import sys; sys.exit(\"out of order\")']\n"
            "from smartproxy.testing.__main__ import main; main(['demo'])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", wrapper],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("the demonstration failed: smartproxy authority create", done.stdout)
        self.assertIn("out of order", done.stdout)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        self.assertEqual(self.left(), [])
