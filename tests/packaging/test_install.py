"""The wheel in empty virtual environments: what an operator gets in the DMZ, and inside."""

import json
import subprocess
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.packaging.wheel import elsewhere, environment, run
from tests.process.clock import LIMIT_SECONDS

INSIDE = ("treq", "klein", "sqlalchemy", "alembic", "werkzeug", "jinja2", "requests")


def listed(programs: Path) -> set[str]:
    """The plugins of ours that ``twistd --help`` lists, asked from another folder."""
    words = run(programs / "twistd", "--help", cwd=elsewhere()).split()
    return {word for word in words if word.startswith("smartproxy-")}


def importable(programs: Path, names: tuple[str, ...]) -> set[str]:
    """Those of some modules that this environment has."""
    program = f"from importlib.util import find_spec; print(*filter(find_spec, {names!r}))"
    return set(run(programs / "python", "-c", program, cwd=elsewhere()).split())


class InTheDmz(TestCase):
    """``pip install smartproxy``."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Make the environment."""
        self.programs = environment()

    def test_no_library_of_the_inside(self) -> None:
        """Neither treq nor a web or database library is installed."""
        self.assertEqual(set(), importable(self.programs, INSIDE))

    def test_nothing_that_attacks(self) -> None:
        """The test kit, with its hostile partners, is not there: no module of it can be imported."""
        self.assertEqual(set(), importable(self.programs, ("smartproxy.testing",)))
        self.assertEqual([], list(self.programs.parent.rglob("smartproxy/testing")))

    def test_the_server_is_listed(self) -> None:
        """``twistd`` knows the server's plugin."""
        self.assertIn("smartproxy-server", listed(self.programs))

    def test_the_server_works(self) -> None:
        """The server's help comes from its own options, and all that it imports is there."""
        self.assertIn("--licence", run(self.programs / "twistd", "smartproxy-server", "--help", cwd=elsewhere()))

    def test_the_proxy_id(self) -> None:
        """``-L`` makes the identity key and prints the Proxy ID: 66 characters."""
        state = elsewhere() / "state"
        words = run(
            self.programs / "twistd", "-n", "smartproxy-server", "-L", "--state-dir", state, cwd=elsewhere()
        ).split()
        self.assertRegex(words[-1], r"^[0-9a-f]{64}px$")

    def test_the_plain_pair(self) -> None:
        """Server and client work here both, as plugins and as programs: the client has no backend to ask."""
        for daemon, option in (("server", "--permit"), ("client", "--forward")):
            name = f"smartproxy-plain-{daemon}"
            self.assertIn(option, run(self.programs / "twistd", name, "--help", cwd=elsewhere()))
            self.assertIn(option, run(self.programs / name, "-h", cwd=elsewhere()))
            self.assertRegex(run(self.programs / name, "-v", cwd=elsewhere()), rf"^{name} \d")

    def test_the_command(self) -> None:
        """``smartproxy judge`` runs where no library of the inside is; the commands that need one say which extra."""
        self.assertIn("judge", run(self.programs / "smartproxy", "--help", cwd=elsewhere()))

    def test_asking_a_daemon(self) -> None:
        """``smartproxy ctl`` needs no library of the inside either: it looks for a daemon, and says that none runs."""
        command = (self.programs / "smartproxy", "ctl", "status", "--state-dir", elsewhere())
        failed: RuntimeError = self.assertRaises(RuntimeError, run, *command, cwd=elsewhere())
        self.assertIn("no daemon has a control socket", str(failed))


class Inside(TestCase):
    """``pip install smartproxy[client,backend]``."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Make the environment."""
        self.programs = environment("client,backend")

    def test_every_plugin_is_listed(self) -> None:
        """``twistd`` knows the five daemons."""
        pairs = {"smartproxy-server", "smartproxy-client", "smartproxy-plain-server", "smartproxy-plain-client"}
        self.assertEqual({*pairs, "smartproxy-backend"}, listed(self.programs))

    def test_every_plugin_works(self) -> None:
        """Each daemon's help comes from its own options."""
        for daemon, option in (("server", "--licence"), ("client", "--token-file"), ("backend", "--database")):
            words = run(self.programs / "twistd", f"smartproxy-{daemon}", "--help", cwd=elsewhere())
            self.assertIn(option, words)

    def test_the_operators_command(self) -> None:
        """``smartproxy`` is a program and names its subcommands."""
        words = run(self.programs / "smartproxy", "--help", cwd=elsewhere())
        for subcommand in ("authority", "licence", "client", "partner", "crl", "identity", "judge"):
            self.assertIn(subcommand, words)


class WithTheKit(TestCase):
    """``pip install smartproxy-testing`` beside what the DMZ has."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Make the environment."""
        self.programs = environment(kit=True)

    def test_it_works(self) -> None:
        """The kit's program runs, in need of no library of the inside: it makes certificates to try with."""
        words = ("-m", "smartproxy.testing")
        self.assertIn("demo", run(self.programs / "python", *words, "--help", cwd=elsewhere()))
        self.assertEqual(set(), importable(self.programs, INSIDE))
        made = elsewhere() / "certificates"
        run(self.programs / "python", *words, "certificates", made, cwd=elsewhere())
        self.assertGreater(len(list(made.iterdir())), 3)

    def test_a_file(self) -> None:
        """A station of the kit takes a file from a partner of the kit."""
        words = ("-m", "smartproxy.testing")
        station = subprocess.Popen(
            [
                *(str(self.programs / "python"), *words, "station", "--code", "O0013STATION", "--json"),
                *("--listen", "127.0.0.1:0", "--inbox", str(elsewhere())),
            ],
            stdout=subprocess.PIPE,
            cwd=elsewhere(),
            text=True,
        )
        self.addCleanup(station.wait)
        self.addCleanup(station.kill)
        assert station.stdout is not None
        self.addCleanup(station.stdout.close)
        port = json.loads(station.stdout.readline())["port"]
        (elsewhere() / "ORDER").write_text("ten pieces", encoding="utf-8")
        run(
            *(self.programs / "python", *words, "partner", "--code", "O0099PARTNER", "--station-code", "O0013STATION"),
            *("--connect", f"127.0.0.1:{port}", "--no-tls", "--send", "ORDER"),
            cwd=elsewhere(),
        )
