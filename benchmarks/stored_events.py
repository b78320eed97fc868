"""What it costs the backend to store events: its CPU time while a client carries so many in a second.

    python benchmarks/stored_events.py [--rate 10000] [--seconds 5]

A real backend on loopback, its store in SQLite; batches of the size that the daemons' carriers send, over one https
connection. The figure is the backend's CPU time by the kernel's count, in parts of one processor at the rate asked for.
"""

import argparse
import http.client
import json
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

sys.path.insert(0, str(Path(__file__).parent))

from daemons import BenchSite
from measures import cpu_seconds

from smartproxy.policy.limits import API_EVENTS_SENT

EVENT: Final[dict[str, object]] = {
    "level": "info",
    "name": "file.ended",
    "source": "server",
    "outcome": "completed",
    "session": "0123456789abcdef",
    "partner": "ACME",
    "peer": "192.0.2.7:40112",
    "direction": "inbound",
    "link": "in",
    "sender": "initiator",
    "stamp": "20261127080000 0001",
    "originator": "O0013000001ACME",
    "destination": "O0013STATION",
    "format": "U",
    "size": 12,
    "octets": 12345,
    "records": 0,
}


def carry(site: BenchSite, rate: int, seconds: float) -> tuple[float, float]:
    """Carry events; how many in a second there were, and the backend's CPU time for each."""
    context = ssl.create_default_context(cafile=str(site.certificates / "backend.crt"))
    line = http.client.HTTPSConnection("127.0.0.1", site.backend_port, context=context)
    headers = {
        "Authorization": f"Bearer {(site.folder / 'client' / 'token').read_text().strip()}",
        "Content-Type": "application/json",
    }

    def post(number: int) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        first = number * API_EVENTS_SENT
        batch = [
            {**EVENT, "time": now, "sequence": first + each, "dataset": f"ENGDAT.{first + each}"}
            for each in range(API_EVENTS_SENT)
        ]
        line.request("POST", "/api/v1/events", json.dumps({"events": batch}), headers)
        answer = line.getresponse()
        stored = json.loads(answer.read()).get("stored")
        if answer.status != 200 or stored != API_EVENTS_SENT:
            raise SystemExit(f"status {answer.status}, {stored} events stored of {API_EVENTS_SENT}")

    post(0)
    assert site.backend is not None
    pid = site.backend.pid
    spent, begun, batches = cpu_seconds([pid]), time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        if batches * API_EVENTS_SENT > rate * (time.monotonic() - begun):
            time.sleep(0.001)
            continue
        batches += 1
        post(batches)
    events = batches * API_EVENTS_SENT
    return events / (time.monotonic() - begun), (cpu_seconds([pid]) - spent) / events


async def measure(reactor: Any, arguments: argparse.Namespace) -> None:
    """Start a site, and carry events to its backend."""
    with tempfile.TemporaryDirectory(prefix="events-") as folder:
        site = BenchSite(reactor, Path(folder), 1)
        try:
            await site.open()
            rate, each = await deferToThread(carry, site, arguments.rate, arguments.seconds)
        finally:
            await site.stop()
    print(f"{rate:.0f} events a second; {each * 1e6:.0f} us each, {each * arguments.rate:.2f} of a processor", end=" ")
    print(f"at {arguments.rate} a second")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=10_000, help="events in a second [10000]")
    parser.add_argument("--seconds", type=float, default=5.0, help="to carry them for [5]")
    react(lambda reactor: Deferred.fromCoroutine(measure(reactor, parser.parse_args())), ())


if __name__ == "__main__":
    main()
