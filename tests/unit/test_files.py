"""Files that programs write: nothing but a plain file is replaced, and a secret is never anybody else's to read."""

import os
import select
import stat
import threading
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net import files
from tests.unit.commands import CommandCase


class WrittenFiles(SynchronousTestCase):
    """``write``, as the operator's commands call it."""

    def setUp(self) -> None:
        """A folder, and a usual umask."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "file"
        self.addCleanup(os.umask, os.umask(0o022))

    def mode(self, path: Path) -> int:
        """Its rights."""
        return stat.S_IMODE(path.stat().st_mode)

    def reader(self, path: Path) -> tuple[threading.Thread, list[bytes]]:
        """Somebody who reads a pipe."""
        found: list[bytes] = []
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

        def read() -> None:
            # Until somebody writes, reading would find an end.
            select.select([descriptor], [], [])
            os.set_blocking(descriptor, True)
            with open(descriptor, "rb") as file:
                found.append(file.read())

        thread = threading.Thread(target=read)
        thread.start()
        return thread, found

    def test_new_files(self) -> None:
        """A public file is as the umask says; a private one is its owner's, whatever the umask says."""
        files.write(self.path, b"public")
        self.assertEqual((self.path.read_bytes(), self.mode(self.path)), (b"public", 0o644))
        os.umask(0)
        secret = self.folder / "secret"
        files.write(secret, b"secret", private=True)
        self.assertEqual((secret.read_bytes(), self.mode(secret)), (b"secret", 0o600))

    def test_kept_mode(self) -> None:
        """A file keeps the mode that it had; what turns private loses all rights of others."""
        for mode in (0o640, 0o600, 0o664):
            self.path.write_bytes(b"old")
            self.path.chmod(mode)
            files.write(self.path, b"new")
            self.assertEqual((self.path.read_bytes(), self.mode(self.path)), (b"new", mode))
        files.write(self.path, b"new", private=True)
        self.assertEqual(self.mode(self.path), 0o600)

    def test_nobody_reads_along(self) -> None:
        """No file that is being written is readable by others at any time, public or not."""
        modes = []
        original = os.fsync

        def look(descriptor: int) -> None:
            for path in self.folder.iterdir():
                modes.append(self.mode(path))
            original(descriptor)

        opened = []
        real = os.open

        def note(path: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_CREAT:
                opened.append(mode)
            return real(path, flags, mode)

        with patch.object(os, "fsync", look), patch.object(os, "open", note):
            files.write(self.path, b"secret", private=True)
        self.assertEqual((opened, set(modes)), ([0o600], {0o600}))

    def test_link(self) -> None:
        """A link stays a link, and what it leads to is written; one that leads nowhere makes the file there."""
        there = self.folder / "there"
        there.mkdir()
        self.path.symlink_to("there/file")
        files.write(self.path, b"first", private=True)
        files.write(self.path, b"second", private=True)
        self.assertTrue(self.path.is_symlink())
        self.assertEqual(((there / "file").read_bytes(), self.mode(there / "file")), (b"second", 0o600))
        self.assertEqual([path.name for path in there.iterdir()], ["file"])

    def test_link_without_an_end(self) -> None:
        """A link that leads to itself is refused."""
        self.path.symlink_to("file")
        self.assertRaises(OSError, files.write, self.path, b"x")
        self.assertTrue(self.path.is_symlink())

    def test_pipe(self) -> None:
        """A pipe that somebody reads gets the octets, and is a pipe afterwards."""
        os.mkfifo(self.path)
        thread, found = self.reader(self.path)
        files.write(self.path, b"x" * 200_000)
        thread.join()
        self.assertEqual(len(found[0]), 200_000)
        self.assertTrue(self.path.is_fifo())
        self.assertEqual([path.name for path in self.folder.iterdir()], ["file"])

    def test_pipe_that_nobody_reads(self) -> None:
        """It is refused at once and left alone."""
        os.mkfifo(self.path)
        self.assertRaises(OSError, files.write, self.path, b"x")
        self.assertTrue(self.path.is_fifo())

    def test_device(self) -> None:
        """A device is written to and never replaced."""
        master, slave = os.openpty()
        device = Path(os.ttyname(slave))
        try:
            files.write(device, b"told")
            self.assertEqual(os.read(master, 10), b"told")
            self.assertTrue(device.is_char_device())
            self.assertRaises(FileExistsError, files.replace, device, b"x")
        finally:
            os.close(master)
            os.close(slave)

    def test_what_the_program_holds_open(self) -> None:
        """``/dev/stdout`` and its like are written into, where they lead to a plain file, too."""
        with self.path.open("wb") as file:
            file.write(b"before, ")
            file.flush()
            files.write(Path(f"/proc/self/fd/{file.fileno()}"), b"x")
            inode = os.fstat(file.fileno()).st_ino
        self.assertEqual(self.path.stat().st_ino, inode)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["file"])

    def test_folder(self) -> None:
        """A folder is refused."""
        self.assertRaises(IsADirectoryError, files.write, self.folder, b"x")

    def test_open_folder(self) -> None:
        """In a folder that is open to all, another user's link or pipe is not followed; our own one is."""
        self.folder.chmod(0o1777)
        self.path.symlink_to("victim")
        real = Path.lstat

        def foreign(path: Path) -> os.stat_result:
            found = list(real(path))
            found[stat.ST_UID] += 1
            return os.stat_result(found)

        with patch.object(Path, "lstat", foreign):
            self.assertRaises(PermissionError, files.write, self.path, b"x", private=True)
        self.assertFalse((self.folder / "victim").exists())
        files.write(self.path, b"x", private=True)
        self.assertTrue((self.folder / "victim").exists())

    def test_longest_name(self) -> None:
        """A name of 255 octets is written like any other."""
        longest = self.folder / ("ü" * 127 + "x")
        files.write(longest, b"x")
        self.assertEqual(longest.read_bytes(), b"x")

    def test_failed_write(self) -> None:
        """When the disk does not take it, the old file stays and no draft is left."""
        self.path.write_bytes(b"old")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with patch.object(os, "fsync", full):
            self.assertRaises(OSError, files.write, self.path, b"new")
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["file"])


