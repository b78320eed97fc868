"""Log files: one line is one write at the end of the file, whoever else writes there.

Several processes may write to one file, since the system appends each write as a whole: a line is never mixed with
another one. Linux ends the write of a process that is killed (SIGKILL) between two pages of the file, so that the
beginning of its last line may stand in front of the next line of another process. A file is opened again when it
was moved away, so that ``logrotate`` needs no signal; a daily file is another file on another day (UTC), found out when
a line is written. A line that a full disk cut short is ended before the next one begins. Trusts the clock and the
folder's owner; follows no symbolic link in the place of the file.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import attrs

from smartproxy.logs.observers import AppenderTrouble
from smartproxy.policy.causes import Cause

FILE_MODE = 0o640
FOLDER_MODE = 0o750
FILE_LOOK_SECONDS = 1.0
"""Seconds between two looks whether the file was moved."""
_LOOKS_MOST = 100
"""How many times the end of a file is read to see whether its last line is whole."""


class Place(Protocol):
    """Tells where a log is written."""

    def path(self, now: datetime) -> Path:
        """The file for a moment."""

    def opened(self, path: Path, now: datetime) -> None:
        """A file was opened: the time to look for old ones."""


@attrs.frozen
class SameFile:
    """One file for ever."""

    file: Path

    def path(self, now: datetime) -> Path:
        """The file."""
        return self.file

    def opened(self, path: Path, now: datetime) -> None:
        """There are no old ones."""


@attrs.frozen
class Daily:
    """A file for each day (UTC): ``program-2026-11-20.log``.

    :ivar keep: for how many days before today files are kept; 0 for ever.
    :ivar suffix: ``.log``, or ``.jsonl`` for JSON lines.
    """

    folder: Path
    program: str
    keep: int
    suffix: str = ".log"

    def path(self, now: datetime) -> Path:
        """The file of a day."""
        return self.folder / f"{self.program}-{now.astimezone(UTC).date().isoformat()}{self.suffix}"

    def opened(self, path: Path, now: datetime) -> None:
        """Remove files of days that are long past; only files with a name of ours."""
        if self.keep == 0:
            return
        oldest = now.astimezone(UTC).date() - timedelta(days=self.keep)
        name = re.compile(rf"{re.escape(self.program)}-(\d{{4}}-\d\d-\d\d){re.escape(self.suffix)}")
        with contextlib.suppress(OSError):
            for file in self.folder.iterdir():
                found = name.fullmatch(file.name)
                if found is not None and _is_before(found[1], oldest):
                    file.unlink(missing_ok=True)


class LogFile:
    """Writes lines to a file; never raises.

    :param place: tells which file.
    :param trouble: told when a line cannot be written.
    :param now: tells the time, aware.
    """

    def __init__(
        self, place: Place, trouble: AppenderTrouble, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._place = place
        self._trouble = trouble
        self._now = now
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._looked = datetime.min.replace(tzinfo=UTC)
        self._torn = False

    def prepare(self) -> None:
        """Open the file, so that it is told at the start if that cannot be done."""
        try:
            self._be_open(self._now())
        except OSError as error:
            self._trouble.failed(Cause.LOG_FILE, error.strerror or type(error).__name__, 0)

    def write(self, text: str, /) -> None:
        """Write a line, in one piece."""
        try:
            self._be_open(self._now())
            self._append(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self._trouble.failed(Cause.LOG_FILE, error.strerror or type(error).__name__)
        else:
            self._trouble.over()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, line: bytes) -> None:
        assert self._descriptor is not None
        if self._torn:
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        if written:
            self._torn = line[written - 1 : written] != b"\n"
        if written < len(line):
            raise OSError(None, "a line was written in part: the disk is full")

    def _be_open(self, now: datetime) -> None:
        path = self._place.path(now)
        if path == self._path and self._descriptor is not None and not self._moved(path, now):
            return
        self.close()
        self._path = path
        self._descriptor, self._torn = _open(path)
        self._looked = now
        self._place.opened(path, now)

    def _moved(self, path: Path, now: datetime) -> bool:
        if 0 <= (now - self._looked).total_seconds() < FILE_LOOK_SECONDS:
            return False
        self._looked = now
        assert self._descriptor is not None
        try:
            there, here = path.stat(), os.fstat(self._descriptor)
        except FileNotFoundError:
            return True
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)


def make_writable(path: Path) -> None:
    """Make the file and its folder if need be, and see that it can be written to.

    :raises OSError: when it cannot be.
    """
    os.close(_open(path)[0])


def _open(path: Path) -> tuple[int, bool]:
    """Open a file for appending, made if need be; tell whether its last line was not ended."""
    if not path.parent.exists():
        path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        path.parent.chmod(FOLDER_MODE)
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        descriptor = os.open(path, flags)
    else:
        # A daemon's umask would leave less.
        os.fchmod(descriptor, FILE_MODE)
    return descriptor, stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_torn(descriptor)


def _is_torn(descriptor: int) -> bool:
    """Whether the last line of a file is not ended.

    While another process writes a line, the file may end between two pages of it, for microseconds: look again.
    """
    for _ in range(_LOOKS_MOST):
        size = os.fstat(descriptor).st_size
        if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
            return False
        os.sched_yield()
    return True


def _is_before(text: str, oldest: date) -> bool:
    try:
        return date.fromisoformat(text) < oldest
    except ValueError:
        return False
