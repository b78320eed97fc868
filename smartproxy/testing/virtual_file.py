"""Virtual Files as the test kit's entities send them.

A Virtual File's *content* is one run of octets. For the formats U, T and F these are the octets that are transferred;
for format V each record stands behind its length as a 2-octet binary number, the form that RFC 5024 section 6.5 gives,
so that a comparison of contents compares record boundaries too. Content may be a memory map: nothing copies it whole.

Standards: RFC 5024 sections 1.5 (Virtual Files), 1.5.4 (restart positions), 5.3.3 (SFID), 6.5 (record lengths).
"""

import datetime
import enum
import itertools
import mmap
from collections.abc import Iterator, Sequence

import attrs

Content = bytes | mmap.mmap

BLOCK = 1024
"""The unit of restart positions and file sizes of unstructured and text files (sections 1.5.4, 5.3.3)."""

LONGEST_RECORD = 65535
"""The longest record of format V that 2 octets can announce (section 6.5)."""

PREFIX_OCTETS = 2
"""The octets that announce the length of a record (section 6.5)."""


class Format(enum.Enum):
    """SFIDFMT (section 1.5.3)."""

    FIXED = "F"
    VARIABLE = "V"
    UNSTRUCTURED = "U"
    TEXT = "T"

    @property
    def has_records(self) -> bool:
        """Whether positions and counts are in records, not in octets."""
        return self in (Format.FIXED, Format.VARIABLE)


@attrs.frozen(kw_only=True)
class FileIdentity:
    """What names a Virtual File, and what its end response repeats (section 1.5.2).

    :ivar date: CCYYMMDD as a number; at levels 1 and 2 only YYMMDD is carried.
    :ivar time: HHMMSScccc as a number; at levels 1 and 2 only HHMMSS is carried.
    """

    dataset: str
    date: int
    time: int
    originator: str
    destination: str

    @classmethod
    def stamped(
        cls, dataset: str, originator: str, destination: str, moment: datetime.datetime, counter: int = 1
    ) -> "FileIdentity":
        """An identity that carries the given moment and counter (1 to 9999)."""
        return cls(
            dataset=dataset,
            date=int(moment.strftime("%Y%m%d")),
            time=int(moment.strftime("%H%M%S")) * 10000 + counter,
            originator=originator,
            destination=destination,
        )

    @property
    def reduced(self) -> "FileIdentity":
        """The identity with what levels 1 and 2 leave of its stamp."""
        return attrs.evolve(self, date=self.date % 1000000, time=self.time // 10000)


def join_records(records: Sequence[bytes]) -> bytes:
    """The content of a file of format V.

    :raises ValueError: if a record is longer than 2 octets can say.
    """
    return b"".join(prefix(record) for record in records)


def prefix(record: bytes) -> bytes:
    """A record behind its length (section 6.5)."""
    if len(record) > LONGEST_RECORD:
        raise ValueError(f"a record of {len(record)} octets is longer than {LONGEST_RECORD}")
    return len(record).to_bytes(PREFIX_OCTETS) + record


def record_spans(content: Content) -> Iterator[tuple[int, int]]:
    """Where each record of a file of format V begins and ends, without its length.

    :raises ValueError: if the lengths do not add up to the content.
    """
    at, total = 0, len(content)
    while at < total:
        start = at + PREFIX_OCTETS
        end = start + int.from_bytes(content[at:start])
        if end > total:
            raise ValueError(f"the record at offset {at} ends behind the end of the file")
        yield start, end
        at = end


def offset_of_position(content: Content, file_format: Format, record_length: int, position: int) -> int:
    """Where in the content a restart position is; at most the content's end."""
    if file_format is Format.FIXED:
        return min(position * record_length, len(content))
    if file_format is not Format.VARIABLE:
        return min(position * BLOCK, len(content))
    offset = 0
    for _, (_, end) in zip(range(position), record_spans(content), strict=False):
        offset = end
    return offset


def _sound(file: "VirtualFile", attribute: "attrs.Attribute[Content]", content: Content) -> None:
    if file.format is Format.FIXED and (file.record_length < 1 or len(content) % file.record_length):
        raise ValueError(f"{len(content)} octets are no whole number of records of {file.record_length}")
    if file.format is Format.VARIABLE and any(end - start > file.record_length for start, end in record_spans(content)):
        raise ValueError(f"a record is longer than the {file.record_length} octets announced")


@attrs.frozen(kw_only=True)
class VirtualFile:
    """A file to be sent.

    :ivar record_length: SFIDLRECL: the length of each record (F) or of the longest (V); 0 for U and T.
    :ivar restart_at: the restart position that SFID offers, in records (F, V) or blocks of 1024 octets (U, T).
    :ivar break_at: break the connection off once so many octets of the file were sent, as a cut cable would.
    """

    identity: FileIdentity
    format: Format = Format.UNSTRUCTURED
    record_length: int = 0
    content: Content = attrs.field(validator=_sound, repr=False)
    user: str = ""
    description: str = ""
    restart_at: int = 0
    break_at: int | None = None

    @property
    def blocks(self) -> int:
        """SFIDFSIZ: the size in blocks of 1024 octets, rounded up."""
        return -(-len(self.content) // BLOCK)

    @property
    def record_count(self) -> int:
        """EFIDRCNT: the number of records, 0 for U and T (section 5.3.8)."""
        if self.format is Format.FIXED:
            return len(self.content) // self.record_length
        if self.format is Format.VARIABLE:
            return sum(1 for _ in record_spans(self.content))
        return 0

    @property
    def unit_count(self) -> int:
        """EFIDUCNT: the number of octets transferred (section 5.3.8)."""
        if self.format is Format.VARIABLE:
            return len(self.content) - PREFIX_OCTETS * self.record_count
        return len(self.content)

    def offset(self, position: int) -> int:
        """Where in the content a restart position is."""
        return offset_of_position(self.content, self.format, self.record_length, position)

    def units_before(self, offset: int) -> int:
        """How many octets are transferred for the content before an offset; the offset ends a record in format V."""
        if self.format is Format.VARIABLE:
            return sum(end - start for start, end in record_spans(self.content) if end <= offset)
        return offset

    def position_of_units(self, units: int) -> int:
        """The restart position that so many transferred octets reach."""
        if self.format is Format.FIXED:
            return units // self.record_length
        if self.format is not Format.VARIABLE:
            return units // BLOCK
        lengths = itertools.accumulate(end - start for start, end in record_spans(self.content))
        return sum(1 for length in lengths if length <= units)
