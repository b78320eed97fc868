"""``smartproxy ctl``: which daemon is meant, what it is asked, and how its answers are given."""

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl.asking import NotAllowedToAsk, Unreachable
from smartproxy.ctl.protocol import (
    AskGeneration,
    AskLevel,
    AskLicence,
    Refused,
    Request,
    TellDrain,
    TellKill,
    TellRestart,
    named,
    refused,
)
from smartproxy.tap.command import parser
from smartproxy.tap.commands import ctl
from smartproxy.tap.commands.console import CommandFailed, Console
from tests.unit.answers import as_read
from tests.unit.test_ctl_display import CLIENT, SERVER, SESSION


class Daemon:
    """Answers as it is told.

    :ivar path: the socket that was asked for last.
    """

    def __init__(self) -> None:
        self.path = Path()
        self.asked: list[Request[Any]] = []
        self.answers: list[dict[str, Any] | Exception] = []
        self.opened = self.closed = 0

    def __call__(self, path: Path) -> "Daemon":
        """Part of ``Connection``."""
        self.path = path
        self.opened += 1
        return self

    def ask(self, request: Request[Any]) -> Any:
        """Part of ``Connection``."""
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return as_read(request, answer)

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1


class CtlCommands(SynchronousTestCase):
    """The command line."""

    def setUp(self) -> None:
        """A folder with the server's socket."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "smartproxy-server.sock").touch()
        self.daemon = Daemon()
        self.patch(ctl, "Connection", self.daemon)
        self.slept: list[float] = []
        self.connected: list[int] = []

    def run_ctl(self, *words: str) -> tuple[int, str]:
        """Give a command; its exit status and what it printed."""
        arguments = parser().parse_args(["ctl", *words, "--state-dir", str(self.folder)])
        out = io.StringIO()

        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.connected.append(self.daemon.opened - self.daemon.closed)

        console = Console(arguments=arguments, out=out, sleep=sleep)
        return arguments.run(console) or 0, out.getvalue()

    def wrong(self, *words: str) -> int:
        """The exit status of a wrong command line."""
        self.patch(ctl.argparse, "_sys", _Silent())  # type: ignore[attr-defined]  # where argparse writes
        ended: SystemExit = self.assertRaises(SystemExit, parser().parse_args, ["ctl", *words])
        return int(str(ended.code))

    def test_status_tells_monitoring(self) -> None:
        """The exit status is that of plugins of Nagios, as text and as JSON."""
        for answer, status in (
            (SERVER, 0),
            ({**SERVER, "health": "degraded"}, 1),
            ({**SERVER, "health": "down"}, 2),
            (CLIENT, 0),
        ):
            self.daemon.answers = [answer, answer]
            self.assertEqual(self.run_ctl("status")[0], status)
            found, text = self.run_ctl("status", "--json")
            self.assertEqual((found, json.loads(text)), (status, answer))

    def test_status_of_a_daemon_that_does_not_answer(self) -> None:
        """It is down; where this user may not ask, nothing is known of it."""
        for error, status in ((Unreachable("no daemon listens there"), 2), (NotAllowedToAsk("ask as root"), 3)):
            self.daemon.answers = [error]
            failed: CommandFailed = self.assertRaises(CommandFailed, self.run_ctl, "status")
            self.assertEqual((failed.status, str(failed)), (status, str(error)))
        (self.folder / "smartproxy-server.sock").unlink()
        failed = self.assertRaises(CommandFailed, self.run_ctl, "status")
        self.assertEqual(failed.status, 2)

    def test_which_daemon(self) -> None:
        """The one that is there; the one that is named; where both are, one has to be."""
        self.daemon.answers = [{"sessions": []}] * 4
        self.run_ctl("sessions")
        self.assertEqual(self.daemon.path, self.folder / "smartproxy-server.sock")
        (self.folder / "smartproxy-client.sock").touch()
        failed: CommandFailed = self.assertRaises(CommandFailed, self.run_ctl, "sessions")
        self.assertIn("--server or --client", str(failed))
        self.run_ctl("sessions", "--client")
        self.assertEqual(self.daemon.path, self.folder / "smartproxy-client.sock")
        self.run_ctl("sessions", "--socket", "/elsewhere")
        self.assertEqual(self.daemon.path, Path("/elsewhere"))
        self.daemon.answers = [{"sessions": []}] * 3
        (self.folder / "smartproxy-backend.sock").touch()
        self.run_ctl("sessions", "--backend")
        self.assertEqual(self.daemon.path, self.folder / "smartproxy-backend.sock")
        (self.folder / "smartproxy-client.sock").unlink()
        self.run_ctl("sessions")
        self.assertEqual(self.daemon.path, self.folder / "smartproxy-server.sock")
        (self.folder / "smartproxy-server.sock").unlink()
        self.run_ctl("sessions")
        self.assertEqual(self.daemon.path, self.folder / "smartproxy-backend.sock")
        (self.folder / "smartproxy-plain-client.sock").touch()
        failed = self.assertRaises(CommandFailed, self.run_ctl, "sessions")
        self.assertIn("--backend or --plain-client", str(failed))
        for path in self.folder.iterdir():
            path.unlink()
        failed = self.assertRaises(CommandFailed, self.run_ctl, "sessions")
        self.assertIn("no daemon has a control socket", str(failed))

    def test_what_is_asked(self) -> None:
        """Each action asks for what was said, and for nothing that was not."""
        levels, killed, drained = {"levels": {"*": "trace"}}, {"killed": "x"}, {"draining": True, "sessions": 0}
        for words, answer, request in (
            (["level"], levels, AskLevel()),
            (["level", "trace"], levels, AskLevel(level="trace")),
            (["level", "debug", "--session", "x"], levels, AskLevel(level="debug", session="x")),
            (["level", "info", "--partner", "A"], levels, AskLevel(level="info", partner="A")),
            (["level", "info", "--category", "c"], levels, AskLevel(level="info", category="c")),
            (["kill", "x"], killed, TellKill(session="x")),
            (["drain"], drained, TellDrain()),
            (["drain", "--seconds", "0"], drained, TellDrain(seconds=0)),
            (["restart"], {"pid": 5, "sessions": 3}, TellRestart()),
            (["generation"], {"generation": 5}, AskGeneration()),
            (["licence"], {"licences": []}, AskLicence()),
        ):
            self.daemon.answers = [answer]
            status, text = self.run_ctl(*words)
            self.assertEqual((status, self.daemon.asked[-1]), (0, request), words)
            self.assertTrue(text.strip())
        self.assertEqual(self.daemon.closed, 11)

    def test_watching(self) -> None:
        """Again and again on one connection, until the daemon ends; as JSON an answer a line."""
        self.daemon.answers = [{"sessions": [SESSION]}, {"sessions": []}, Unreachable("gone")]
        failed: CommandFailed = self.assertRaises(CommandFailed, self.run_ctl, "sessions", "--watch")
        self.assertEqual((str(failed), self.slept), ("gone", [ctl.WATCH_SECONDS] * 2))
        self.assertEqual(self.daemon.closed, 1)
        self.slept.clear()
        self.daemon.answers = [SERVER, Unreachable("gone")]
        self.assertRaises(CommandFailed, self.run_ctl, "status", "--watch", "0.5", "--json")
        self.assertEqual(self.slept, [0.5])

    def test_watching_seldom(self) -> None:
        """Where the daemon would end an idle connection, each look has one of its own, closed until the next."""
        self.daemon.answers = [SERVER, SERVER, Unreachable("gone")]
        self.assertRaises(CommandFailed, self.run_ctl, "status", "--watch", "600")
        self.assertEqual((self.daemon.opened, self.daemon.closed, self.connected), (3, 3, [0, 0]))

    def test_refusal(self) -> None:
        """The daemon's words are the command's."""
        self.daemon.answers = [Refused("no live session has the id x")]
        failed: CommandFailed = self.assertRaises(CommandFailed, self.run_ctl, "kill", "x")
        self.assertEqual(str(failed), "no live session has the id x")

    def test_wrong_use(self) -> None:
        """Times that make no sense, and two things at once, end with status 2."""
        for words in (
            ["drain", "--seconds", "soon"],
            ["drain", "--seconds", "-1"],
            ["drain", "--seconds", "999999999"],
            ["drain", "--seconds", "6_0"],
            ["status", "--watch", "٣"],
            ["status", "--watch", "0"],
            ["status", "--watch", "often"],
            ["status", "--server", "--client"],
            ["level", "info", "--session", "x", "--partner", "y"],
            ["kill"],
        ):
            self.assertEqual(self.wrong(*words), 2, words)


class Ends(SynchronousTestCase):
    """A daemon that ends the connection."""

    def ended(self, daemon: Callable[[socket.socket], object]) -> CommandFailed:
        """How ``ctl status --watch`` ends at a daemon that does this with a connection, and then closes it."""
        path = Path(self.mktemp())

        def serve() -> None:
            with listening.accept()[0] as accepted:
                daemon(accepted)

        with socket.socket(socket.AF_UNIX) as listening:
            with named(path) as name:
                listening.bind(name)
            listening.listen()
            served = Thread(target=serve)
            served.start()
            self.addCleanup(served.join)
            arguments = parser().parse_args(["ctl", "status", "--watch", "--socket", str(path)])
            # It is asked again when it has closed the connection.
            console = Console(arguments=arguments, out=io.StringIO(), sleep=lambda seconds: served.join())
            failed: CommandFailed = self.assertRaises(CommandFailed, arguments.run, console)
        return failed

    def test_after_an_answer(self) -> None:
        """It is down: who was answered may ask."""
        answer = json.dumps({"ok": True, "answer": SERVER}).encode() + b"\n"

        def once(connection: socket.socket) -> None:
            connection.recv(4096)
            connection.sendall(answer)

        failed = self.ended(once)
        self.assertEqual(failed.status, 2)
        self.assertIn("it has stopped, or is being restarted", str(failed))

    def test_sent_away(self) -> None:
        """What it said before it closed the connection is the reason."""
        failed = self.ended(lambda connection: connection.sendall(refused("too many")))
        self.assertEqual(str(failed), "too many")

    def test_without_an_answer(self) -> None:
        """This user may not ask it, whether the end comes before the request or after it."""
        for daemon in (lambda connection: None, lambda connection: connection.recv(4096)):
            failed = self.ended(daemon)
            self.assertEqual(failed.status, ctl.UNKNOWN)
            self.assertIn("is this its own user, or root?", str(failed))


class _Silent:
    """Stands for ``sys`` where argparse writes and exits."""

    def __init__(self) -> None:
        self.stderr = self.stdout = io.StringIO()
        self.argv = ["smartproxy"]

    def exit(self, status: int = 0) -> None:
        """End the program."""
        raise SystemExit(status)
