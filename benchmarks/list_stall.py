"""How long a large revocation list holds up each daemon's reactor, and how soon it is in force at the server.

    python benchmarks/list_stall.py [--entries 1000000] [--octets 16]

Run by ``make bench-lists``. Real daemons on loopback; a web server here gives the list, whose download is approved. In
each daemon a timer fires every 5 ms and notes when it was late: by the clock, and by the CPU time that the process used
meanwhile, in whichever thread. The first counts what other programs took from a busy machine, too; the second does not,
and is what the stall lasts on a machine that is free. The same goes for the time until the list is in force: the CPU
time is that of the daemons and of the processes that they started. Goals: no stall longer than 50 ms, in force within
15 s.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.web.resource import Resource
from twisted.web.server import Site as WebSite
from twisted.web.static import Data

from smartproxy.net.tls.der import value, values
from smartproxy.testing.pki import TestCa
from smartproxy.testing.programs import Program
from smartproxy.testing.site import Site

GOAL_SECONDS: Final = 0.050
FORCE_SECONDS: Final = 15.0
NOTED_SECONDS: Final = 0.010
DAEMONS: Final = ("smartproxy-backend", "smartproxy-client", "smartproxy-server")
_METER: Final = """
import sys, time
path = sys.argv.pop(1)
from twisted.internet import reactor
last = [0.0, 0.0]
file = open(path, "w", buffering=1)
def tick():
    late = time.monotonic() - last[0] - 0.005
    if late > {noted}:
        file.write(f"{{last[0]}} {{late}} {{time.process_time() - last[1]}}\\n")
    last[:] = time.monotonic(), time.process_time()
    reactor.callLater(0.005, tick)
def begin():
    last[:] = time.monotonic(), time.process_time()
    tick()
reactor.callWhenRunning(begin)
from twisted.scripts.twistd import run
run()
"""


class MeteredSite(Site):
    """A site whose daemons note when their reactors were held up."""

    def _daemon(self, name: str, *arguments: str, state: str) -> Program:
        program = _METER.format(noted=NOTED_SECONDS)
        argv = [sys.executable, "-c", program, str(self.folder / f"{name}.stalls"), "-n", "--pidfile=", name]
        argv += [*arguments, "--state-dir", str(self.folder / state), "--log-json", str(self._journal(name))]
        return self._program(name, argv, prints=False)

    @property
    def daemons(self) -> list[int]:
        """Their processes."""
        return [each.pid for each in (self.backend, self.client, self.server) if each is not None]

    def stalls(self, name: str, since: float) -> list[tuple[float, float]]:
        """The stalls of a daemon since a time: by the clock, and by the CPU time."""
        lines = (self.folder / f"{name}.stalls").read_text().splitlines()
        found = [tuple(map(float, line.split())) for line in lines]
        return [(late, cpu) for at, late, cpu in found if at + late >= since]


def large_list(ca: TestCa, count: int, octets: int) -> bytes:
    """A list of so many random serial numbers of so many octets each, signed by a CA's key."""
    small = x509.load_pem_x509_crl(ca.crl([ca.issue("revoked")]))
    ((_, whole),) = values(small.public_bytes(Encoding.DER))
    (_, signed), (_, algorithm), _ = values(whole)
    chance = random.Random(1)
    rest = value(0x17, b"261101120000Z") + bytes.fromhex("300c300a0603551d1504030a0101")
    entries = b"".join(
        value(0x30, value(0x02, bytes([0x40 | chance.randrange(64)]) + chance.randbytes(octets - 1)) + rest)
        for _ in range(count)
    )
    fields = list(values(signed))
    # Version, algorithm, issuer, thisUpdate and nextUpdate come before the entries.
    fields[5] = (0x30, entries)
    body = value(0x30, b"".join(value(tag, content) for tag, content in fields))
    key = ca.credential.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
    return value(0x30, body + value(0x30, algorithm) + value(0x03, b"\0" + signature))


