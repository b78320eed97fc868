"""Files that programs write: nothing but a plain file is replaced, and a secret is never anybody else's to read."""

import argparse
import contextlib
import errno
import fcntl
import io
import os
import select
import stat
import threading
from pathlib import Path
from typing import IO
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net import files
from smartproxy.tap import commands
from smartproxy.tap.command import main, parser
from tests.unit.commands import CommandCase
from tests.unit.odd_files import LEAF, ROOT


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

    def reserve(self, path: Path | None = None) -> None:
        """See that a new file can be written, and write none."""
        with files.reserved(path or self.path, new=True):
            pass

    def test_written_as_it_is_made(self) -> None:
        """What makes its octets one after the other is written so, and leaves nothing behind if it fails on the way."""

        def make(file: IO[bytes]) -> None:
            file.write(b"begin ")
            self.assertEqual(
                [each for each in self.folder.iterdir() if each == self.path], [], "not before it is whole"
            )
            file.write(b"end")

        files.write(self.path, make, private=True)
        self.assertEqual((self.path.read_bytes(), self.mode(self.path)), (b"begin end", 0o600))

        def fail(file: IO[bytes]) -> None:
            file.write(b"half")
            raise OSError(errno.EIO, "it cannot be made")

        self.assertRaises(OSError, files.write, self.path, fail)
        self.assertEqual([each.name for each in self.folder.iterdir()], ["file"])
        self.assertEqual(self.path.read_bytes(), b"begin end")

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

    def test_new_only(self) -> None:
        """Where a new file is wanted, none that is there is replaced, not even one that comes meanwhile."""
        self.path.write_bytes(b"old")
        self.assertRaises(FileExistsError, self.reserve)
        self.assertRaises(FileExistsError, files.write, self.path, b"new", new=True)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["file"])
        with files.reserved(self.path, new=False):
            self.assertEqual(self.path.read_bytes(), b"old")
        self.path.unlink()
        with files.reserved(self.path, new=True):
            self.assertEqual(list(self.folder.iterdir()), [])
        files.write(self.path, b"new", new=True)
        self.assertEqual(self.path.read_bytes(), b"new")

    def test_new_only_without_links(self) -> None:
        """The same is so on a file system where a file has one name only."""

        def no_links(path: Path, target: Path) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(Path, "hardlink_to", no_links)
        files.write(self.path, b"first", new=True)
        self.assertRaises(FileExistsError, files.write, self.path, b"second", new=True)
        self.assertEqual(self.path.read_bytes(), b"first")

    def test_longest_name(self) -> None:
        """A name of 255 octets is written like any other."""
        longest = self.folder / ("ü" * 127 + "x")
        files.write(longest, b"x")
        self.assertEqual(longest.read_bytes(), b"x")

    def test_reserved_on_a_full_disk(self) -> None:
        """A place is tried with octets: a disk that is full takes an empty file."""
        written = []

        def full(file: IO[bytes], content: bytes) -> None:
            written.append(len(content))
            raise OSError(errno.ENOSPC, "No space left on device")

        with patch.object(files, "_fill", full):
            self.assertRaises(OSError, self.reserve)
        self.assertEqual((written, list(self.folder.iterdir())), ([4096], []))

    def test_reserved_pipe(self) -> None:
        """A pipe that nobody reads is not reserved; the reader of one does not take the try for the end."""
        os.mkfifo(self.path)
        self.assertRaises(OSError, self.reserve)
        thread, found = self.reader(self.path)
        while True:
            try:
                with files.reserved(self.path, new=True):
                    files.write(self.path, b"secret")
                break
            except OSError as error:
                # The thread has not opened it yet.
                self.assertEqual(error.errno, errno.ENXIO)
        thread.join()
        self.assertEqual(found, [b"secret"])

    def test_reserved_device(self) -> None:
        """A device is not reserved: it may have no room, or keep nothing; a terminal is, and one that may."""
        for device in ("/dev/full", "/dev/null"):
            self.assertIn("it is a device", str(self.assertRaises(OSError, self.reserve, Path(device))))
            with files.reserved(Path(device), new=True, lossy=True):
                pass
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        with files.reserved(Path(os.ttyname(slave)), new=True):
            pass

    def test_failed_write(self) -> None:
        """When the disk does not take it, the old file stays and no draft is left."""
        self.path.write_bytes(b"old")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with patch.object(os, "fsync", full):
            self.assertRaises(OSError, files.write, self.path, b"new")
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["file"])


