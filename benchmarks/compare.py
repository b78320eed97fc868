"""Compare SmartProxy with HAProxy, nginx and stunnel in one run, and print tables.

    python compare.py --program build/bench/sessions --json build/bench/result.json [--quick] [--only TEST]
    python compare.py --program build/bench/sessions --json build/bench/workers.json --arrangements

Each is two hops on loopback: TLS with the partner's certificate, TLS between the hops, plain TCP to the station. All
run at the same time; rounds take turns: one measurement of each, then the next round. SmartProxy's daemons are the real
ones, with a backend, and judge every octet twice; the others forward octets unread.

With ``--arrangements``, SmartProxy is compared with itself and with HAProxy, which has a thread for each core: all in
one process, workers, and a process for each session.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

sys.path.insert(0, str(Path(__file__).parent))

import figures
import growth
from bench import Bench
from daemons import ONE_PROCESS, BenchSite
from measures import Load, LoadFailed, Proxy
from rivals import RIVALS, VERSION, Hops, found, resolved

from smartproxy import __version__
from smartproxy.testing.pki import CredentialFiles, TestCa
from smartproxy.testing.ports import held_port

ARRANGEMENTS: Final = {
    figures.OURS: ONE_PROCESS,
    "1 worker": ("--workers", "1"),
    "2 workers": ("--workers", "2"),
    "4 workers": ("--workers", "4"),
    "a process each": ("--process-per-session",),
}
"""SmartProxy's processes, and the switches for them."""


@contextmanager
def rival(name: str, folder: Path, certificates: dict[str, Path], station: int) -> Iterator[Proxy]:
    """Run another program as two hops."""
    folder.mkdir()
    hops = Hops(
        folder=folder,
        port=held_port(),
        tunnel=held_port(),
        between=held_port(),
        station=station,
        **certificates,
    )
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for argv in RIVALS[name](hops):
            with (folder / "output.log").open("ab") as output:
                processes.append(subprocess.Popen(resolved(argv), stdout=output, stderr=output, cwd=folder))
            time.sleep(0.5)
        for process in processes:
            if process.poll() is not None:
                raise LoadFailed(f"{name} ended: {(folder / 'output.log').read_text()[-500:]}")
        inner, outer = processes
        yield Proxy(name, hops.port, outer.pid, inner.pid)
    finally:
        for process in processes:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    cpus = [
        line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")
    ]
    versions = {"SmartProxy": __version__, "Python": platform.python_version(), "Linux": platform.release()}
    for name, argv in VERSION.items():
        if found(name):
            done = subprocess.run(resolved(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            words = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
            versions[name] = words.group() if words else "?"
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "versions": versions,
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


async def compare(reactor: Any, arguments: argparse.Namespace) -> None:
    """Start everything, measure, and print."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    authority = TestCa.root("benchmark CA")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    certificates = {"authority": folder / "ca.pem"}
    for name in ("outer", "inner"):
        made = authority.issue(f"{name}.example", sans=[f"DNS:{name}.example"])
        certificates[name] = folder / f"{name}.pem"
        certificates[name].write_bytes(made.chain_pem + made.key_pem)
    partner: CredentialFiles = authority.issue("partner.example").write(folder, "partner")
    load = Load(program=arguments.program.absolute(), partner=partner, station_port=held_port())
    facts = machine()
    arrangements = ARRANGEMENTS if arguments.arrangements else {figures.OURS: ONE_PROCESS}
    sites = []
    for number, (name, switches) in enumerate(arrangements.items()):
        (folder / f"site{number}").mkdir()
        sites.append((name, BenchSite(reactor, folder / f"site{number}", load.station_port, arrangement=switches)))
    with ExitStack() as running:
        proxies = []
        for name in ("haproxy",) if arguments.arrangements else RIVALS:
            if not found(name):
                print(f"bench: {name} is missing", file=sys.stderr)
                continue
            try:
                proxies.append(running.enter_context(rival(name, folder / name, certificates, load.station_port)))
            except LoadFailed as failed:
                print(f"bench: {failed}", file=sys.stderr)
        try:
            for name, site in sites:
                await site.open(partner)
                assert site.server is not None and site.client is not None
                proxies.append(Proxy(name, site.port, site.server.pid, site.client.pid, arguments.arrangements))
            bench = Bench(
                load,
                proxies,
                rounds=arguments.rounds or (3 if arguments.quick else 5),
                seconds=arguments.seconds or (0.7 if arguments.quick else 1.0),
                quick=arguments.quick,
            )
            if arguments.arrangements:
                await deferToThread(bench.arrangements)
            elif arguments.growth:
                await deferToThread(growth.run, bench)
            else:
                await deferToThread(bench.run, arguments.only)
        finally:
            for _, site in sites:
                await site.stop()
    shutil.rmtree(folder, ignore_errors=True)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": facts, "rows": bench.rows}, indent=1) + "\n")
    print(f"{facts['cpu']}, {facts['cores']} cores, load {facts['load']:.2f} before, {facts['time']}")
    print(", ".join(f"{name} {version}" for name, version in facts["versions"].items()))
    print("median (least-most) of the rounds, and the ratio to the first column")
    for line in figures.lines(bench.rows):
        print(line)


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the generator, made of sessions.c")
    parser.add_argument("--json", type=Path, required=True, help="file for all that is measured")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, streams and sessions: about 3 minutes")
    parser.add_argument("--only", choices=("rest", "files", "sessions", "bulk", "idle"), help="one of the tests")
    parser.add_argument(
        "--arrangements", action="store_true", help="SmartProxy in one process, with workers, and a process each"
    )
    parser.add_argument("--growth", action="store_true", help="how cost grows, for the plots: about 10 minutes")
    parser.add_argument("--rounds", type=int, help="[5, quick 3]")
    parser.add_argument("--seconds", type=float, help="of each stream [1, quick 0.7]")
    arguments = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(compare(reactor, arguments)), ())


if __name__ == "__main__":
    main()
