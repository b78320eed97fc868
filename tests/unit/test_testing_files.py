"""Virtual Files and the stores they arrive in: positions, counts, records, restarts, and names that lie."""

import datetime
import hashlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.testing.store import FileStore, FolderStore, MemoryStore, position_of
from smartproxy.testing.virtual_file import (
    LONGEST_RECORD,
    Content,
    FileIdentity,
    Format,
    VirtualFile,
    join_records,
    record_spans,
)

MOMENT = datetime.datetime(2026, 11, 20, 14, 37, 4)
IDENTITY = FileIdentity.stamped("F5K.BIN", "O0099ACME", "O0013STATION", MOMENT, counter=7)


def virtual_file(content: Content, file_format: Format = Format.UNSTRUCTURED, record_length: int = 0) -> VirtualFile:
    """A file of the given content."""
    return VirtualFile(identity=IDENTITY, format=file_format, record_length=record_length, content=content)


class VirtualFileTests(SynchronousTestCase):
    """What SFID and EFID say about a file."""

    def test_stamp(self) -> None:
        """The stamp is the moment and the counter, and levels 1 and 2 carry two digits of the year and no counter."""
        self.assertEqual((IDENTITY.date, IDENTITY.time), (20261120, 1437040007))
        self.assertEqual((IDENTITY.reduced.date, IDENTITY.reduced.time), (261120, 143704))

    def test_unstructured(self) -> None:
        """An unstructured file counts octets and no records; its positions are blocks, its size is rounded up."""
        file = virtual_file(bytes(2049))
        self.assertEqual((file.record_count, file.unit_count, file.blocks), (0, 2049, 3))
        self.assertEqual([file.offset(position) for position in (0, 1, 2, 3)], [0, 1024, 2048, 2049])

    def test_fixed(self) -> None:
        """A fixed file counts records; its positions are records."""
        file = virtual_file(bytes(240), Format.FIXED, 80)
        self.assertEqual((file.record_count, file.unit_count, file.blocks), (3, 240, 1))
        self.assertEqual([file.offset(position) for position in (0, 2, 9)], [0, 160, 240])

    def test_variable(self) -> None:
        """A variable file counts records and the octets in them without their lengths; an empty record is a record."""
        records = [b"one", b"", b"three"]
        content = join_records(records)
        file = virtual_file(content, Format.VARIABLE, 5)
        self.assertEqual((file.record_count, file.unit_count), (3, 8))
        self.assertEqual([file.offset(position) for position in (0, 1, 2, 3, 4)], [0, 5, 7, 14, 14])
        self.assertEqual([content[start:end] for start, end in record_spans(content)], records)

    def test_unsound_files_are_refused(self) -> None:
        """Records that do not fit the announced length, or the file, are an error of the caller."""
        for content, file_format, record_length in (
            (bytes(81), Format.FIXED, 80),
            (bytes(80), Format.FIXED, 0),
            (join_records([bytes(6)]), Format.VARIABLE, 5),
            (b"\x00\x09abc", Format.VARIABLE, 99),
        ):
            with self.assertRaises(ValueError):
                virtual_file(content, file_format, record_length)

    def test_longest_record(self) -> None:
        """A record longer than its length can say is refused; the longest is not."""
        self.assertEqual(len(join_records([bytes(LONGEST_RECORD)])), LONGEST_RECORD + 2)
        with self.assertRaises(ValueError):
            join_records([bytes(LONGEST_RECORD + 1)])


class StoreTests(SynchronousTestCase):
    """Both stores behave alike."""

    def stores(self) -> list[FileStore]:
        """One store of each kind."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        return [MemoryStore(), FolderStore(self.folder)]

    def test_a_file_arrives_whole(self) -> None:
        """A file that was kept is there from then on, with its length and its SHA-256."""
        for store in self.stores():
            sink = store.open(IDENTITY)
            sink.append(b"hello ")
            self.assertFalse(store.has(IDENTITY))
            sink.append(b"world")
            stored = store.keep(IDENTITY, sink)
            self.assertTrue(store.has(IDENTITY))
            self.assertEqual((stored.octets, stored.sha256), (11, hashlib.sha256(b"hello world").hexdigest()))
        self.assertEqual([path.read_bytes() for path in self.folder.iterdir()], [b"hello world"])

    def test_a_broken_file_is_continued(self) -> None:
        """What arrived is there when the file is opened again, is cut where asked, and the SHA-256 is the whole's."""
        for store in self.stores():
            sink = store.open(IDENTITY)
            sink.append(bytes(3000))
            sink.close()
            again = store.open(IDENTITY)
            self.assertEqual(position_of(again, Format.UNSTRUCTURED, 0), 2)
            again.cut(4096)
            self.assertEqual(again.octets, 3000)
            again.cut(2048)
            again.append(b"end")
            self.assertEqual(again.content(), bytes(2048) + b"end")
            stored = store.keep(IDENTITY, again)
            self.assertEqual((stored.octets, stored.sha256), (2051, hashlib.sha256(bytes(2048) + b"end").hexdigest()))

    def test_positions(self) -> None:
        """What is there of a file is measured in records or blocks, whichever its format counts."""
        for store in self.stores():
            sink = store.open(IDENTITY)
            sink.append(join_records([bytes(78)] * 20))
            self.assertEqual(position_of(sink, Format.VARIABLE, 78), 20)
            self.assertEqual(position_of(sink, Format.FIXED, 70), 22)
            self.assertEqual(position_of(sink, Format.TEXT, 0), 1)
            store.discard(IDENTITY, sink)

    def test_a_discarded_file_is_gone(self) -> None:
        """Nothing is left of a file that was not wanted."""
        for store in self.stores():
            sink = store.open(IDENTITY)
            sink.append(b"x")
            store.discard(IDENTITY, sink)
            self.assertEqual(store.open(IDENTITY).octets, 0)
            self.assertFalse(store.has(IDENTITY))

    def test_names_that_lie_stay_in_the_folder(self) -> None:
        """A dataset name that looks like a path names a file in the folder all the same."""
        _, store = self.stores()
        for dataset in ("../../etc/passwd", "/etc/passwd", "..\\..\\X", "A\x00B", "", "ÄÖ"):
            identity = FileIdentity.stamped(dataset, "..", "O0013STATION", MOMENT)
            store.keep(identity, store.open(identity))
            self.assertTrue(store.has(identity))
        self.assertEqual(len(list(self.folder.iterdir())), 6)
