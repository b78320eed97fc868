"""Without a good licence the server does not start: it says what is wrong, where, and for which Proxy ID, and ends."""

import datetime
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.licence import Licence, sign
from smartproxy.testing.pki import KeyKind, TestCa, make_key
from smartproxy.testing.programs import environment
from smartproxy.testing.site import TWISTD
from smartproxy.tunnel.identity import load_or_make
from tests.process.clock import PATIENCE_SECONDS

DAY = datetime.timedelta(days=1)
CONSOLE = [sys.executable, "-c", "from smartproxy.tap.console import server_main; server_main()", "-d"]
PROGRAMS = {"twistd": [*TWISTD, "-n", "--pidfile=", "smartproxy-server"], "smartproxy-server": CONSOLE}


class LicenceAtStart(SynchronousTestCase):
    """The daemon as twistd runs it and as the console program does."""

    def setUp(self) -> None:
        """Make the server's identity and an authority."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.proxy_id = load_or_make(self.folder / "identity.key").proxy_id
        self.path = self.folder / "smartproxy.lic"
        key = make_key(KeyKind.ED25519)
        assert isinstance(key, Ed25519PrivateKey)
        self.key = key
        self.authority = TestCa.root("authority", key=key).certificate_pem.decode()

    def licence(self, *, proxy_id: str = "", begins: int = -1, ends: int = 1) -> str:
        """A licence that begins and ends so many days from now."""
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        return sign(
            Licence(
                proxy_id=proxy_id or self.proxy_id,
                site="Muster GmbH",
                valid_from=now + begins * DAY,
                valid_until=now + ends * DAY,
                limits={},
                authority_certificate=self.authority,
            ),
            self.key,
        )

    def start(self, argv: Sequence[str], *more: str) -> subprocess.CompletedProcess[str]:
        """Start the daemon; it has to end by itself."""
        switches = ("--listen", "127.0.0.1:0", "--licence", str(self.path), "--state-dir", str(self.folder), *more)
        return subprocess.run(
            [*argv, *switches],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def assert_does_not_start(self, words: str, program: str) -> None:
        """The daemon ends with 1 and tells the cause, the path, and the Proxy ID; it has not begun anything."""
        done = self.start(PROGRAMS[program])
        self.assertEqual(done.returncode, 1, done.stderr)
        for expected in (words, str(self.path), self.proxy_id):
            self.assertIn(expected, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertNotIn("server.started", done.stdout)
        self.assertEqual([path.name for path in self.folder.iterdir() if path != self.path], ["identity.key"])

    def test_causes(self) -> None:
        """Missing, damaged, foreign, not yet valid and expired: each in its own words."""
        for program, (words, text) in zip(
            [*PROGRAMS] * 3,
            [
                ("there is no such file", None),
                ("signature", self.licence().replace("Muster", "Master")),
                ("another machine", self.licence(proxy_id="0a" * 32 + "px")),
                ("not valid before", self.licence(begins=1, ends=2)),
                ("it ended on", self.licence(begins=-2, ends=-1)),
                ("not a licence", "licence"),
            ],
            strict=True,
        ):
            self.path.unlink(missing_ok=True)
            if text is not None:
                self.path.write_text(text)
            self.assert_does_not_start(words, program)

    def test_validity(self) -> None:
        """-V tells with its exit status whether the licence is good; -L needs none."""
        self.path.write_text(self.licence())
        done = self.start(CONSOLE, "-V")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Muster GmbH", done.stdout)
        self.path.write_text(self.licence(ends=0, begins=-3))
        done = self.start(CONSOLE, "-V")
        self.assertEqual(done.returncode, 1)
        self.path.unlink()
        done = self.start(CONSOLE, "-L")
        self.assertEqual((done.returncode, done.stdout), (0, self.proxy_id + "\n"))
