"""Log files: whole lines, a file a day, and no failure that hurts anyone."""

import errno
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.files import FILE_LOOK_SECONDS, Daily, LogFile, SameFile
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import Log, usual
from smartproxy.logs.logrc import DailyFiles, OneFile, parse
from smartproxy.logs.observers import AppenderTrouble
from smartproxy.policy.limits import KEEP_EVENTS_DAYS
from tests.adapters.rig import Journal

LAST_SECOND = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)


class FilesTestCase(SynchronousTestCase):
    """A folder, a clock, and a list of troubles."""

    def setUp(self) -> None:
        """Begin shortly before midnight."""
        self.folder = Path(self.mktemp())
        self.now = LAST_SECOND
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.trouble = AppenderTrouble("x", "make room", lambda name, fields: self.told.append((name, fields)))

    def daily(self, keep: int = 0) -> LogFile:
        """A daily file."""
        file = LogFile(Daily(self.folder, "smartproxy-server", keep), self.trouble, lambda: self.now)
        self.addCleanup(file.close)
        return file

    def fixed(self) -> LogFile:
        """One file."""
        file = LogFile(SameFile(self.folder / "x.jsonl"), self.trouble, lambda: self.now)
        self.addCleanup(file.close)
        return file

    @property
    def names(self) -> list[str]:
        """The files of the folder."""
        return sorted(path.name for path in self.folder.iterdir())


class Days(FilesTestCase):
    """A file for each day."""

    def test_midnight(self) -> None:
        """The first line after midnight, UTC, is in the next file, however long nothing was written."""
        file = self.daily()
        file.write("a\n")
        self.now += timedelta(seconds=1)
        file.write("b\n")
        self.now += timedelta(days=3)
        file.write("c\n")
        self.assertEqual(
            {name: (self.folder / name).read_text() for name in self.names},
            {
                "smartproxy-server-2026-11-20.log": "a\n",
                "smartproxy-server-2026-11-21.log": "b\n",
                "smartproxy-server-2026-11-24.log": "c\n",
            },
        )

    def test_old_files_are_removed(self) -> None:
        """Only files with a name of ours, and only when a file is opened."""
        self.folder.mkdir()
        others = [
            "smartproxy-server-2026-11-01.log.gz",
            "smartproxy-server-2026-99-01.log",
            "smartproxy-client-2026-11-01.log",
        ]
        for name in (*others, "smartproxy-server-2026-11-17.log", "smartproxy-server-2026-11-18.log"):
            (self.folder / name).touch()
        self.daily(keep=2).write("a\n")
        self.assertEqual(
            self.names, sorted([*others, "smartproxy-server-2026-11-18.log", "smartproxy-server-2026-11-20.log"])
        )

    def test_all_are_kept(self) -> None:
        """With 0 days, for ever."""
        self.folder.mkdir()
        (self.folder / "smartproxy-server-1999-01-01.log").touch()
        self.daily().write("a\n")
        self.assertEqual(len(self.names), 2)

    def test_usual(self) -> None:
        """A daemon without a logrc, or with one that says nothing of it, keeps files for as long as events."""
        self.folder.mkdir()
        days = KEEP_EVENTS_DAYS.default
        silent = parse('[[appenders]]\ntype = "daily"\n', self.folder)
        for appenders in (usual(foreground=False), silent.appenders):
            (daily,) = appenders or ()
            assert isinstance(daily, DailyFiles)
            for past in (days, days + 1):
                day = (LAST_SECOND - timedelta(days=past)).date().isoformat()
                (self.folder / f"smartproxy-server-{day}.log").touch()
            self.daily(keep=daily.keep).write("a\n")
            self.assertEqual(self.names, ["smartproxy-server-2025-10-16.log", "smartproxy-server-2026-11-20.log"])


