"""Files that a program reads or writes as a whole: an export, a licence, a token, a key.

Duty: reading ends, whatever stands there: an endless device, a pipe that nobody writes to. A reader finds the old file
or the new one and never half of one; what is secret is its owner's alone from the first octet; what is no plain file (a
device, a pipe) is written to and never replaced. Trusts the path that an operator gives and no link that somebody else
has put there. Never makes a file that others may read wider than it was.

Files that grow are not written here: the log's (:mod:`smartproxy.logs.files`), the store's.
"""

import contextlib
import errno
import io
import os
import secrets
import select
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Content: TypeAlias = bytes | Callable[[IO[bytes]], object]
"""What is written: the octets, or what writes them as it makes them."""
PRIVATE = 0o600
PUBLIC = 0o644
READ_SECONDS = 5.0
"""How long a reader waits for the next octets of what is no plain file."""
WRITER_LOOKS = 100
WRITER_LOOK_SECONDS = 0.1
"""How often, and how long each time, a command looks whether somebody has opened a pipe to write to it."""
_NAME_OCTETS_MOST = 200
"""Of the name of the file that the name of its draft repeats: a file's name has 255 octets at most."""
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""How a file system says that a file cannot have two names."""
RESERVED = bytes(4096)
"""What is written for a try: more than any token, key or certificate that somebody keeps in a file alone."""
_LINKS_MOST = 40
"""As many links as the kernel follows."""


def read(path: Path, most: int) -> bytes:
    """The octets of a file; a pipe or a device is read to its end, too.

    :raises OSError: when it cannot be read, has more than *most* octets, or nobody writes to it; ``strerror`` says it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    found = bytearray()
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    # A pipe without a writer looks ended: its writer may be still to come.
    awaited = not stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    try:
        while len(found) <= most:
            try:
                octets = os.read(descriptor, most + 1 - len(found))
            except BlockingIOError:
                octets = None
            if octets:
                found += octets
            elif octets == b"" and (found or awaited):
                return bytes(found)
            else:
                awaited = True
                if not waiting.poll(READ_SECONDS * 1000):
                    raise OSError(errno.ETIMEDOUT, "nobody writes to it", str(path))
    finally:
        os.close(descriptor)
    raise OSError(errno.EFBIG, f"larger than {most} octets; is this the right file?", str(path))


def opened(path: Path | str) -> IO[bytes]:
    """Open a file for reading; for a pipe only until somebody writes to it, who may then take any time.

    :raises OSError: when it cannot be opened, or nobody writes to it; ``filename`` and ``strerror`` say it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        begin = _begin_of_pipe(descriptor, path) if stat.S_ISFIFO(mode) else b""
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return io.BufferedReader(_Begun(descriptor, begin)) if begin else open(descriptor, "rb")


def _begin_of_pipe(descriptor: int, path: Path | str) -> bytes:
    """Wait until somebody has opened a pipe for writing, even if it is closed again; what was read of it meanwhile.

    :raises OSError: when nobody does.
    """
    looking = select.poll()
    looking.register(descriptor, select.POLLIN)
    for _ in range(WRITER_LOOKS):
        # Octets, or an end after a writer; that there is a writer without octets yet is seen by reading alone.
        if looking.poll(WRITER_LOOK_SECONDS * 1000):
            return b""
        try:
            if begin := os.read(descriptor, 1):
                return begin
        except BlockingIOError:
            return b""
    raise OSError(errno.ETIMEDOUT, "nobody writes to it", str(path))


class _Begun(io.RawIOBase):
    """A pipe of which something was read already."""

    def __init__(self, descriptor: int, begin: bytes) -> None:
        self._pipe, self._begin = io.FileIO(descriptor), begin

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        if not self._begin:
            return self._pipe.readinto(buffer)
        into = memoryview(buffer).cast("B")
        count = min(len(into), len(self._begin))
        into[:count], self._begin = self._begin[:count], self._begin[count:]
        return count

    def close(self) -> None:
        self._pipe.close()
        super().close()


class NotPlain(OSError):
    """Something else than a plain file stands where only a plain file may: a folder, a pipe, a device."""


def open_plain(path: Path) -> IO[bytes]:
    """Open a plain file for reading; neither a link nor a pipe may stand in its place, and nobody is waited for.

    :raises NotPlain: when it is none.
    :raises OSError: when it cannot be opened, or is a link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlain(0, "it is no plain file", str(path))
    return open(descriptor, "rb")