AGAIN = frozenset(
    {
        "authority show",
        "backup",
        "ca show",
        "export",
        "identity show",
        "licence download",
        "licence show",
        "logrc convert",
        "partner sheet",
    }
)
"""Commands that write the same when they are run again: with a device that keeps nothing nothing is lost."""


class CommandsThatWrite(CommandCase):
    """Every command that writes a file writes it by one rule."""

    both = False

    def setUp(self) -> None:
        """A site with one of everything that can be written."""
        super().setUp()
        pem = self.file("leaf.pem", LEAF.chain_pem + LEAF.key_pem)
        self.do("ca", "add", "odette", self.file("root.pem", ROOT.credential.certificate_pem))
        self.do("identity", "import", "main", pem)
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", "--certificate", pem)
        self.do("client", "add", "inner")
        self.proxy_id = f"{'ab' * 32}px"
        self.do("licence", "issue", self.proxy_id, "--until", "30d")
        logrc = b'<log4c version="1.2.4"><category name="root" priority="error"/></log4c>'
        self.logrc = self.file("old.logrc", logrc)
        self.number = 0

    def commands(self, path: str) -> dict[str, list[str]]:
        """Command lines that write to a file, by the command."""
        self.number += 1
        database = f"sqlite:///{Path(self.mktemp()).absolute()}"
        return {
            "admin-token create": [f"a{self.number}", "--role", "auditor", "--token-file", path],
            "authority create": ["--site", "Other", "--state-dir", self.mktemp(), "--database", database, "-o", path],
            "authority show": ["-o", path],
            "authority issue-client": ["plain", "-o", path],
            "backup": [path],
            "ca show": ["odette", "-o", path],
            "client add": [f"c{self.number}", "--token-file", path],
            "client token": ["inner", "--token-file", path],
            "export": [path, "--with-secrets"],
            "identity request": ["main", "--common-name", "x", "--key-type", "ec-p256", "-o", path],
            "identity show": ["main", "-o", path],
            "licence issue": [self.proxy_id, "--until", f"{40 + 2 * self.number}d", "-o", path],
            "licence extend": ["--until", f"{41 + 2 * self.number}d", "-o", path],
            "licence show": ["-o", path],
            "licence download": ["-o", path],
            "logrc convert": [self.logrc, "-o", path],
            "partner sheet": ["ACME", "-o", path],
        }

    def words(self, path: str) -> list[list[str]]:
        """The whole command lines."""
        return [[*command.split(), *more] for command, more in self.commands(path).items()]

    def generation(self) -> int:
        """How many changes there were."""
        return len(self.do("history", "--json").json)

    def test_table_is_whole(self) -> None:
        """No command that writes a file is missing here."""
        found, where = set(), set()

        def walk(parser: argparse.ArgumentParser, words: str) -> None:
            if parser.get_default("written"):
                found.add(words)
                where.add(parser.get_default("run").__module__.rpartition(".")[2])
            for each in parser._actions:
                if isinstance(each, argparse._SubParsersAction):
                    for name, inner in each.choices.items():
                        walk(inner, f"{words} {name}".strip())

        walk(parser(), "")
        # It needs a session that was recorded; tests.process.test_session_records has one.
        self.assertEqual(found, {*self.commands("x"), "session recording"})
        modules = Path(commands.__file__).parent.glob("*.py")
        writers = {each.stem for each in modules if "console.write(" in each.read_text()}
        self.assertEqual(writers, where)

    def test_new_file(self) -> None:
        """A file that was not there is written."""
        for number, words in enumerate(self.words("PLACE")):
            path = self.folder / f"new{number}"
            words[words.index("PLACE")] = str(path)
            self.do(*words)
            self.assertGreater(path.stat().st_size, 40, words)

    def test_file_that_is_there(self) -> None:
        """It is left as it is, and nothing is done; the command says how to replace it."""
        path, link = self.folder / "precious", self.folder / "link"
        path.write_bytes(b"precious")
        link.symlink_to("precious")
        before = self.generation()
        for name in (path, link):
            for words in self.words(str(name)):
                told = self.refused(*words)
                self.assertIn(f"{name} is there already; name another file, or replace it with --force", told)
        self.assertEqual((path.read_bytes(), link.is_symlink()), (b"precious", True))
        self.assertEqual(self.generation(), before)
        self.assertEqual([each["name"] for each in self.do("client", "list", "--json").json], ["inner"])

    def test_force(self) -> None:
        """``--force`` replaces a file; a link stays, and the file that it leads to is replaced."""
        path, link = self.folder / "old", self.folder / "link"
        link.symlink_to("old")
        for name in (path, link):
            for words in self.words(str(name)):
                path.write_bytes(b"old")
                inode = path.stat().st_ino
                self.do(*words, "--force")
                self.assertNotEqual(path.read_bytes(), b"old", words)
                self.assertNotEqual(path.stat().st_ino, inode, "written over, and not replaced")
        self.assertTrue(link.is_symlink())

    def test_no_plain_file(self) -> None:
        """A pipe is written to without ``--force`` and is a pipe afterwards; a folder is refused with it, too."""
        path = self.folder / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)
        for words in self.words(str(path)):
            self.do(*words)
            self.assertGreater(len(os.read(reader, 1 << 20)), 40, words)
            self.assertTrue(path.is_fifo(), words)
        for words in self.words(str(self.folder)):
            self.assertIn("it is a folder", self.refused(*words, "--force"))

    def test_empty_name(self) -> None:
        """No name at all is wrong use, and not a folder; what is read is told by its empty name."""
        for command, more in self.commands("").items():
            told = self.refused(*command.split(), *more, status=2)
            self.assertIn("the name of the file to write is empty", told, command)
        for words, status in ((("crl", "load", ""), 1), (("restore", ""), 1), (("judge", ""), 2)):
            self.assertIn("cannot read '': No such file", self.refused(*words, status=status))

    def test_pipe_without_reader(self) -> None:
        """Nothing takes a pipe's place; one line says that nobody reads it."""
        path = self.folder / "pipe"
        os.mkfifo(path)
        before = self.generation()
        for words in self.words(str(path)):
            self.assertIn("nobody reads it", self.refused(*words), words)
            self.assertTrue(path.is_fifo(), words)
        for command, more in self.commands("/dev/full").items():
            told = "No space left" if command in AGAIN else "it is a device"
            done = self.run_command(*command.split(), *more)
            self.assertEqual((done.status, told in done.err), (1, True), (command, done.err))
        self.assertEqual(self.generation(), before)
        self.assertEqual([each["name"] for each in self.do("client", "list", "--json").json], ["inner"])

    def test_device(self) -> None:
        """A device is written to where nothing is lost with it, and stays one; a secret does not vanish there."""
        for command, more in self.commands("/dev/null").items():
            words = [*command.split(), *more]
            if command in AGAIN:
                self.do(*words)
            else:
                self.assertIn("it is a device", self.refused(*words), command)
        self.assertTrue(Path("/dev/null").is_char_device())

    def test_secret_that_cannot_be_written(self) -> None:
        """What is told only once and cannot be written is lost: that, what was done, and what to do is said."""
        full = OSError(errno.ENOSPC, "No space left on device")
        for command, told in (
            ("client add", "is added, but its token is lost: run 'smartproxy client token c1'"),
            ("client token", "the old token of client inner is invalid, and the new one is lost: run"),
            ("admin-token create", "it is lost: revoke it ('smartproxy admin-token revoke a3')"),
            ("licence issue", f"the licence is issued: smartproxy licence download {self.proxy_id} -o FILE"),
            ("licence extend", f"the licence is extended: smartproxy licence download {self.proxy_id} -o FILE"),
        ):
            words = [*command.split(), *self.commands(str(self.folder / "secret"))[command]]
            with patch.object(files, "write", side_effect=full):
                self.assertIn(told, self.refused(*words, status=74))
        self.assertIn("c1", self.do("client", "list").out)

    def test_reader_that_has_gone(self) -> None:
        """A token that nobody read is no success."""

        class Gone(io.StringIO):
            def flush(self) -> None:
                if self.getvalue():
                    raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        err = io.StringIO()
        words = ["--state-dir", str(self.state), "client", "add", "cw"]
        with contextlib.redirect_stdout(Gone()), contextlib.redirect_stderr(err):
            self.assertEqual(main(words), 74)
        self.assertIn("Broken pipe; client cw is added, but its token is lost", err.getvalue())

    def test_standard_output(self) -> None:
        """``-`` is standard output for every command, and never a file of that name; the answer stands apart."""
        here, lines = Path.cwd(), self.commands("-")
        lines["logrc convert"][0] = str(here / self.logrc)
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)
        for command, more in lines.items():
            octets = io.BytesIO()
            out, err = io.TextIOWrapper(octets, encoding="utf-8"), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self.assertEqual(
                    main(["--state-dir", str(here / self.state), *command.split(), *more]), 0, err.getvalue()
                )
            out.flush()
            self.assertGreater(len(octets.getvalue()), 40, command)
            if command in ("authority show", "ca show", "identity show"):
                self.assertTrue(octets.getvalue().startswith(b"-----BEGIN"), command)
                self.assertIn("CN=", err.getvalue())
            self.assertFalse(Path("-").exists(), command)
        self.assertIn("both for standard output", self.refused("ca", "show", "odette", "-o", "-", "--json", status=2))

    def test_private_files(self) -> None:
        """What is secret is its owner's alone, also where the file that it replaces was not."""
        path = self.folder / "old"
        for command in (
            "admin-token create",
            "authority issue-client",
            "backup",
            "client add",
            "client token",
            "export",
        ):
            path.write_bytes(b"old")
            path.chmod(0o644)
            self.do(*command.split(), *self.commands(str(path))[command], "--force")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, command)