class Writing(FilesTestCase):
    """Lines at the end of a file."""

    def test_several_writers(self) -> None:
        """Lines of several processes are behind one another."""
        one, two = self.daily(), self.daily()
        for number in range(3):
            one.write(f"one {number}\n")
            two.write(f"two {number}\n")
        text = (self.folder / self.names[0]).read_text()
        self.assertEqual(text, "one 0\ntwo 0\none 1\ntwo 1\none 2\ntwo 2\n")

    def test_a_moved_file_is_left(self) -> None:
        """After a file was moved or removed the next line is in a new one, a moment later at the latest."""
        file = self.fixed()
        file.write("a\n")
        os.rename(self.folder / "x.jsonl", self.folder / "old")
        file.write("b\n")
        self.now += timedelta(seconds=FILE_LOOK_SECONDS)
        file.write("c\n")
        (self.folder / "x.jsonl").unlink()
        (self.folder / "x.jsonl").touch()
        self.now += timedelta(seconds=FILE_LOOK_SECONDS)
        file.write("d\n")
        self.now += timedelta(seconds=FILE_LOOK_SECONDS)
        file.write("e\n")
        self.assertEqual((self.folder / "old").read_text(), "a\nb\n")
        self.assertEqual((self.folder / "x.jsonl").read_text(), "d\ne\n")

    def test_a_torn_line_is_ended(self) -> None:
        """What a killed process left of its last line does not swallow the next one's first."""
        self.folder.mkdir()
        (self.folder / "x.jsonl").write_text('{"a":1}\n{"b":')
        file = self.fixed()
        file.write("c\n")
        file.write("d\n")
        self.assertEqual((self.folder / "x.jsonl").read_text(), '{"a":1}\n{"b":\nc\nd\n')

    def test_a_line_under_way_is_not_torn(self) -> None:
        """The file ends within a line that another process writes just then: no empty line follows it."""
        self.folder.mkdir()
        path = self.folder / "x.jsonl"
        path.write_text('{"a":1}\n{"b":')
        other_goes_on = os.sched_yield

        def rest() -> None:
            with path.open("a") as other:
                other.write("2}\n")
            other_goes_on()

        self.patch(os, "sched_yield", rest)
        self.fixed().write("c\n")
        self.assertEqual(path.read_text(), '{"a":1}\n{"b":2}\nc\n')

    def test_a_symbolic_link_is_not_followed(self) -> None:
        """Nobody who may write to the folder can have the daemon write elsewhere."""
        self.folder.mkdir()
        (self.folder / "elsewhere").touch()
        (self.folder / "x.jsonl").symlink_to("elsewhere")
        self.fixed().write("a\n")
        self.assertEqual((self.folder / "elsewhere").read_text(), "")
        self.assertEqual(self.told[0][0], "appender.failed")

    def test_permissions(self) -> None:
        """Whatever the umask, the group may read and nobody else; a folder that was there stays as it was."""
        self.addCleanup(os.umask, os.umask(0o077))
        self.daily().write("a\n")
        (path,) = self.folder.iterdir()
        self.assertEqual((path.stat().st_mode & 0o777, self.folder.stat().st_mode & 0o777), (0o640, 0o750))
        self.folder.chmod(0o711)
        self.fixed().write("a\n")
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o711)

    def test_any_text(self) -> None:
        """Text that is no UTF-8 is written all the same."""
        self.fixed().write("\ud800\n")
        self.assertEqual((self.folder / "x.jsonl").read_text(), "\\ud800\n")


class Failing(FilesTestCase):
    """A disk that takes nothing."""

    def test_told_once(self) -> None:
        """The first failure is told, the others are counted, the end is told with their number."""
        file = self.fixed()
        file.write("a\n")
        real = os.write

        def full(descriptor: int, octets: bytes) -> int:
            raise OSError(28, "No space left on device")

        self.patch(os, "write", full)
        for _ in range(3):
            file.write("b\n")
        self.patch(os, "write", real)
        file.write("c\n")
        file.write("d\n")
        self.assertEqual(
            self.told,
            [
                (
                    "appender.failed",
                    {"appender": "x", "cause": "log.file", "message": "No space left on device", "advice": "make room"},
                ),
                ("appender.recovered", {"appender": "x", "count": 3}),
            ],
        )
        self.assertEqual((self.folder / "x.jsonl").read_text(), "a\nc\nd\n")

    def test_a_line_in_part(self) -> None:
        """What was written of a line is ended before the next one."""
        file = self.fixed()
        real = os.write
        self.patch(os, "write", lambda descriptor, octets: real(descriptor, octets[:2]))
        file.write("abcdef\n")
        self.patch(os, "write", lambda descriptor, octets: 0)
        file.write("ghijkl\n")
        self.patch(os, "write", real)
        file.write("m\n")
        file.write("n\n")
        self.assertEqual((self.folder / "x.jsonl").read_text(), "ab\nm\nn\n")
        self.assertEqual([name for name, _ in self.told], ["appender.failed", "appender.recovered"])

    def test_standard_error_on_a_full_disk(self) -> None:
        """That a log fails is told as an event, once, also where standard error fails in the same way."""

        class Full(StringIO):
            def flush(self) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        journal = Journal(Clock())
        log = Log("smartproxy-server", self.folder, Levels())
        log.open((OneFile(path=Path("/dev/full")),), output=StringIO(), errors=Full())
        log.start(None, journal.events)
        for text in ("a", "b"):
            log({"log_level": LogLevel.error, "log_format": text, "log_time": 0.0, "log_namespace": "x"})
        told = journal.the("appender.failed")
        self.assertEqual((told["appender"], told["message"]), ("/dev/full", "No space left on device"))

    def test_telling_that_leads_back(self) -> None:
        """Telling of a failure fails in the same way, without an end of it."""
        file = self.fixed()
        self.folder.write_text("no folder")

        def tell(name: str, fields: Mapping[str, object]) -> None:
            self.told.append((name, fields))
            file.write("again\n")

        self.trouble.tell = tell
        file.prepare()
        file.write("a\n")
        self.assertEqual(len(self.told), 1)
        self.assertEqual(self.trouble.lost, 2)
