"""How long a large revocation list holds up each daemon's reactor, and how soon it is in force at the server.

    python benchmarks/list_stall.py [--entries 1000000] [--octets 16]

Run by ``make bench-lists``. Real daemons on loopback; a web server here gives the list, whose download is approved. In
each daemon a timer fires every 5 ms and notes when it was late: by the clock, and by the CPU time that the process used
meanwhile, in whichever thread. The time until the list is in force has both, too; its CPU time is that of the daemons
and of the processes that they started. The clock is judged if the daemons' threads had a processor for nine tenths of
the time in which they could run (proc(5), schedstat); on a busier machine the clock says what other programs do, and
the CPU time is judged. Which one it is stands in the first line. Goals: no stall longer than 50 ms, in force within
15 s; it ends with status 1 if one is missed. Run it where ``tests`` can be imported.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.web.resource import Resource
from twisted.web.server import Site as WebSite
from twisted.web.static import Data

sys.path.insert(0, os.getcwd())

from smartproxy.testing.pki import TestCa
from smartproxy.testing.programs import Program
from smartproxy.testing.site import Site
from tests.large_lists import large_list
from tests.process.clock import Stopwatch

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
def look():
    last[:] = time.monotonic(), time.process_time()
    reactor.callLater(0.005, tick)
def tick():
    late = time.monotonic() - last[0] - 0.005
    if late > {noted}:
        file.write(f"{{last[0]}} {{late}} {{time.process_time() - last[1]}}\\n")
    look()
reactor.callWhenRunning(look)
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


async def measure(reactor: Any, folder: Path, entries: int, octets: int) -> None:
    """Start the site, approve the list, wait until it is in force at the server, and tell the figures."""
    ca = TestCa.root("Large CA")
    octets_of_list = large_list(ca, entries, octets)
    print(f"a list of {entries} entries, {len(octets_of_list) / 2**20:.1f} MiB", flush=True)
    given = Given(octets_of_list, "application/pkix-crl")  # type: ignore[no-untyped-call]  # Twisted's has no types.
    root = Resource()
    root.putChild(b"ca.crl", given)
    web = reactor.listenTCP(0, WebSite(root), interface="127.0.0.1")
    site = MeteredSite(reactor, folder, workers=0)
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
        used, watch = sum(map(cpu, site.daemons)), Stopwatch(site.backend, site.client, site.server)
        taken = await in_force(site, before + 2) - given.at
        used = sum(map(cpu, site.daemons)) - used
        is_busy = watch.seconds() < 0.9 * watch.passed()
        print(f"judged by the {'CPU time: the machine is busy with other programs' if is_busy else 'clock'}")
        missed = (used if is_busy else taken) > FORCE_SECONDS
        goal = "TOO LATE" if missed else "ok"
        print(f"the list: in force {taken:.1f} s after it was downloaded, {used:.1f} s of CPU  {goal}", flush=True)
        await deferLater(reactor, 3)
        missed = tell(site, since, is_busy=is_busy) or missed
        since = time.monotonic()
        await site.smartproxy("settings", "set", "server.deadlines.ssid", "45")
        taken = await in_force(site, before + 3) - since
        print(f"another change: in force {taken:.1f} s after the command began", flush=True)
        await deferLater(reactor, 3)
        missed = tell(site, since, is_busy=is_busy) or missed
    finally:
        await site.stop()
        await web.stopListening()
    if missed:
        raise SystemExit(1)


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


def tell(site: MeteredSite, since: float, *, is_busy: bool) -> bool:
    """Print the longest stalls of each daemon since a time; whether one is too long."""
    missed = False
    for name in DAEMONS:
        found = site.stalls(name, since)
        by_clock, by_cpu = max((late for late, _ in found), default=0.0), max((cpu for _, cpu in found), default=0.0)
        is_long = (by_cpu if is_busy else by_clock) > GOAL_SECONDS
        missed = missed or is_long
        goal = "TOO LONG" if is_long else "ok"
        print(f"  {name:20} longest stall {by_clock * 1000:6.1f} ms by the clock, {by_cpu * 1000:6.1f} ms CPU  {goal}")
    return missed


def main(arguments: Sequence[str]) -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--octets", type=int, default=16, help="of each serial number")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="list-stall-") as folder:

        def run(reactor: Any) -> Deferred[None]:
            return Deferred.fromCoroutine(measure(reactor, Path(folder), given.entries, given.octets))

        react(run)


if __name__ == "__main__":
    main(sys.argv[1:])
