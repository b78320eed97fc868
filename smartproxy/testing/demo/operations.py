"""What an operator's day has: the station calls a partner, a licence is renewed, the server drains.

Each is shown as a line with counts that come from both ends of the sessions and from the daemons' logs.
"""

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
from twisted.internet.error import ConnectError

from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy.licence import read
from smartproxy.testing.demo.files import SourceFile
from smartproxy.testing.demo.partners import DemoPartner
from smartproxy.testing.demo.transfers import DemoEnds, settle
from smartproxy.testing.held import HeldSession
from smartproxy.testing.hostile import Attacker, greet
from smartproxy.testing.programs import Program
from smartproxy.testing.site import STATION_CODE, Site

HEADS = ("operation", "what was counted")
HELD_SESSIONS = 4
NEW_CALLS = 3
RENEWED_UNTIL = "1y"

Event = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class DemoOperation:
    """One line of the table.

    :ivar counted: what happened, with the numbers.
    :ivar faults: what is not as it should be; nothing of that, and the line is right.
    """

    name: str
    counted: str
    faults: tuple[str, ...] = ()

    def cells(self) -> list[str]:
        """The line's cells."""
        return [self.name, f"WRONG: {'; '.join(self.faults)}; {self.counted}" if self.faults else self.counted]


def judged(name: str, counted: str, wanted: Mapping[str, tuple[object, object]]) -> DemoOperation:
    """A line about an operation.

    :param wanted: what was counted and what it has to be, by what it is.
    """
    faults = tuple(f"{what}: {found}, not {right}" for what, (found, right) in wanted.items() if found != right)
    return DemoOperation(name=name, counted=counted, faults=faults)


def ended(program: Program | None, direction: str, since: int = 0) -> list[Event]:
    """The sessions that a daemon's log says ended.

    :param since: the number of records to skip.
    """
    assert program is not None
    program.read()
    return [
        record
        for record in program.records[since:]
        if record.get("name") == "session.ended" and record.get("direction") == direction
    ]


