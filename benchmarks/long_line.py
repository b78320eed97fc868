"""A long line between a partner and everything else: a TUN device whose packets come back late, and some not at all.

    unshare --net --map-root-user python long_line.py --ports 3305,6619 --delay 40 --loss 1 --mbit 100

Who calls :data:`FAR` reaches what listens on :data:`NEAR`, in the same network namespace: both addresses of each packet
are exchanged before it comes back, which leaves the checksums as they are. So one kernel speaks TCP with itself over a
line that has the round trip, the loss and the rate that are asked for, as two machines would. Linux does the same with
``tc netem`` where its kernel has that.

It needs a network namespace of its own, prints ``ready`` when packets pass, and ends with its standard input.
"""

import argparse
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

NEAR: Final = "10.77.0.1"
FAR: Final = "10.77.0.2"
DEVICE: Final = "line"
TUNSETIFF: Final = 0x400454CA
IFF_TUN_NO_PI: Final = 0x1001
PACKET_MOST: Final = 1500


class Way:
    """One direction of the line: packets in their order, each until it is due.

    :param delay: seconds.
    :param rate: octets a second; what is more than a round trip's worth ahead of it is dropped, as by a full router.
    :param loss: the share of packets that never arrives.
    """

    def __init__(self, delay: float, rate: float, loss: float, chance: random.Random) -> None:
        self._delay, self._rate, self._loss, self._chance = delay, rate, loss, chance
        self._free = 0.0
        self._packets: deque[tuple[float, bytes]] = deque()

    def take(self, packet: bytes, now: float) -> None:
        """Take a packet that a side sent."""
        starts = max(now, self._free)
        if self._chance.random() < self._loss or starts - now > 2 * self._delay:
            return
        self._free = starts + len(packet) / self._rate
        self._packets.append((self._free + self._delay, packet))

    def due(self, now: float) -> list[bytes]:
        """The packets that arrive."""
        found = []
        while self._packets and self._packets[0][0] <= now:
            found.append(self._packets.popleft()[1])
        return found

    @property
    def next(self) -> float | None:
        """When the next packet arrives."""
        return self._packets[0][0] if self._packets else None


def device() -> int:
    """Make the device and bring it up; its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN_NO_PI))
    for words in ("link set lo up", f"addr add {NEAR}/24 dev {DEVICE}", f"link set {DEVICE} up"):
        subprocess.run(["ip", *words.split()], check=True)
    return descriptor


def exchanged(packet: bytes) -> bytes:
    """An IPv4 packet that goes back where it came from, octets 12 to 16 (source) and 16 to 20 exchanged."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


def carry(descriptor: int, near: Sequence[int], outward: Way, inward: Way) -> None:
    """Carry packets until standard input ends."""
    while True:
        now = time.monotonic()
        for way in (outward, inward):
            for packet in way.due(now):
                with suppress(BlockingIOError):
                    os.write(descriptor, packet)
        waits = [way.next for way in (outward, inward) if way.next is not None]
        timeout = max(0.0, min(waits) - time.monotonic()) if waits else None
        readable, _, _ = select.select([descriptor, sys.stdin], [], [], timeout)
        if sys.stdin in readable:
            return
        with suppress(BlockingIOError):
            while True:
                packet = os.read(descriptor, PACKET_MOST)
                if packet[0] >> 4 == 4:
                    start = (packet[0] & 15) * 4
                    port = int.from_bytes(packet[start : start + 2], "big")
                    (outward if port in near else inward).take(exchanged(packet), time.monotonic())


def main() -> None:
    """Read the arguments and carry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ports", required=True, help="where the near side listens, separated by commas")
    parser.add_argument("--delay", type=float, default=40.0, help="milliseconds, each way [40]")
    parser.add_argument("--loss", type=float, default=0.0, help="percent of the packets, each way [0]")
    parser.add_argument("--mbit", type=float, default=100.0, help="megabits a second, each way [100]")
    arguments = parser.parse_args()
    ways = [
        Way(arguments.delay / 1e3, arguments.mbit / 8 * 1e6, arguments.loss / 100, random.Random(seed))
        for seed in (1, 2)
    ]
    descriptor = device()
    print("ready", flush=True)
    carry(descriptor, [int(port) for port in arguments.ports.split(",")], ways[0], ways[1])


if __name__ == "__main__":
    main()
