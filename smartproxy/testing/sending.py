"""One Virtual File on its way out of an entity.

Standards: RFC 5024 sections 1.5.4 (restart), 4.4.1 (credit), 5.3.8 (EFID).
"""

import hashlib
from collections.abc import Callable, Iterator

from smartproxy.oftp2.commands import EFID
from smartproxy.oftp2.witness import Agreed
from smartproxy.testing.events import Event, FileBroken, FileSent, Progress
from smartproxy.testing.packing import buffers
from smartproxy.testing.virtual_file import VirtualFile

PROGRESS_OCTETS = 1 << 20
"""Progress is reported whenever about so many octets more have passed."""


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