class CommandsThatWrite(CommandCase):
    """Every command that writes a file writes it this way."""

    def commands(self, path: str) -> list[list[str]]:
        """Command lines that write to a file."""
        proxy_id = "SP1-" + "0" * 62
        return [
            ["export", path],
            ["export", path, "--with-secrets"],
            ["authority", "show", "-o", path],
            ["client", "add", f"c{len(path)}{path[-1]}", "--token-file", path],
            ["licence", "issue", proxy_id, "--until", "30d", "-o", path],
        ]

    def test_pipe_without_reader(self) -> None:
        """Nothing takes a pipe's place; one line says that nobody reads it."""
        path = self.folder / "pipe"
        os.mkfifo(path)
        for words in self.commands(str(path)):
            done = self.run_command(*words)
            self.assertTrue(path.is_fifo(), words)
            self.assertNotEqual(done.status, 0, words)
            if "cannot write" in done.err:
                self.assertIn("nobody reads it", done.err, words)
        self.assertIn("nobody reads it", self.refused("export", str(path)))

    def test_link(self) -> None:
        """A link is followed and stays."""
        path, target = self.folder / "link", self.folder / "target"
        path.symlink_to("target")
        self.do("export", str(path), "--with-secrets")
        self.assertTrue(path.is_symlink())
        self.assertEqual(stat.S_IMODE(target.stat().st_mode), 0o600)


class Reads(SynchronousTestCase):
    """What is read ends, whatever stands there."""

    def setUp(self) -> None:
        """A place for a file."""
        self.path = Path(self.mktemp())

    def refused(self, path: Path, most: int = 10) -> str:
        """Why a file is not read."""
        return str(self.assertRaises(OSError, files.read, path, most).strerror)

    def test_file(self) -> None:
        """A file is read as a whole, up to the most that it may have."""
        self.path.write_bytes(b"x" * 10)
        self.assertEqual(files.read(self.path, 10), b"x" * 10)
        self.assertIn("larger than 9 octets", self.refused(self.path, 9))

    def test_device(self) -> None:
        """A device without end is too large; one without octets is an empty file."""
        self.assertIn("larger than", self.refused(Path("/dev/zero")))
        self.assertEqual(files.read(Path("/dev/null"), 10), b"")

    def test_pipe(self) -> None:
        """A pipe is read to its end; nobody waits for ever for one that nobody writes to."""
        os.mkfifo(self.path)
        self.patch(files, "READ_SECONDS", 0.01)
        self.assertEqual(self.refused(self.path), "nobody writes to it")
        writer = os.open(self.path, os.O_RDWR)
        os.write(writer, b"abc")
        self.assertEqual(self.refused(self.path), "nobody writes to it", "its writer goes on")
        os.write(writer, b"abc")
        self.patch(files, "READ_SECONDS", 60.0)
        read = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        os.close(writer)
        self.assertEqual(files.read(self.path, 10), b"abc")
        os.close(read)

    def test_what_is_none(self) -> None:
        """A folder and nothing are told in the system's words."""
        self.assertEqual(self.refused(self.path), "No such file or directory")
        self.path.mkdir()
        self.assertEqual(self.refused(self.path), "Is a directory")
