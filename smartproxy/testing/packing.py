"""Virtual Files into Stream Transmission Buffers of DATA and back, in bulk.

The general way, for records and compressed subrecords, is :mod:`smartproxy.oftp2.subrecords`. Most files
are unstructured and uncompressed: all their subrecords except the last are full, and :mod:`struct` reads and writes
such a chain a buffer at a time.

Standards: RFC 5024 sections 7 (Data Exchange Buffer), 8.2 (Stream Transmission Header).
"""

import functools
import itertools
import struct
from collections.abc import Iterator

from smartproxy.oftp2 import subrecords
from smartproxy.oftp2.stream import frame
from smartproxy.testing.virtual_file import Format, VirtualFile, record_spans

_FULL = bytes([subrecords.SUBRECORD_LONGEST])
_FULL_SUBRECORD = 1 + subrecords.SUBRECORD_LONGEST


def buffers(file: VirtualFile, offset: int, size: int, compress: bool) -> Iterator[tuple[bytes, int]]:
    """The DATA buffers of a file, each with its Stream Transmission Header.

    :param offset: where in the content to begin, at the end of a record where there are records.
    :param size: the longest Data Exchange Buffer, its command octet included.
    :param compress: whether runs of an octet are compressed.
    :return: each buffer with the number of octets of the Virtual File that it carries.
    """
    if not file.format.has_records and not compress:
        yield from _regular(file, offset, size)
        return
    if file.format is Format.VARIABLE:
        spans = list(itertools.dropwhile(lambda span: span[0] <= offset, record_spans(file.content)))
        data = b"".join(file.content[start:end] for start, end in spans)
        records: list[int] | None = [end - start for start, end in spans]
    else:
        data = file.content[offset:]
        records = [file.record_length] * (len(data) // file.record_length) if file.format is Format.FIXED else None
    for buffer in subrecords.pack(data, size, compress=compress, records=records):
        yield frame(buffer), subrecords.check(buffer)


def unpack(buffer: bytes, compression: bool) -> tuple[bytes, list[int]]:
    """The octets of the Virtual File that a DATA buffer carries.

    :param buffer: without its Stream Transmission Header, the command octet first.
    :param compression: whether compressed subrecords were agreed.
    :return: the octets, and the offsets in them behind which a record ends.
    :raises ProtocolError: if the chain of subrecords is wrong.
    """
    full = (len(buffer) - 1) // _FULL_SUBRECORD
    # A buffer filled to its end is regular to its end; in the last one of a file the last subrecord ends the record.
    for count in (full, full - 1):
        if count > 0 and buffer[1 : 1 + count * _FULL_SUBRECORD : _FULL_SUBRECORD] == _FULL * count:
            end = 1 + count * _FULL_SUBRECORD
            head = b"".join(_chain(count).unpack_from(buffer, 1))
            if end == len(buffer):
                return head, []
            tail = b"D" + buffer[end:]
            subrecords.check(tail, compression)
            octets, ends = read_chain(tail)
            return head + octets, [len(head) + where for where in ends]
    subrecords.check(buffer, compression)
    return read_chain(buffer)


def read_chain(buffer: bytes) -> tuple[bytes, list[int]]:
    """Take the Virtual File's octets out of a Data Exchange Buffer, command octet first.

    :return: the octets, and the offsets in them behind which a record ends.
    :raises ProtocolError: if the chain is wrong.
    """
    subrecords.check(buffer)
    parts: list[bytes] = []
    ends: list[int] = []
    length = 0
    for subrecord in subrecords.split(buffer):
        parts.append(subrecord.octets)
        length += len(subrecord.octets)
        if subrecord.ends_record:
            ends.append(length)
    return b"".join(parts), ends


def _regular(file: VirtualFile, offset: int, size: int) -> Iterator[tuple[bytes, int]]:
    full, rest = divmod(size - 1, _FULL_SUBRECORD)
    most = full * subrecords.SUBRECORD_LONGEST + max(rest - 1, 0)
    total = len(file.content)
    while offset < total:
        octets = file.content[offset : offset + most]
        offset += len(octets)
        count, odd = divmod(len(octets), subrecords.SUBRECORD_LONGEST)
        if offset == total and not odd:
            count, odd = count - 1, subrecords.SUBRECORD_LONGEST
        parts = [b"D"]
        for subrecord in _octets(count).unpack_from(octets):
            parts += (_FULL, subrecord)
        if odd:
            flag = subrecords.END_OF_RECORD if offset == total else 0
            parts += (bytes([flag | odd]), octets[-odd:])
        yield frame(b"".join(parts)), len(octets)


@functools.lru_cache(maxsize=16)
def _octets(count: int) -> struct.Struct:
    return struct.Struct(f"{subrecords.SUBRECORD_LONGEST}s" * count)


@functools.lru_cache(maxsize=16)
def _chain(count: int) -> struct.Struct:
    return struct.Struct(f"x{subrecords.SUBRECORD_LONGEST}s" * count)
