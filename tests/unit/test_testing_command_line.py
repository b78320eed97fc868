"""The test kit's command line: files as they are named there, addresses, what is printed, and what is refused."""

import argparse
import contextlib
import errno
import io
import json
import os
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level
from smartproxy.policy.addresses import HostPort
from smartproxy.testing import arguments
from smartproxy.testing.__main__ import main, parser
from smartproxy.testing.demo.course import INTERRUPTED, MARK, NOT_SHOWN, Course, FolderInUse, prepare
from smartproxy.testing.demo.display import Display, table
from smartproxy.testing.events import (
    By,
    EndResponse,
    EndResponseReceived,
    EndResponseSent,
    FileBroken,
    FileReceived,
    FileRefused,
    FileSent,
    FileStarted,
    Progress,
    SessionOver,
    SessionStarted,
)
from smartproxy.testing.journal import Journal, Listening
from smartproxy.testing.session import Closed, Opened
from smartproxy.testing.store import FolderStore, MemoryStore
from smartproxy.testing.virtual_file import FileIdentity, Format, VirtualFile


class GoneReader(io.StringIO):
    """A standard output whose reader has gone."""

    def write(self, text: str) -> int:
        """Take nothing."""
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


class StoppedReactor:
    """A reactor that counts how often it is stopped."""

    def __init__(self) -> None:
        self.stopped = 0

    def stop(self) -> None:
        """Part of ``IReactorCore``."""
        self.stopped += 1


class OverTests(SynchronousTestCase):
    """The end of the demonstration."""

    def over(self, result: Failure | None, out: TextIO, *, interrupted: bool = False) -> tuple[int, int, str]:
        """The exit status, how often the reactor was stopped, and what standard error has."""
        reactor = StoppedReactor()
        folder = Path(self.mktemp())
        folder.mkdir()
        course = Course(reactor, folder, Display(out))
        course.interrupted = interrupted
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            course.over(result)
        return course.status, reactor.stopped, errors.getvalue()

    def test_nobody_reads_it(self) -> None:
        """Where nothing can be written any more, the reactor stops all the same; one line, and a status of its own."""
        told = "demo: cannot write to standard output: [Errno 32] Broken pipe\n"
        for result in (Failure(BrokenPipeError(errno.EPIPE, "Broken pipe")), Failure(ZeroDivisionError())):
            self.assertEqual(self.over(result, GoneReader()), (NOT_SHOWN, 1, told))
        self.assertEqual(self.over(None, GoneReader(), interrupted=True), (NOT_SHOWN, 0, told))
        closed = io.StringIO()
        closed.close()
        status, stopped, _ = self.over(Failure(ZeroDivisionError()), closed)
        self.assertEqual((status, stopped), (NOT_SHOWN, 1))

    def test_somebody_reads_it(self) -> None:
        """A failure is told; what is stopped from outside does not stop the reactor again."""
        shown = io.StringIO()
        self.assertEqual(self.over(Failure(ZeroDivisionError("zero")), shown)[:2], (1, 1))
        self.assertIn("the demonstration failed: zero", shown.getvalue())
        self.assertEqual(self.over(None, shown, interrupted=True), (INTERRUPTED, 0, ""))
        self.assertTrue(shown.getvalue().endswith("interrupted\n"))


