"""One Virtual File on its way into an entity.

Standards: RFC 5024 sections 1.5.4 (restart), 4.4.1 (credit), 5.3.8 (EFID), 5.3.10 (EFNA), 6.5 (record lengths).
"""

from collections.abc import Callable

from smartproxy.oftp2.commands import EFID, SFID
from smartproxy.oftp2.witness import Agreed
from smartproxy.testing.events import Event, FileBroken, FileReceived, Progress
from smartproxy.testing.packing import unpack
from smartproxy.testing.sending import PROGRESS_OCTETS
from smartproxy.testing.store import Sink, StoredFile, position_of
from smartproxy.testing.virtual_file import (
    BLOCK,
    LONGEST_RECORD,
    PREFIX_OCTETS,
    FileIdentity,
    Format,
    offset_of_position,
    prefix,
)

RECORD_LENGTH_NOT_SUPPORTED = 5
INVALID_RECORD_COUNT = 10
INVALID_BYTE_COUNT = 11
"""EFNAREAS (section 5.3.10)."""


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