class Opened(SynchronousTestCase):
    """What a command reads: it waits for a writer as long as is bounded, and for what a writer writes without bound."""

    def setUp(self) -> None:
        """A pipe; a look for its writer takes no time."""
        self.path = Path(self.mktemp())
        os.mkfifo(self.path)
        self.patch(files, "WRITER_LOOK_SECONDS", 0.001)

    def written(self, octets: bytes, on_look: int) -> bytes:
        """What is read where a writer opens the pipe before a look, and writes and closes when it has been seen."""
        looks, writers = iter(range(files.WRITER_LOOKS)), []
        read = os.read

        def look(descriptor: int, count: int) -> bytes:
            if next(looks) == on_look:
                writers.append(os.open(self.path, os.O_WRONLY))
            return read(descriptor, count)

        with patch("os.read", look):
            opened = files.opened(self.path)
        with opened as file:
            os.write(writers[0], octets)
            os.close(writers[0])
            return file.read()

    def test_nobody_writes(self) -> None:
        """A pipe that nobody opens is told; nothing stays open."""
        before = len(os.listdir("/proc/self/fd"))
        refused: OSError = self.assertRaises(OSError, files.opened, self.path)
        self.assertEqual((refused.strerror, refused.filename), ("nobody writes to it", str(self.path)))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_writer_that_is_slow(self) -> None:
        """A writer that came is waited for, whenever it writes; it may write nothing."""
        self.assertEqual(self.written(b"x" * 5000, on_look=3), b"x" * 5000)
        self.assertEqual(self.written(b"", on_look=0), b"")

    def test_octets_while_it_is_looked_for(self) -> None:
        """What a writer wrote at the very moment is read with the rest, by octets, lines and as a whole."""
        read = os.read

        def look(descriptor: int, count: int) -> bytes:
            os.write(writer, b"one\ntwo\n")
            return read(descriptor, count)

        for wanted in (lambda file: file.read(), lambda file: b"".join(file), lambda file: file.read(100)):
            end = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            writer = os.open(self.path, os.O_WRONLY)
            os.close(end)
            with patch("os.read", look):
                file = files.opened(self.path)
            os.close(writer)
            with file:
                self.assertEqual(wanted(file), b"one\ntwo\n")

    def test_pipe_without_a_name(self) -> None:
        """A pipe that a program inherits, as of ``<(command)``, needs no writer any more."""
        for octets in (b"abc", b""):
            end, writer = os.pipe()
            os.write(writer, octets)
            os.close(writer)
            with files.opened(f"/dev/fd/{end}") as file:
                self.assertEqual(file.read(), octets)
            os.close(end)

    def test_no_pipe(self) -> None:
        """Files and devices are read at once; a folder and nothing are told in the system's words."""
        path = self.path.with_name(f"{self.path.name}-file")
        path.write_bytes(b"octets")
        for each, octets in ((path, b"octets"), (Path("/dev/null"), b"")):
            with files.opened(each) as file:
                self.assertEqual(file.read(), octets)
        path.unlink()
        self.assertEqual(self.assertRaises(OSError, files.opened, path).strerror, "No such file or directory")
        path.mkdir()
        self.assertEqual(self.assertRaises(OSError, files.opened, path).strerror, "Is a directory")