async def outgoing_call(
    site: Site, partner: DemoPartner, there: Sequence[SourceFile], back: Sequence[SourceFile]
) -> tuple[DemoEnds, DemoOperation]:
    """The station calls a partner through client and server.

    :param there: what the station sends.
    :param back: what waits for it at the partner.
    """
    common = ["--json", "--inbox"]
    waits = [word for file in back for word in ("--send", STATION_CODE, file.specification())]
    answering = site.answering(
        "partner-answers", [*common, str(site.folder / "partners"), *waits], code=partner.code, files=partner.files
    )
    called = (await answering.wait(lambda record: record["event"] == "Listening", "listening"))["port"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await site.smartproxy(
        *("partner", "outbound", partner.name, "--host", "127.0.0.1", "--port", str(called)),
        *("--verify", "pin", "--listener", str(port)),
    )
    assert site.client is not None
    await site.client.wait(
        lambda record: record.get("name") == "listener.opened" and record["port"] == port, f"port for {partner.name}"
    )
    sends = [word for file in there for word in ("--send", file.specification())]
    calling = site.station_call("station-calls", [*common, str(site.inbox), *sends], port=port, code=partner.code)
    status = await calling.end()
    calling.read()
    over = "session.ended"
    for daemon in (site.server, site.client):
        assert daemon is not None
        await daemon.wait(
            lambda record: record.get("name") == over and record.get("direction") == "outbound", f"{over}, outbound"
        )
    await settle(site.reactor, answering)
    ends = DemoEnds(partner=answering.records, station=calling.records)
    tls = [record["tls"] for record in ends.partner if record["event"] == "Closed"]
    sessions = [ended(daemon, "outbound") for daemon in (site.server, site.client)]
    counts = [[(each["outcome"], each["files_out"], each["files_in"]) for each in found] for found in sessions]
    await answering.stop()
    return ends, judged(
        "outgoing call",
        f"the station called {partner.name}, {', '.join(map(str, tls))}: {len(there)} files there, {len(back)} back; "
        f"server and client counted {len(sessions[0])} and {len(sessions[1])} outbound sessions, completed",
        {
            "status of the station's call": (status, 0),
            "server's count": (counts[0], [("completed", len(there), len(back))]),
            "client's count": (counts[1], [("completed", len(there), len(back))]),
        },
    )


async def renewal_and_drain(site: Site, partner: DemoPartner) -> list[DemoOperation]:
    """Renew the licence, then have the server drain, in the middle of sessions that go on; start it again."""
    caller = Attacker(
        reactor=site.reactor,
        host="127.0.0.1",
        port=site.port,
        credential=partner.files,
        code=partner.code,
        station_code=STATION_CODE,
    )
    held = [await HeldSession(caller).open() for _ in range(HELD_SESSIONS)]
    for number, session in enumerate(held, 1):
        await session.begin_file(f"{partner.name}-HELD-{number}")
    return [await _renewal(site, held), await _drain(site, caller, held)]


def _days_left(site: Site) -> int:
    now = datetime.now(UTC)
    return read(site.licence.read_text(), site.proxy_id, now).days_left(now)


async def _renewal(site: Site, held: Sequence[HeldSession]) -> DemoOperation:
    daemons = [site.backend, site.server, site.client]
    assert site.server is not None
    before = _days_left(site)
    begun = site.reactor.seconds()
    await site.smartproxy("licence", "extend", "--until", RENEWED_UNTIL)
    await site.server.wait_for_event("licence.written")
    seconds = site.reactor.seconds() - begun
    after = _days_left(site)
    ran, went_on = len(held), sum(session.live for session in held)
    restarted = sum(daemon is None or daemon.status is not None for daemon in daemons)
    return judged(
        "licence renewal",
        f"{before} days left, then {after}, {seconds:.1f} s after the command began; "
        f"{went_on} of {ran} sessions went on, {restarted} of {len(daemons)} daemons restarted",
        {"renewed": (after > before, True), "sessions that went on": (went_on, ran), "restarted": (restarted, 0)},
    )


async def _drain(site: Site, caller: Attacker, held: Sequence[HeldSession]) -> DemoOperation:
    server = site.server
    assert server is not None and site.station is not None
    server.read()
    since = len(server.records)
    known = len(site.station.records)
    begun = site.reactor.seconds()
    os.kill(server.pid, signal.SIGTERM)
    stopping = await server.wait_for_event("server.stopping")
    await server.wait(lambda record: record.get("name") == "listener.closed", "listener.closed")
    refused = 0
    for _ in range(NEW_CALLS):
        try:
            await greet(caller)
        except ConnectError:
            refused += 1
    seen = []
    for number, session in enumerate(held, 1):
        await session.end_file(f"file {number} of a drain\r\n".encode())
        seen.append(await session.end())
    status = await server.end()
    seconds = site.reactor.seconds() - begun
    completed = [each["outcome"] for each in ended(server, "inbound", since)].count("completed")
    await settle(site.reactor, site.station)
    files = [record["event"] for record in site.station.records[known:]].count("FileReceived")
    server = await site.start_server()
    site.port = (await server.wait_for_event("listener.opened"))["port"]
    again = await greet(attrs.evolve(caller, port=site.port))
    return judged(
        "drain",
        f"{stopping['sessions']} sessions ran; {refused} of {NEW_CALLS} new calls refused; {completed} sessions ended "
        f"in order, with {files} files; the server ended with status {status} after {seconds:.1f} s, and serves again",
        {
            "sessions that ran": (stopping["sessions"], len(held)),
            "new calls refused": (refused, NEW_CALLS),
            "partners' sessions": ([each.reason for each in seen], [None] * len(held)),
            "sessions ended in order": (completed, len(held)),
            "files": (files, len(held)),
            "status": (status, 0),
            "the next call": (again.reason, EsidReason.NORMAL),
        },
    )