@contextlib.contextmanager
def drafted(path: Path, content: Content, mode: int) -> Iterator[Path]:
    """A complete file beside *path*, on the disk, until the context is left; give it its name before.

    It has a name that nobody foresees and is opened only if no file or link has that name: a user who may write to the
    folder cannot make the program write elsewhere.

    :param mode: what it has in the end; while it is written nobody else reads it.
    :raises OSError: when it cannot be written; nothing is left then.
    """
    begin = os.fsdecode(os.fsencode(path.name)[:_NAME_OCTETS_MOST])
    draft = path.with_name(f".{begin}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, PRIVATE)
    try:
        with open(descriptor, "wb") as file:
            _fill(file, content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield draft
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


def replace(path: Path, content: Content, *, private: bool = False, new: bool = False) -> None:
    """Put a file in the place of the old one, or of a link that stands there.

    A plain file that was there leaves its mode and its owner to the new one, unless this one is private: then it has
    mode 0600 and belongs to who writes it.

    :param new: whether nothing may be there, not even what somebody puts there meanwhile.
    :raises OSError: when it cannot be written, or something is there that is neither a file nor a link, or that has to
        stay (``EEXIST``); what is there is then untouched.
    """
    before = None
    with contextlib.suppress(FileNotFoundError):
        before = path.lstat()
    if before is not None and not (stat.S_ISREG(before.st_mode) or stat.S_ISLNK(before.st_mode)):
        raise FileExistsError(0, "it is not a regular file", str(path))
    mode = PRIVATE if private else PUBLIC & ~_umask()
    kept = before if before is not None and stat.S_ISREG(before.st_mode) and not private else None
    if kept is not None:
        mode = stat.S_IMODE(kept.st_mode) & 0o777
    with drafted(path, content, mode) as draft:
        if kept is not None and os.geteuid() == 0:
            os.chown(draft, kept.st_uid, kept.st_gid)
        _name(draft, path, new=new)
    settle(path.parent)


def _name(draft: Path, path: Path, *, new: bool) -> None:
    """Give a draft its name, in the place of an old file if that is allowed."""
    if new:
        try:
            path.hardlink_to(draft)
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        # Where a file has one name only, as on a memory stick.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    draft.replace(path)


def write(path: Path, content: Content, *, private: bool = False, new: bool = False) -> None:
    """Write where an operator says: a plain file is replaced; a link leads to what is written.

    A device or a pipe is written to, and so is what the program holds open: ``/dev/null``, ``/dev/stdout``, a named
    pipe that somebody reads. Whether it may be one that keeps nothing is for :func:`reserved` to say.

    :param private: whether nobody else may read it; an operator who names a pipe has chosen who reads it.
    :param new: whether a plain file that is there is refused.
    :raises OSError: when it cannot be written; a plain file is then as it was.
    """
    target = _resolved(path)
    if target is None:
        _write_into(path, content)
    else:
        replace(target, content, private=private, new=new)


@contextlib.contextmanager
def reserved(path: Path, *, new: bool, lossy: bool = False) -> Iterator[None]:
    """See that :func:`write` can write a file there, while the context lasts; nothing is left.

    A pipe stays open: its reader would take the end of a try for the end of all.

    :param lossy: whether it may be a character device that is no terminal, such as ``/dev/null``: none says beforehand
        whether it has room, or keeps anything.
    :raises OSError: when it cannot, a plain file is there that must not be, nobody reads a pipe, or it is a device that
        it must not be.
    """
    target = _resolved(path)
    if target is None:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not lossy and not os.isatty(descriptor)):
                raise OSError(0, "it is a device; name a file", str(path))
            yield
        finally:
            os.close(descriptor)
        return
    if new and target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with drafted(target, RESERVED, PRIVATE):
        pass
    yield


def _resolved(path: Path) -> Path | None:
    """The plain file that is meant, which need not exist; ``None`` for what has to be written into.

    :raises OSError: for a folder, a link without an end, or a link or pipe that somebody else left in a folder where
        everybody may leave one.
    """
    for _ in range(_LINKS_MOST):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return path
        if stat.S_ISREG(found.st_mode):
            return path
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(0, "it is a folder; name a file", str(path))
        _see_owner(path, found)
        if not stat.S_ISLNK(found.st_mode):
            return None
        folder = path.parent.resolve(strict=True)
        if folder.is_relative_to("/proc"):
            # What the kernel shows as a link here is an open file, whatever text the link has.
            return None
        path = folder / os.readlink(path)
    raise OSError(0, "it is a link that leads to itself", str(path))


def _see_owner(path: Path, found: os.stat_result) -> None:
    """Refuse what another user put into a folder where everybody may, as Linux does for O_CREAT.

    :raises PermissionError: for such a link, pipe or device.
    """
    folder = path.parent.stat()
    open_to_all = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if open_to_all and found.st_uid not in (os.geteuid(), folder.st_uid):
        raise PermissionError(0, "another user put it into a folder that is open to all", str(path))


def _write_into(path: Path, content: Content) -> None:
    # Not waiting: a pipe that nobody reads would hold the program for ever.
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "wb") as file:
        os.set_blocking(descriptor, True)
        _fill(file, content)


def _fill(file: IO[bytes], content: Content) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        content(file)


def settle(folder: Path) -> None:
    """Have the new name outlive a loss of power, where the folder can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
