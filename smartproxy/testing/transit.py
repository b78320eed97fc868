"""One Virtual File in transit: on its way out of an entity, and into one.

Standards: RFC 5024 sections 1.5.4 (restart), 4.4.1 (credit), 5.3.8 (EFID), 5.3.10 (EFNA), 6.5 (record lengths).
"""

import hashlib
from collections.abc import Callable, Iterator

from smartproxy.oftp2.commands import EFID, SFID
from smartproxy.oftp2.witness import Agreed
from smartproxy.testing.events import Event, FileBroken, FileReceived, FileSent, Progress
from smartproxy.testing.packing import buffers, unpack
from smartproxy.testing.store import Sink, StoredFile, position_of
from smartproxy.testing.virtual_file import (
    BLOCK,
    LONGEST_RECORD,
    PREFIX_OCTETS,
    FileIdentity,
    Format,
    VirtualFile,
    offset_of_position,
    prefix,
)

PROGRESS_OCTETS = 1 << 20
"""Progress is reported whenever about so many octets more have passed."""

RECORD_LENGTH_NOT_SUPPORTED = 5
INVALID_RECORD_COUNT = 10
INVALID_BYTE_COUNT = 11
"""EFNAREAS (section 5.3.10)."""


class Sending:
    """A file that is being sent.

    :ivar file: what is sent.
    :ivar restart_at: the restart position to offer in SFID; 0 if restart was not agreed.
    :ivar finished: whether all of it has left and EFID may follow: not as long as the credit is used up (RFC 5024
        section 9.11, note 1).
    :ivar broken: whether the place where the file asks for the connection to be cut was reached.
    """

    def __init__(self, file: VirtualFile, agreed: Agreed, observe: Callable[[Event], None]) -> None:
        self.file = file
        self.restart_at = file.restart_at if agreed.restart else 0
        self.finished = False
        self.broken = False
        self._agreed = agreed
        self._observe = observe
        self._from_position = 0
        self._units = 0
        self._total = file.unit_count
        self._reported = 0
        self._credit = 0
        self._buffers: Iterator[tuple[bytes, int]] = iter(())

    def begin(self, position: int) -> None:
        """The peer accepted the file from this restart position on."""
        self._from_position = position
        offset = self.file.offset(position)
        self._units = self._reported = self.file.units_before(offset)
        self._credit = self._agreed.credit
        self._buffers = buffers(self.file, offset, self._agreed.buffer_size, self._agreed.compression)

    def credited(self) -> bool:
        """The peer gave new credit; whether there was need for it."""
        if self._credit:
            return False
        self._credit = self._agreed.credit
        return True

    def draw(self, most: int) -> list[bytes]:
        """The next DATA buffers: about so many octets of them, as far as the credit goes."""
        drawn: list[bytes] = []
        room = most
        while room > 0 and self._credit and not self.broken and not self.finished:
            buffer, units = next(self._buffers, (b"", 0))
            if not buffer:
                self.finished = True
                break
            drawn.append(buffer)
            room -= len(buffer)
            self._units += units
            self._credit -= 1
            self.broken = self.file.break_at is not None and self._units >= self.file.break_at
        if self._units - self._reported >= PROGRESS_OCTETS:
            self._reported = self._units
            self._observe(Progress(identity=self.file.identity, sending=True, octets=self._units, total=self._total))
        return drawn

    def efid(self) -> EFID:
        """End File: the counts are the whole file's, restarted or not."""
        return EFID(rcnt=self.file.record_count, ucnt=self._total)

    def taken(self) -> FileSent:
        """The peer took the file."""
        return FileSent(
            identity=self.file.identity,
            format=self.file.format,
            octets=len(self.file.content),
            sha256=hashlib.sha256(self.file.content).hexdigest(),
            from_position=self._from_position,
        )

    def interrupted(self) -> FileBroken:
        """The session ended before the file did."""
        return FileBroken(
            identity=self.file.identity,
            sending=True,
            position=self.file.position_of_units(self._units),
            octets=self._units,
        )


class Receiving:
    """A file that is being received.

    :param command: the peer's SFID.
    :param sink: what is there of the file.
    :ivar from_position: the restart position to answer with: what is there, but no more than was offered.
    """

    def __init__(
        self,
        identity: FileIdentity,
        file_format: Format,
        command: SFID,
        sink: Sink,
        agreed: Agreed,
        observe: Callable[[Event], None],
    ) -> None:
        self.identity = identity
        self.sink = sink
        self._format = file_format
        self._record_length = command.lrecl
        self._total = command.fsiz * BLOCK
        self._agreed = agreed
        self._observe = observe
        self._credit = agreed.credit
        self._record = bytearray()
        self._longest = 0
        self.from_position = min(command.rest, position_of(sink, file_format, command.lrecl)) if command.rest else 0
        sink.cut(offset_of_position(sink.content(), file_format, command.lrecl, self.from_position))
        self._records = self.from_position if file_format is Format.VARIABLE else 0
        self._reported = self._units = sink.octets - PREFIX_OCTETS * self._records

    def data(self, buffer: bytes) -> bool:
        """Take a DATA buffer.

        :return: whether the peer needs new credit.
        :raises ProtocolError: if the buffer is wrong. There is always credit for one more: new credit is given as soon
            as the last is used up, as RFC 5024 section 9.12 (I, P7) has it.
        """
        octets, ends = unpack(buffer, self._agreed.compression)
        self._units += len(octets)
        if self._format is Format.VARIABLE:
            self._split(octets, ends)
        else:
            self.sink.append(octets)
        if self._units - self._reported >= PROGRESS_OCTETS:
            self._reported = self._units
            self._observe(Progress(identity=self.identity, sending=False, octets=self._units, total=self._total))
        self._credit -= 1
        if self._credit:
            return False
        self._credit = self._agreed.credit
        return True

    def compare(self, command: EFID) -> tuple[int, str] | None:
        """Whether what arrived is what EFID says; if not, the reason and the text of EFNA."""
        if self._record:
            self._end_record()
        records = self._records
        if self._format is Format.FIXED:
            records = self._units // self._record_length if self._record_length else 0
        if self._format is Format.VARIABLE and self._longest > min(self._record_length, LONGEST_RECORD):
            return RECORD_LENGTH_NOT_SUPPORTED, f"A record has {self._longest} octets"
        if self._format.has_records and command.rcnt != records:
            return INVALID_RECORD_COUNT, f"Invalid record count: {records} records arrived"
        if command.ucnt != self._units:
            return INVALID_BYTE_COUNT, f"Invalid byte count: {self._units} octets arrived"
        return None

    def received(self, stored: StoredFile) -> FileReceived:
        """The file is there."""
        return FileReceived(
            identity=self.identity,
            format=self._format,
            octets=stored.octets,
            sha256=stored.sha256,
            from_position=self.from_position,
            path=None if stored.path is None else str(stored.path),
        )

    def interrupted(self) -> FileBroken:
        """The session ended before the file did: what is there is kept, in whole records where there are records."""
        position = position_of(self.sink, self._format, self._record_length)
        self.sink.close()
        return FileBroken(identity=self.identity, sending=False, position=position, octets=self._units)

    def _split(self, octets: bytes, ends: list[int]) -> None:
        begin = 0
        for end in ends:
            self._record += octets[begin:end]
            self._end_record()
            begin = end
        self._record += octets[begin:]

    def _end_record(self) -> None:
        self._longest = max(self._longest, len(self._record))
        self._records += 1
        if len(self._record) <= LONGEST_RECORD:
            self.sink.append(prefix(bytes(self._record)))
        self._record.clear()