class OpenedByCommands(CommandCase):
    """Every command that reads a file."""

    def test_nobody_writes(self) -> None:
        """A pipe that nobody writes to is one line that names it, and no command waits for ever."""
        self.patch(files, "WRITER_LOOK_SECONDS", 0.001)
        pipe, token = str(self.folder / "pipe"), self.file("token", b"token\n")
        os.mkfifo(pipe)
        url = ("--url", "https://127.0.0.1:1")
        for words in (
            ("ca", "add", "x", pipe),
            ("crl", "load", pipe),
            ("identity", "import", "x", pipe),
            ("import", pipe),
            ("judge", pipe),
            ("logrc", "convert", pipe),
            ("partner", "add", "ACME", "--code", "O1", "--certificate", pipe),
            ("restore", pipe),
            ("user", "add", "x", "--role", "viewer", "--password-file", pipe),
            (*url, "--token-file", pipe, "partner", "list"),
            (*url, "--token-file", token, "--backend-ca", pipe, "partner", "list"),
        ):
            told = self.refused(*words, status=2 if words[0] == "judge" else 1)
            self.assertEqual(told, f"smartproxy: cannot read {pipe}: nobody writes to it", words)


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

    def test_plain_only(self) -> None:
        """Where only a plain file may stand, a link, a folder, a pipe and a device are refused, and nothing waits."""
        self.path.write_bytes(b"octets")
        with files.open_plain(self.path) as file:
            self.assertEqual(file.read(), b"octets")
        link, pipe, folder = (self.path.with_name(f"{self.path.name}-{each}") for each in ("link", "pipe", "folder"))
        link.symlink_to(self.path)
        self.assertRaises(OSError, files.open_plain, link)
        os.mkfifo(pipe)
        folder.mkdir()
        before = len(os.listdir("/proc/self/fd"))
        for path in (pipe, folder, Path("/dev/null")):
            refused: files.NotPlain = self.assertRaises(files.NotPlain, files.open_plain, path)
            self.assertEqual((refused.strerror, refused.filename), ("it is no plain file", str(path)))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
