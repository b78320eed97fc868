"""Where received Virtual Files go: into memory, or into a folder.

A store keeps what arrived of a file that was broken off, so that its transfer can be restarted, and knows which files
it has, so that a duplicate can be refused. A received file's SHA-256 is taken while it arrives. Dataset names come from
the peer: a folder store makes a file name of its own of them and writes nowhere but into its folder.
"""

import abc
import hashlib
import re
from pathlib import Path
from typing import BinaryIO

import attrs

from smartproxy.testing.virtual_file import BLOCK, FileIdentity, Format, record_spans


@attrs.frozen(kw_only=True)
class StoredFile:
    """A file that arrived whole.

    :ivar octets: the length of its content.
    :ivar sha256: the SHA-256 of its content, in hex.
    :ivar path: where it is, in a folder store.
    """

    identity: FileIdentity
    octets: int
    sha256: str
    path: Path | None = None


class Sink(abc.ABC):
    """One file that is arriving; appended to, and cut back where a transfer is restarted."""

    def __init__(self, kept: bytes) -> None:
        self._hash = hashlib.sha256(kept)
        self.octets = len(kept)

    def append(self, octets: bytes) -> None:
        """Add octets at the end."""
        self._hash.update(octets)
        self.octets += len(octets)
        self._write(octets)

    def cut(self, octets: int) -> None:
        """Keep only so many octets."""
        if octets < self.octets:
            kept = self.content()[:octets]
            self._hash = hashlib.sha256(kept)
            self.octets = octets
            self._truncate(octets)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what is there, in hex."""
        return self._hash.hexdigest()

    @abc.abstractmethod
    def content(self) -> bytes:
        """All that is there."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop writing."""

    @abc.abstractmethod
    def _write(self, octets: bytes) -> None: ...

    @abc.abstractmethod
    def _truncate(self, octets: int) -> None: ...


class FileStore(abc.ABC):
    """Files that arrived, and what is there of those that did not arrive whole."""

    @abc.abstractmethod
    def has(self, identity: FileIdentity) -> bool:
        """Whether this file arrived whole before."""

    @abc.abstractmethod
    def open(self, identity: FileIdentity) -> Sink:
        """The file as far as it is there: empty if it is new."""

    @abc.abstractmethod
    def keep(self, identity: FileIdentity, sink: Sink) -> StoredFile:
        """The file arrived whole."""

    @abc.abstractmethod
    def discard(self, identity: FileIdentity, sink: Sink) -> None:
        """The file is not wanted after all."""


def position_of(sink: Sink, file_format: Format, record_length: int) -> int:
    """The restart position that what is there of a file reaches (RFC 5024 section 1.5.4)."""
    if file_format is Format.FIXED:
        return sink.octets // record_length
    if file_format is Format.VARIABLE:
        return sum(1 for _ in record_spans(sink.content()))
    return sink.octets // BLOCK


class _MemorySink(Sink):
    def __init__(self) -> None:
        super().__init__(b"")
        self._octets = bytearray()

    def content(self) -> bytes:
        return bytes(self._octets)

    def close(self) -> None:
        pass

    def _write(self, octets: bytes) -> None:
        self._octets += octets

    def _truncate(self, octets: int) -> None:
        del self._octets[octets:]


class MemoryStore(FileStore):
    """Files in memory.

    :ivar contents: the content of each file that arrived whole.
    """

    def __init__(self) -> None:
        self.contents: dict[FileIdentity, bytes] = {}
        self._partial: dict[FileIdentity, Sink] = {}

    def has(self, identity: FileIdentity) -> bool:
        """Whether this file arrived whole before."""
        return identity in self.contents

    def open(self, identity: FileIdentity) -> Sink:
        """The file as far as it is there."""
        return self._partial.setdefault(identity, _MemorySink())

    def keep(self, identity: FileIdentity, sink: Sink) -> StoredFile:
        """The file arrived whole."""
        del self._partial[identity]
        self.contents[identity] = sink.content()
        return StoredFile(identity=identity, octets=sink.octets, sha256=sink.sha256)

    def discard(self, identity: FileIdentity, sink: Sink) -> None:
        """Forget what is there of the file."""
        del self._partial[identity]


class _FileSink(Sink):
    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self.path = path
        super().__init__(path.read_bytes())
        self._file: BinaryIO = path.open("ab")

    def content(self) -> bytes:
        self._file.flush()
        return self.path.read_bytes()

    def close(self) -> None:
        self._file.close()

    def _write(self, octets: bytes) -> None:
        self._file.write(octets)

    def _truncate(self, octets: int) -> None:
        self._file.flush()
        self._file.truncate(octets)


class FolderStore(FileStore):
    """Files in a folder, each named after its originator, dataset name and stamp; unfinished ones end in ``.part``.

    A session that ends in the middle of a file closes the file and leaves it for the next.

    :param folder: exists, and is nobody else's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, identity: FileIdentity) -> Path:
        """Where a file that arrived whole is."""
        name = f"{identity.originator}-{identity.dataset}-{identity.date:08}-{identity.time:010}"
        return self._folder / re.sub(r"[^0-9A-Za-z.-]", "_", name)

    def has(self, identity: FileIdentity) -> bool:
        """Whether this file arrived whole before."""
        return self.path(identity).exists()

    def open(self, identity: FileIdentity) -> Sink:
        """The file as far as it is there."""
        return _FileSink(self._part(identity))

    def keep(self, identity: FileIdentity, sink: Sink) -> StoredFile:
        """Give the file its final name."""
        sink.close()
        path = self._part(identity).rename(self.path(identity))
        return StoredFile(identity=identity, octets=sink.octets, sha256=sink.sha256, path=path)

    def discard(self, identity: FileIdentity, sink: Sink) -> None:
        """Remove what is there of the file."""
        sink.close()
        self._part(identity).unlink()

    def _part(self, identity: FileIdentity) -> Path:
        path = self.path(identity)
        return path.with_name(path.name + ".part")
