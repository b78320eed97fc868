"""What floods do to a site of real daemons: who gets in, what waits, what it costs.

Run by ``make bench-floods``; a name runs one of them: ``silent``, ``tunnel``, ``backend``, ``waiting``. Loopback only,
each flood for some seconds. Attackers, callers and the site share the machine, so figures of a busy machine mean
little. The server and the client have as many workers as they have by themselves, or those of ``--workers``; a daemon's
figures are those of all its processes. An older version is measured with its checkout in ``PYTHONPATH``.

Goals: 95 % of the partners' calls get in while strangers connect from 6,000 addresses 7,800 times a second; a client
that is started again is back within 5 s at 2,200 connections a second to the tunnel's port; a client goes on calling
the backend while 510 connections drip headers and 300 calls without a token send bodies; a verified connection that
says no SSID costs 40 KiB at most. The floods that go as fast as they can show what is left where strangers take the
machine's processors, too.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

sys.path.insert(0, str(Path(__file__).parent))

from measures import counted_seconds, resident_kib, tree

import smartproxy
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.commands import ESID, SSID
from smartproxy.oftp2.stream import frame
from smartproxy.policy.versions import Part
from smartproxy.testing.pki import CredentialFiles, self_signed
from smartproxy.testing.programs import Program, ProgramFailed, environment
from smartproxy.testing.site import Site

ATTACK: Final = Path(__file__).with_name("floods_attack.py")
CODE: Final = "O0013000001ACME"
FLOOD_SECONDS: Final = 20.0
PARTNERS_RATE: Final = 7_800
TUNNEL_RATE: Final = 2_200
CALLS: Final = 40


class Flooded:
    """A site that is attacked.

    :param workers: of the server and the client each; as many as they have by themselves if not given.
    """

    def __init__(self, reactor: Any, folder: Path, workers: int | None) -> None:
        self.reactor = reactor
        self.site = Site(reactor, folder, workers=workers)
        self.files: CredentialFiles
        self._number = 0

    async def start(self) -> None:
        """Make and start the site, with one partner."""
        await self.site.create()
        shown = self_signed("oftp.acme.example")
        self.files = shown.write(self.site.certificates, "acme")
        await self.site.smartproxy(
            "partner", "add", "ACME", "--code", CODE, "--certificate", str(self.files.certificate)
        )
        await self.site.start_station()
        await self.site.start()

    def run(self, what: str, port: int, **options: object) -> Program:
        """Start an attacker, or callers."""
        argv = [sys.executable, str(ATTACK), what, "--port", str(port)]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        return self.program(what, argv, prints=True)

    def again(self, daemon: Program) -> Program:
        """Start a daemon that has ended once more, with a log of its own."""
        return self.program(daemon.name.partition(".")[0], daemon.argv[:-1], prints=False)

    def program(self, name: str, argv: list[str], *, prints: bool) -> Program:
        """Start a program of the site, which ends with it.

        :param prints: whether it prints JSON; otherwise its last argument is the log, which is added.
        """
        self._number += 1
        name = f"{name}.{self._number}"
        journal = self.site.logs / f"{name}.jsonl"
        program = Program(
            self.reactor,
            name,
            argv if prints else [*argv, str(journal)],
            folder=self.site.folder,
            environment=environment(),
            output=self.site.logs / f"{name}.log",
            journal=journal,
            prints=prints,
        )
        self.site.programs.append(program)
        return program

    async def done(self, program: Program) -> dict[str, Any]:
        """What it says at its end."""
        told = await program.wait(lambda record: record.get("event") == "Done", "its end")
        return {name: value for name, value in told.items() if name != "event"}

    def callers(self, what: str, **options: object) -> Program:
        """Partners that call."""
        offer = SSID(lev=5, code=CODE, pswd="", sdeb=4096, sr="B", cmpr="Y", rest="Y", spec="N", cred=64, auth="N")
        return self.run(
            what,
            self.site.port,
            ca=self.site.anchor,
            certificate=self.files.certificate,
            key=self.files.key,
            opening=frame(encode(offer)).hex(),
            end=frame(encode(ESID(reas=0, reast=""))).hex(),
            **options,
        )

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await deferLater(self.reactor, seconds)


def cost(program: Program | None) -> tuple[float, int]:
    """CPU seconds that a daemon has used so far, and the octets that it occupies now; its workers count with it."""
    assert program is not None
    processes = tree([program.pid])
    return counted_seconds(processes), resident_kib(processes, "Pss") * 1024


def told(program: Program | None, name: str) -> int:
    """How many events of this name a daemon has written."""
    assert program is not None
    program.read()
    return sum(record.get("name") == name for record in program.records)


def mib(octets: int) -> str:
    """In MiB."""
    return f"{octets / 2**20:.1f} MiB"


def say(*words: object) -> None:
    """Print a line."""
    print(*words, flush=True)


async def silent(flooded: Flooded) -> None:
    """Partners call while strangers connect to the partners' port from 6,000 addresses, and say nothing or little."""
    quiet = await flooded.done(flooded.callers("sessions", count=CALLS, seconds=4))
    say("partners' port, no flood:", json.dumps(quiet))
    for kind, rate in (("silent", PARTNERS_RATE), ("silent", 0), ("garbage", 0), ("hello", 0)):
        attack = flooded.run(kind, flooded.site.port, seconds=FLOOD_SECONDS + 6, rate=rate)
        await flooded.wait(2)
        before, _ = cost(flooded.site.server)
        calls = await flooded.done(flooded.callers("sessions", count=CALLS, seconds=FLOOD_SECONDS - 4))
        after, octets = cost(flooded.site.server)
        flood = await flooded.done(attack)
        say(f"partners' port, {kind} flood of {flood['rate']} connections a second:", json.dumps(calls))
        refused = told(flooded.site.server, "connection.refused")
        say(f"   server: {after - before:.1f} s CPU, {mib(octets)}; refusals told: {refused}")
        await flooded.wait(3)


