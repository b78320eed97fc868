"""The files that the demonstration sends: every size and format it promises."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import attrs

import smartproxy
from smartproxy.testing.virtual_file import Format, join_records

LARGE_OCTETS = 50_000_000
MEDIUM_OCTETS = 4_000_000
RECORD_OCTETS = 80
LONGEST_LINE = 2048
REJECTED = "-REJECTED"


@attrs.frozen(kw_only=True)
class SourceFile:
    """A file on disk that is to be sent.

    :ivar dataset: its name on the wire.
    :ivar octets: its length.
    :ivar sha256: its SHA-256 in hex.
    """

    path: Path
    dataset: str
    format: Format
    record_length: int
    octets: int
    sha256: str

    def specification(self, **more: int) -> str:
        """The file as the commands of the test kit take it."""
        pairs = {"name": self.dataset, "format": self.format.value, "record": self.record_length, **more}
        return ",".join([str(self.path), *(f"{key}={value}" for key, value in pairs.items())])


def real_text() -> bytes:
    """A text with lines of all lengths: the source of the protocol core, with the CR LF of format T."""
    sources = sorted((Path(smartproxy.__file__).parent / "oftp2").glob("*.py"))
    lines = b"\n".join(path.read_bytes() for path in sources).splitlines()
    return b"".join(line[:LONGEST_LINE] + b"\r\n" for line in lines if line.isascii())


def write(folder: Path, dataset: str, content: bytes, file_format: Format, record_length: int = 0) -> SourceFile:
    """Write one file."""
    path = folder / dataset.lower()
    path.write_bytes(content)
    return SourceFile(
        path=path,
        dataset=dataset,
        format=file_format,
        record_length=record_length,
        octets=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def one_of_each(folder: Path, prefix: str) -> list[SourceFile]:
    """Files of 0 B, 1 B, 63 B, 5 KB, a real text, records of many lengths, and 50 MB; all formats among them."""
    rng = random.Random(prefix)
    text = real_text()
    records = [line[: rng.randrange(LONGEST_LINE)] for line in text.split(b"\r\n")][:1000]
    return [
        write(folder, f"{prefix}-EMPTY", b"", Format.UNSTRUCTURED),
        write(folder, f"{prefix}-1B", rng.randbytes(1), Format.UNSTRUCTURED),
        write(folder, f"{prefix}-63B", rng.randbytes(63), Format.UNSTRUCTURED),
        write(folder, f"{prefix}-5KB", rng.randbytes(64 * RECORD_OCTETS), Format.FIXED, RECORD_OCTETS),
        write(folder, f"{prefix}-TEXT", text, Format.TEXT),
        write(folder, f"{prefix}-RECORDS", join_records(records), Format.VARIABLE, LONGEST_LINE),
        write(folder, f"{prefix}-50MB", rng.randbytes(LARGE_OCTETS), Format.UNSTRUCTURED),
    ]


def rejected(folder: Path, prefix: str) -> SourceFile:
    """A file that the station answers with NERP: its name says so."""
    return write(folder, f"{prefix}{REJECTED}", b"not what was agreed\r\n", Format.TEXT)


def medium(folder: Path, prefix: str, count: int) -> Iterator[SourceFile]:
    """So many files of 4 MB."""
    for number in range(1, count + 1):
        yield write(folder, f"{prefix}-{number}", random.Random(number).randbytes(MEDIUM_OCTETS), Format.UNSTRUCTURED)


def some(folder: Path, prefix: str) -> list[SourceFile]:
    """A text and a file of 4 MB."""
    return [write(folder, f"{prefix}-TEXT", real_text(), Format.TEXT), *medium(folder, prefix, 1)]