class FileSpecificationTests(SynchronousTestCase):
    """``FILE`` of ``--send``."""

    def setUp(self) -> None:
        """Make a folder with a file."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "order.txt"
        self.path.write_bytes(b"abcd" * 20)
        os.utime(self.path, (1795185424, 1795185424))

    def read(self, text: str) -> VirtualFile:
        """The file that a text names."""
        return arguments.virtual_file(text, "O0099ACME", "O0013STATION")

    def test_defaults(self) -> None:
        """A path alone is an unstructured file that is named and stamped after the file on disk."""
        file = self.read(str(self.path))
        self.assertEqual(
            file.identity,
            FileIdentity(
                dataset="ORDER.TXT",
                date=20261120,
                time=1437040001,
                originator="O0099ACME",
                destination="O0013STATION",
            ),
        )
        self.assertEqual((file.format, file.record_length), (Format.UNSTRUCTURED, 0))
        self.assertEqual(file.content[:], b"abcd" * 20)
        self.assertEqual((file.break_at, file.restart_at), (None, 0))

    def test_everything_can_be_said(self) -> None:
        """Name, format, record length, break and restart are read from the text."""
        file = self.read(f"{self.path},name=X,format=F,record=4,break=40,restart=7")
        self.assertEqual(
            (file.identity.dataset, file.format, file.record_length, file.break_at, file.restart_at),
            ("X", Format.FIXED, 4, 40, 7),
        )

    def test_empty_file(self) -> None:
        """An empty file can be sent though it cannot be mapped into memory."""
        (self.folder / "empty").touch()
        self.assertEqual(self.read(str(self.folder / "empty")).content, b"")

    def test_what_is_wrong_is_said(self) -> None:
        """A missing file, an unknown key, a bad value and records that do not fit each have their message."""
        for text, message in (
            (f"{self.folder}/missing", "No such file"),
            (f"{self.path},shape=round", "is not one of name="),
            (f"{self.path},format", "is not one of name="),
            (f"{self.path},format=X", "'X' is not a valid Format"),
            (f"{self.path},record=many", "invalid literal"),
            (f"{self.path},format=F,record=7", "no whole number of records"),
            (f"{self.path},name=GRÖSSE", "ASCII"),
        ):
            with self.assertRaises(argparse.ArgumentTypeError) as raised:
                self.read(text)
            self.assertIn(message, str(raised.exception))

    def test_addresses(self) -> None:
        """Names, IPv4 and bracketed IPv6 addresses are read; anything else is refused with an example."""
        self.assertEqual(arguments.address("localhost:3305"), HostPort("localhost", 3305))
        self.assertEqual(arguments.address("[::1]:0"), HostPort("::1", 0))
        for text in ("3305", ":3305", "localhost", "localhost:", "localhost:x", "localhost:99999"):
            with self.assertRaises(argparse.ArgumentTypeError) as raised:
                arguments.address(text)
            self.assertIn("127.0.0.1:3305", str(raised.exception))

    def test_entity(self) -> None:
        """The options of an entity become its settings; a station follows the partner's wish for authentication."""
        plain = parser().parse_args(["station", "--code", "O0013STATION"])
        self.assertIsNone(arguments.settings(plain).authentication)
        self.assertIsInstance(arguments.store(plain), MemoryStore)
        given = parser().parse_args(
            [
                *("station", "--code", "O0013STATION", "--password", "X", "--level", "1.3", "--buffer-size", "128"),
                *("--credit", "2", "--direction", "R", "--compression", "--no-restart", "--authentication", "yes"),
                *("--ask-for-turn", "--inbox", str(self.folder)),
            ]
        )
        settings = arguments.settings(given)
        self.assertEqual((settings.level, settings.buffer_size, settings.credit), (Level.OFTP_1_3, 128, 2))
        self.assertEqual((settings.password, settings.direction), ("X", "R"))
        self.assertEqual(
            (settings.compression, settings.restart, settings.authentication, settings.ask_for_turn),
            (True, False, True, True),
        )
        self.assertIsInstance(arguments.store(given), FolderStore)

    def wrong_use(self, *words: str) -> str:
        """What is said about a command line that makes no sense."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as ended:
            main(words)
        self.assertEqual(ended.exception.code, 2)
        return said.getvalue()

    def test_wrong_use(self) -> None:
        """Wrong use ends with status 2 and says what was wrong, without a traceback."""
        self.assertIn("COMMAND", self.wrong_use())
        self.assertIn("--code", self.wrong_use("station"))
        self.assertIn("not a folder", self.wrong_use("station", "--code", "X", "--inbox", str(self.path)))
        call = ("partner", "--connect", "localhost:1", "--code", "X", "--station-code", "Y", "--no-tls")
        self.assertIn("No such file", self.wrong_use(*call, "--send", str(self.folder / "missing")))
        self.assertIn("--folder", self.wrong_use("demo", "--folder", str(self.folder)))
        self.assertEqual(self.path.read_bytes(), b"abcd" * 20)


class OutputTests(SynchronousTestCase):
    """Standard output that takes nothing: one line and 74."""

    def ends(self, out: TextIO | None, *words: str) -> str:
        """What is said when a command cannot print."""
        said = io.StringIO()
        with patch("sys.stdout", out), patch("sys.stderr", said):
            self.assertEqual(self.assertRaises(SystemExit, main, words).code, 74, words)
        return said.getvalue()

    def test_full(self) -> None:
        """A full one, written to at once or at the end, for help, too."""
        for write_through in (False, True):
            folder = self.mktemp()
            for words in (("--help",), ("station", "--help"), ("certificates", folder)):
                with open("/dev/full", "wb", buffering=0) as device:
                    full = io.TextIOWrapper(device, write_through=write_through)
                    told = "python -m smartproxy.testing: cannot write to standard output: No space left on device\n"
                    self.assertEqual(self.ends(full, *words), told)
                    os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())

    def test_closed(self) -> None:
        """Where it is closed nothing is done."""
        folder = Path(self.mktemp())
        for words in (("--help",), ("certificates", str(folder)), ("station", "--code", "X"), ("demo",)):
            told = "python -m smartproxy.testing: standard output is closed; nothing was done\n"
            self.assertEqual(self.ends(None, *words), told)
        self.assertFalse(folder.exists())

    def test_while_the_reactor_runs(self) -> None:
        """A line of an event that cannot be written is no failure of the session that it tells of."""
        lost: list[OSError] = []
        Journal(False, GoneReader(), lost=lost.append).note(1, Opened(peer="127.0.0.1:4"))
        self.assertEqual([type(error) for error in lost], [BrokenPipeError])


class PrintingTests(SynchronousTestCase):
    """What the commands print."""

    def printed(self, as_json: bool, *events: Any) -> list[str]:
        """The lines printed about events."""
        out = io.StringIO()
        journal = Journal(as_json, out, lost=self.fail)
        for event in events:
            journal.note(3, event)
        return out.getvalue().splitlines()

    def test_for_people(self) -> None:
        """Every event has its line, but for the beginning and the progress of files, which have none."""
        identity = FileIdentity(dataset="X", date=20261120, time=1437040001, originator="A", destination="B")
        self.assertEqual(
            self.printed(
                False,
                Listening(host="127.0.0.1", port=3305, pid=1),
                Opened(peer="127.0.0.1:4"),
                SessionStarted(
                    peer_code="A",
                    level=5,
                    buffer_size=128,
                    credit=1,
                    compression=False,
                    restart=False,
                    authentication=False,
                ),
                FileStarted(identity=identity, sending=True, from_position=0),
                Progress(identity=identity, sending=True, octets=1, total=2),
                FileSent(identity=identity, format=Format.TEXT, octets=2, sha256="ab", from_position=0),
                FileReceived(identity=identity, format=Format.TEXT, octets=2, sha256="ab", from_position=0, path=None),
                FileRefused(identity=identity, by=By.PEER, command="SFNA", reason=1, text="no", retry=False),
                FileBroken(identity=identity, sending=True, position=7, octets=7168),
                EndResponseReceived(identity=identity, kind=EndResponse.EERP, reason=0, text=""),
                EndResponseReceived(identity=identity, kind=EndResponse.NERP, reason=34, text="no"),
                EndResponseSent(identity=identity, kind=EndResponse.NERP),
                SessionOver(by=By.PEER, reason=EsidReason.TIME_OUT, text="Time out"),
                SessionOver(by=By.US, reason=EsidReason.NORMAL, text=""),
                SessionOver(by=By.PEER, reason=None, text="cut"),
                Closed(tls="TLSv1.3", alert=None, cause="done"),
            ),
            [
                "[3] listening on 127.0.0.1:3305",
                "[3] connection from 127.0.0.1:4",
                "[3] session with A: level 5, buffers 128",
                "[3] sent X: 2 octets, SHA-256 ab",
                "[3] received X: 2 octets, SHA-256 ab",
                "[3] X refused with SFNA 01: no",
                "[3] X broken off at position 7",
                "[3] EERP for X",
                "[3] NERP for X: 34 no",
                "[3] NERP for X delivered",
                "[3] session ended by peer: ESID 09 Time out",
                "[3] session ended by us: ESID 00",
                "[3] session lost: cut",
                "[3] connection closed (TLSv1.3): done",
            ],
        )

    def test_for_scripts(self) -> None:
        """As JSON an event is one line with its name, the connection, the time and plain values."""
        (line,) = self.printed(True, SessionOver(by=By.PEER, reason=EsidReason.TIME_OUT, text="Time out"))
        document = json.loads(line)
        self.assertIsInstance(document.pop("time"), float)
        self.assertEqual(
            document, {"connection": 3, "event": "SessionOver", "by": "peer", "reason": 9, "text": "Time out"}
        )


class _Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


class DisplayTests(SynchronousTestCase):
    """What the demonstration shows."""

    def test_in_a_file(self) -> None:
        """Where nobody watches, each step is a line and progress is left out."""
        out = io.StringIO()
        display = Display(out)
        display.step("one")
        display.progress("50 %")
        display.print("done")
        self.assertRegex(out.getvalue(), r"\A *0\.0 s  one\ndone\n\Z")

    def test_on_a_terminal(self) -> None:
        """On a terminal the line of progress is rewritten, and wiped away before what stays."""
        out = _Terminal()
        display = Display(out, begun=-1000.0)
        display.step("one")
        display.progress("too soon")
        display.print("done")
        shown = out.getvalue()
        self.assertNotIn("too soon", shown)
        self.assertNotIn("\n", shown.partition("done")[0])
        self.assertTrue(shown.endswith("\rdone\n"))

    def test_table(self) -> None:
        """Columns are as wide as their widest cell, numbers stand to the right, long lines below their row."""
        self.assertEqual(
            table(("name", "n"), [["a", "10"], ["long name", "9"]], right=(1,), below=("why", "because")).splitlines(),
            [
                "name        n",
                "---------  --",
                "a          10",
                "    why",
                "long name   9",
                "    because",
            ],
        )

    def test_folder(self) -> None:
        """The folder of an earlier demonstration is emptied; a folder of somebody else's is left alone."""
        folder = Path(self.mktemp())
        prepare(folder)
        (folder / "logs").mkdir()
        (folder / "logs" / "x").touch()
        (folder / "elsewhere").symlink_to(folder.parent)
        prepare(folder)
        self.assertEqual([path.name for path in folder.iterdir()], [MARK])
        self.assertTrue(folder.parent.is_dir())
        (folder / MARK).unlink()
        (folder / "mine").touch()
        with self.assertRaises(FolderInUse):
            prepare(folder)
        self.assertEqual([path.name for path in folder.iterdir()], ["mine"])