async def tunnel(flooded: Flooded) -> None:
    """A client is started again while strangers connect to the tunnel's port."""
    site = flooded.site
    client = site.client
    assert client is not None
    kinds = [("none", 0), ("silent", 0), ("silent", 6_000), ("garbage", 6_000), ("hello", 6_000), ("hello", 0)]
    for kind, sources in kinds:
        await client.stop()
        flood = None
        if kind != "none":
            flood = flooded.run(kind, site.tunnel_port, seconds=FLOOD_SECONDS, rate=TUNNEL_RATE, sources=sources)
            await flooded.wait(2)
        before, begun = cost(site.server)[0], flooded.reactor.seconds()
        client = flooded.again(client)
        try:
            await client.wait_for_event("client.started", FLOOD_SECONDS - 4)
            started = flooded.reactor.seconds()
            await client.wait_for_event("tunnel.up", FLOOD_SECONDS - 4)
            up = flooded.reactor.seconds()
            how = f"has started after {started - begun:.1f} s and is back {up - started:.1f} s later"
        except ProgramFailed:
            how = "is not back"
        spent = (cost(site.server)[0] - before) / (flooded.reactor.seconds() - begun)
        rate = 0 if flood is None else (await flooded.done(flood))["rate"]
        where = f"{sources} addresses" if sources else "the client's own address"
        say(f"tunnel's port, flood: {kind}, {rate} a second from {where}: client {how}, {spent:.0%} CPU of the server")


async def backend(flooded: Flooded) -> None:
    """A client calls the backend while strangers hold connections and send bodies."""
    site, port = flooded.site, flooded.site.backend_port
    token = site.folder / "client" / "token"
    us = Part(program="smartproxy-client", version=smartproxy.__version__)

    async def measure(what: str, *attacks: Program) -> None:
        await flooded.wait(3)
        before = cost(site.backend)[0]
        calls = flooded.run(
            "polls",
            port,
            ca=site.certificates / "backend.crt",
            token=token,
            version=us.version,
            protocol=us.spoken,
            seconds=12,
            patience=10,
        )
        answers = await flooded.done(calls)
        after, octets = cost(site.backend)
        if what == "quiet" and not answers["answered"]:
            raise RuntimeError(f"the backend answers no call of a client: {answers['not']}")
        say(f"backend, {what}:", json.dumps(answers), f"{(after - before) / 12:.0%} CPU, {mib(octets)}")
        for attack in attacks:
            say("  ", attack.name, json.dumps(await flooded.done(attack)))

    await measure("quiet")
    for sources in (0, 510):
        where = f"{sources} addresses" if sources else "the client's own address"
        drips = flooded.run("drip", port, count=510, sources=sources, seconds=20)
        await measure(f"510 dripping from {where}", drips)
        stuck = flooded.run("bodies", port, count=300, sources=sources, seconds=15)
        await measure(f"300 bodies without a token from {where}", stuck)
    await measure("after all")


async def waiting(flooded: Flooded) -> None:
    """Verified connections that say no SSID, and what they leave behind."""
    site = flooded.site
    await site.smartproxy("settings", "set", "server.limits.sessions_per_partner", "1000")
    await flooded.done(flooded.callers("sessions", count=CALLS, seconds=2))
    await flooded.wait(1)
    count = 500
    for turn in (1, 2):
        _, before = cost(site.server)
        held = flooded.callers("idle", count=count, seconds=2)
        await held.wait(lambda record: record["event"] == "Connected", "connections")
        _, during = cost(site.server)
        await flooded.done(held)
        await flooded.wait(6)
        _, after = cost(site.server)
        each, kept = (during - before) / count / 1024, (after - before) / count / 1024
        say(f"before the SSID, turn {turn}: {count} connections of {each:.1f} KiB; afterwards {kept:.1f} KiB each stay")


FLOODS: Final[dict[str, Callable[[Flooded], Coroutine[Any, Any, None]]]] = {
    "silent": silent,
    "tunnel": tunnel,
    "backend": backend,
    "waiting": waiting,
}


async def measure(reactor: Any, arguments: argparse.Namespace) -> None:
    """Run floods, each against a site of its own."""
    workers = "workers as by default" if arguments.workers is None else f"{arguments.workers} workers"
    say(f"version {smartproxy.__version__} of {Path(smartproxy.__file__).parent.parent}, {workers}")
    for name in arguments.floods or FLOODS:
        with tempfile.TemporaryDirectory(prefix="floods-") as folder:
            flooded = Flooded(reactor, Path(folder), arguments.workers)
            try:
                await flooded.start()
                await FLOODS[name](flooded)
            finally:
                await flooded.site.stop()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("floods", nargs="*", metavar="FLOOD", help=f"one of {', '.join(FLOODS)} [all]")
    parser.add_argument("--workers", type=int, help="of the server and the client each [what they have by themselves]")
    arguments = parser.parse_args()
    if unknown := set(arguments.floods) - FLOODS.keys():
        parser.error(f"no such flood: {', '.join(sorted(unknown))}")
    react(lambda reactor: Deferred.fromCoroutine(measure(reactor, arguments)), ())


if __name__ == "__main__":
    main()