class Given(Data):
    """The list, as a web server gives it.

    :ivar at: when it was given as a whole, by the monotonic clock.
    """

    at = 0.0

    def render_GET(self, request: Any) -> bytes:
        """Give it, and note when it is given."""
        request.notifyFinish().addCallback(self._finished)
        given: bytes = super().render_GET(request)  # type: ignore[no-untyped-call]  # Twisted's has no types.
        return given

    def _finished(self, _: object) -> None:
        self.at = time.monotonic()


async def measure(reactor: Any, folder: Path, entries: int, octets: int) -> int:
    """Start the site, approve the list, wait until it is in force at the server, and tell the figures."""
    ca = TestCa.root("Large CA")
    octets_of_list = large_list(ca, entries, octets)
    print(f"a list of {entries} entries, {len(octets_of_list) / 2**20:.1f} MiB", flush=True)
    given = Given(octets_of_list, "application/pkix-crl")  # type: ignore[no-untyped-call]  # Twisted's has no types.
    root = Resource()
    root.putChild(b"ca.crl", given)
    web = reactor.listenTCP(0, WebSite(root), interface="127.0.0.1")
    site = MeteredSite(reactor, folder)
    try:
        await site.create()
        anchor = folder / "large.pem"
        anchor.write_bytes(ca.certificate_pem)
        await site.smartproxy("ca", "add", "large", str(anchor))
        await site.smartproxy("settings", "set", "backend.download_networks", "127.0.0.0/8")
        await site.smartproxy("settings", "set", "server.listeners", "127.0.0.1:0")
        await site.start()
        await deferLater(reactor, 3)
        since, before = time.monotonic(), accepted(site)
        await site.smartproxy("crl", "approve", "large", f"http://127.0.0.1:{web.getHost().port}/ca.crl")
        while not given.at:
            await deferLater(reactor, 0.01)
        used = sum(map(cpu, site.daemons))
        taken, used = await in_force(site, before + 2) - given.at, sum(map(cpu, site.daemons)) - used
        goal = "ok" if min(taken, used) <= FORCE_SECONDS else "TOO LATE"
        print(f"the list: in force {taken:.1f} s after it was downloaded, {used:.1f} s of CPU  {goal}")
        await deferLater(reactor, 3)
        tell(site, since)
        since = time.monotonic()
        await site.smartproxy("settings", "set", "server.deadlines.ssid", "45")
        taken = await in_force(site, before + 3) - since
        print(f"another change: in force {taken:.1f} s after the command began", flush=True)
        await deferLater(reactor, 3)
        tell(site, since)
    finally:
        await site.stop()
        await web.stopListening()
    return 0


def cpu(pid: int) -> float:
    """The CPU time of a process, and of those that it started and that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def accepted(site: Site) -> int:
    """How many generations the server has put in force."""
    assert site.server is not None
    site.server.read()
    return sum(each.get("name") == "configuration.accepted" for each in site.server.records)


async def in_force(site: Site, count: int) -> float:
    """Wait until the server has put so many generations in force; the time of the clock then."""
    while accepted(site) < count:
        await deferLater(site.reactor, 0.02)
    return time.monotonic()


def tell(site: MeteredSite, since: float) -> None:
    """Print the longest stalls of each daemon since a time."""
    for name in DAEMONS:
        found = site.stalls(name, since)
        by_clock, by_cpu = max((late for late, _ in found), default=0.0), max((cpu for _, cpu in found), default=0.0)
        goal = "ok" if by_cpu <= GOAL_SECONDS else "TOO LONG"
        print(f"  {name:20} longest stall {by_clock * 1000:6.1f} ms by the clock, {by_cpu * 1000:6.1f} ms CPU  {goal}")


def main(arguments: Sequence[str]) -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--octets", type=int, default=16, help="of each serial number")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="list-stall-") as folder:

        def run(reactor: Any) -> Deferred[int]:
            return Deferred.fromCoroutine(measure(reactor, Path(folder), given.entries, given.octets))

        react(run)


if __name__ == "__main__":
    main(sys.argv[1:])
