"""Compare a partner's throughput over a long line: through SmartProxy, and to the station itself.

    unshare --net --map-root-user python far_partner.py --program build/bench/sessions --json build/bench/far.json

The line has 100 Mbit/s and a round trip of 80 ms, once without loss and once with 1 % each way. Only the
partner is far away. ``direct`` is the same partner in plain TCP, which calls the station over the same
line. Rounds take turns. A ratio of 1 says that the proxy costs a far partner nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

sys.path.insert(0, str(Path(__file__).parent))

import figures
from bench import ENDLESS
from compare import machine
from daemons import BenchSite
from long_line import FAR
from measures import Load, Proxy

from smartproxy.testing.ports import held_port

EVERYWHERE: Final = "0.0.0.0"
LOSSES: Final = (0.0, 1.0)
"""Percent."""

STREAMS: Final = tuple(
    (f"{buffer} octets, credit {credit}, {'to' if down else 'from'} the partner", buffer, credit, down)
    for buffer, credit in ((65535, 99), (4096, 64))
    for down in (False, True)
)
CONGESTION: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")


@contextmanager
def long_line(loss: float, ports: list[int]) -> Iterator[None]:
    """A line that lasts as long as the block."""
    argv = [sys.executable, "-P", str(Path(__file__).with_name("long_line.py")), "--loss", str(loss)]
    argv += ["--ports", ",".join(map(str, ports))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as line:
        assert line.stdin is not None and line.stdout is not None
        if line.stdout.readline() != b"ready\n":
            raise SystemExit("bench: no long line; it needs a network namespace of its own, /dev/net/tun and ip")
        try:
            yield
        finally:
            line.stdin.close()


def measure(load: Load, proxies: list[Proxy], rounds: int, seconds: float) -> list[figures.Row]:
    """Send, over each line, in each direction; the measurements."""
    rows: list[figures.Row] = []
    for loss in LOSSES:
        with long_line(loss, [proxy.port for proxy in proxies]):
            for words, buffer, credit, down in STREAMS:
                shared = {"buffer": buffer, "credit": credit, "down": down, "size": ENDLESS, "seconds": seconds}
                cell = f"{loss:.0f} % loss, {words}"
                for number in range(rounds):
                    for proxy in proxies:
                        station = load.station(host=EVERYWHERE, **shared)
                        try:
                            result = load.run(proxy, 0.1, host=FAR, **shared)
                        finally:
                            station.terminate()
                            station.wait()
                        result["transfer_seconds"] = result["transfer_seconds"] or seconds
                        print(f"bench: {cell}, {proxy.name}", file=sys.stderr)
                        rows.append({"test": "far", "cell": cell, "pair": proxy.name, "round": number, **result})
    return rows


async def compare(reactor: Any, arguments: argparse.Namespace) -> None:
    """Start the daemons, measure and print."""
    if arguments.congestion:
        CONGESTION.write_text(arguments.congestion)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = Path(tempfile.mkdtemp(prefix="far-"))
    facts = machine()
    site = BenchSite(reactor, folder, held_port(), address=EVERYWHERE)
    try:
        await site.open()
        assert site.server is not None and site.client is not None
        load = Load(program=arguments.program.absolute(), partner=site.files, station_port=site.station_port)
        proxies = [
            Proxy(figures.DIRECT, load.station_port, None, None),
            Proxy(figures.OURS, site.port, site.server.pid, site.client.pid),
        ]
        rows = await deferToThread(measure, load, proxies, arguments.rounds, arguments.seconds)
    finally:
        await site.stop()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")
    print(f"congestion control: {CONGESTION.read_text().strip()}")
    for line in figures.lines(rows):
        print(line)


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the generator, made of sessions.c")
    parser.add_argument("--json", type=Path, required=True, help="file for all that is measured")
    parser.add_argument("--congestion", help="TCP's congestion control, such as reno [that of the machine]")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each stream [8]")
    arguments = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(compare(reactor, arguments)), ())


if __name__ == "__main__":
    main()
