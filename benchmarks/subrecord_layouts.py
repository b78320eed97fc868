"""How fast the session monitor judges DATA, by the layout of its subrecords and by the size of its buffers.

One core, no sockets, octets that are in the processor's cache as after decryption; 256 KiB at a time, cut anywhere. A
gigabyte is 10**9 octets, and processor time counts, so that a busy machine does not matter much.

    python benchmarks/subrecord_layouts.py [seconds for each figure]
"""

import itertools
import random
import sys
import time
from collections.abc import Iterable, Iterator

from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.commands import CDT, SFID, SFPA, SSID, Command
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.oftp2.subrecords import pack

PIECE = 256 * 1024
CREDIT = 999
OCTETS = 600_000
SIZES = (128, 512, 2048, 4096, 16384, 65535, 99999)


def framed(command: Command) -> bytes:
    """Return a command as it goes over the wire."""
    return frame(encode(command))


def ssid(code: str, size: int, cmpr: str) -> SSID:
    """Return a Start Session command."""
    return SSID(lev=5, code=code, pswd="", sdeb=size, sr="B", cmpr=cmpr, rest="N", spec="N", cred=CREDIT, auth="N")


def sending(size: int, compression: bool) -> Monitor:
    """Return a monitor of a session in which the Initiator sends a file."""
    cmpr = "Y" if compression else "N"
    offer = SFID(
        dsn="BENCHMARK",
        date=20261120,
        time=1200000001,
        dest="O0013STATION",
        orig="O0099PARTNER",
        fmt="U",
        lrecl=0,
        fsiz=1,
        osiz=1,
        rest=0,
        sec=0,
        ciph=0,
        comp=0,
        env=0,
        sign="N",
        desc="",
    )
    monitor = Monitor()
    for sender, octets in (
        (Role.RESPONDER, SSRM_BUFFER),
        (Role.INITIATOR, framed(ssid("O0099PARTNER", size, cmpr))),
        (Role.RESPONDER, framed(ssid("O0013STATION", size, cmpr))),
        (Role.INITIATOR, framed(offer)),
        (Role.RESPONDER, framed(SFPA(acnt=0))),
    ):
        monitor.judge(sender, octets)
    return monitor


def lengths() -> Iterator[int]:
    """Yield lengths of records from 1 to 200 octets that add up to the file."""
    source, left = random.Random(5024), OCTETS
    while left:
        record = min(left, source.randint(1, 200))
        left -= record
        yield record


def empty(size: int) -> Iterator[bytes]:
    """Yield buffers of empty subrecords, some with a flag: legal, and more work for an octet than anything else."""
    source = random.Random(5024)
    for _ in range(OCTETS // size):
        yield b"D" + bytes(source.choices((0x00, 0x80), k=size - 1))


def layouts(size: int) -> Iterator[tuple[str, bool, Iterable[bytes]]]:
    """Yield a name, whether compression is agreed, and the buffers."""
    file = bytes(OCTETS)
    yield "full subrecords", False, pack(file, size)
    yield "records of 80", False, pack(file, size, records=[80] * (OCTETS // 80))
    yield "records of 1 to 200", False, pack(file, size, records=lengths())
    yield "the same, compression agreed", True, pack(file, size, records=lengths())
    yield "empty subrecords", False, empty(size)


def rate(size: int, compression: bool, buffers: Iterable[bytes], seconds: float) -> float:
    """Return the octets judged in a second, never more than a window of credit at a time."""
    framed_buffers = [frame(buffer) for buffer in itertools.islice(buffers, CREDIT)]
    octets = b"".join(framed_buffers)
    pieces = [octets[at : at + PIECE] for at in range(0, len(octets), PIECE)]
    monitor = sending(size, compression)
    spent, judged = 0.0, 0
    while spent < seconds:
        began = time.process_time()
        for _ in range(CREDIT // len(framed_buffers)):
            for piece in pieces:
                monitor.judge(Role.INITIATOR, piece)
            judged += len(octets)
        spent += time.process_time() - began
        if monitor.error is not None:
            raise monitor.error
        while monitor.transfer is not None and monitor.transfer.credit:
            monitor.judge(Role.INITIATOR, frame(b"D"))
        monitor.judge(Role.RESPONDER, framed(CDT()))
    return judged / spent


def main(seconds: float) -> None:
    """Print a table."""
    print(f"{'judged, GB/s':30}" + "".join(f"{size:>8}" for size in SIZES))
    rows: dict[str, list[float]] = {}
    for size in SIZES:
        for name, compression, buffers in layouts(size):
            rows.setdefault(name, []).append(rate(size, compression, buffers, seconds) / 1e9)
    for name, rates in rows.items():
        print(f"{name:30}" + "".join(f"{value:8.2f}" for value in rates))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.1)
