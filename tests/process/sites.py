"""Whole sites of real daemons for tests.

What an operator does once (authority, licence, client, certificates, partners) is done once for all tests, with the
project's own commands; every test case then starts daemons of its own on a copy of it, on free loopback ports. The
tests of one class share a site; it ends when the next class asks for one, and every process dies with the tests.

Server and client have a worker for each core, as an operator's have. A class that looks into one process (its memory,
what is planted in it) has ``have_workers = 0``, and one that is about workers says how many.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from smartproxy.ctl.asking import Connection
from smartproxy.ctl.protocol import AskSessions, Request
from smartproxy.testing.pki import CredentialFiles, TestCa, TestCredential, self_signed
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import POLL_SECONDS, Program, ProgramFailed
from smartproxy.testing.site import TWISTD, Site
from tests.process.clock import LIMIT_SECONDS, PATIENCE_SECONDS
from tests.process.lines import Caller, ScriptedStation, Session

reactor: Any = installed_reactor

ACME, BOLT = "O0013000001ACME", "O0013000002BOLT"
"""ACME's certificate is pinned; BOLT's comes from a CA with a revocation list."""
BOLTS_CA = "trust-center"


@attrs.frozen(kw_only=True)
class Made:
    """What was made once.

    :ivar folder: the site's files.
    :ivar identity: the certificate and key that the server shows to partners.
    :ivar bolts_ca: the authority that BOLT's certificate comes from.
    """

    folder: Path
    proxy_id: str
    authority: TestCa
    acme: CredentialFiles
    bolt: CredentialFiles
    bolts_credential: TestCredential
    bolts_ca: TestCa


class TestedSite(Site):
    """A site on a copy of what was made, whose daemons are started one by one.

    :ivar program: what the server and the client are run with, in the place of twistd.
    """

    def __init__(self, folder: Path, made: Made, workers: int | None = None) -> None:
        super().__init__(reactor, folder, workers=workers)
        shutil.copytree(made.folder, folder, dirs_exist_ok=True)
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        self._environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        self.proxy_id = made.proxy_id
        self.authority = made.authority
        self.program = ""
        # A daemon that is started again finds its port free.
        self.backend_port, self.tunnel_port = held_port(), held_port()

    def start_second_client(self, server: str, token: Path | None = None) -> Program:
        """Start a client of this server, wherever that is, beside the one that runs.

        :param token: its token's file; that of the first client if not given.
        """
        folder = self.folder / "second-client"
        folder.mkdir(exist_ok=True)
        self._put_log_away(folder.name)
        argv = [*TWISTD, "-n", "--pidfile=", "smartproxy-client", *self._client_switches(server)]
        if token is not None:
            argv += ["--token-file", str(token)]
        argv += ["--state-dir", str(folder), "--log-json", str(self._journal(folder.name))]
        return self._program(folder.name, argv, prints=False)

    def copy_store(self, name: str) -> None:
        """Copy the backend's store with SQLite's own backup, while the backend runs."""
        database = contextlib.closing(sqlite3.connect(self.state / "smartproxy.db"))
        with database as store, contextlib.closing(sqlite3.connect(self.folder / name)) as copy:
            store.backup(copy)

    def put_store_back(self, name: str) -> None:
        """Put a copy in the place of the store, of which no program has a part open."""
        for left in self.state.glob("smartproxy.db-*"):
            left.unlink()
        shutil.copyfile(self.folder / name, self.state / "smartproxy.db")

    def newest(self) -> int:
        """The number of the newest generation in the store."""
        with contextlib.closing(sqlite3.connect(self.state / "smartproxy.db")) as store:
            ((number,),) = store.execute("SELECT max(number) FROM generations").fetchall()
        return int(number)

    async def in_force(self, *logs: "Log") -> None:
        """Wait until daemons have the newest generation, which one before it does not stand for."""
        for log in logs:
            await log.event("configuration.accepted", generation=self.newest())

    async def listening(self, log: "Log") -> None:
        """Wait until partners can connect."""
        self.port = (await log.event("listener.opened", address="127.0.0.1"))["port"]

    def _daemon(self, name: str, *arguments: str, state: str) -> Program:
        if not self.program or name == "smartproxy-backend":
            return super()._daemon(name, *arguments, state=state)
        argv = [sys.executable, "-c", self.program, "-n", "--pidfile=", name, *arguments]
        argv += ["--state-dir", str(self.folder / state), "--log-json", str(self._journal(name))]
        return self._program(name, argv, prints=False)


class Log:
    """A daemon's log from this moment on.

    :param whole: from its beginning.
    """

    def __init__(self, program: Program | None, *, whole: bool = False) -> None:
        assert program is not None
        program.read()
        self._program = program
        self._known = 0 if whole else len(program.records)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of this name so far."""
        self._program.read()
        return [record for record in self._program.records[self._known :] if record.get("name") == name]

    async def event(self, name: str, seconds: float = PATIENCE_SECONDS, **fields: object) -> dict[str, Any]:
        """The first event of this name with these fields."""
        found: list[dict[str, Any]] = []

        def came() -> bool:
            found[:] = [
                event for event in self.events(name) if all(event.get(key) == value for key, value in fields.items())
            ]
            return bool(found)

        try:
            await until(came, f"{name} {fields} in the log of {self._program.name}", seconds)
        except TimeoutError:
            last = "\n".join(map(str, self._program.records[-10:]))
            raise ProgramFailed(f"{self._program.name}: no {name} {fields}; its last events:\n{last}") from None
        return found[0]


async def until(done: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until something is so; how long it took.

    :raises TimeoutError: if it does not become so in time.
    """
    begun = reactor.seconds()
    while not done():
        if reactor.seconds() - begun > seconds:
            raise TimeoutError(f"not within {seconds} s: {what}")
        await deferLater(reactor, POLL_SECONDS)
    waited: float = reactor.seconds() - begun
    return waited


def ask(state: Path, program: str, request: Request[Any]) -> Any:
    """What a daemon answers on the control socket in its state folder."""
    with Connection(state / f"{program}.sock") as connection:
        return connection.ask(request)


async def until_listed(state: Path, program: str, sessions: Collection[str]) -> None:
    """Wait until a daemon has these sessions and no other.

    A partner that was sent its ESID is seen to be gone a moment later: until then its session is listed, and ends.
    """
    wanted = set(sessions)
    await until(
        lambda: {each.session for each in ask(state, program, AskSessions()).sessions} == wanted,
        f"{program} has the sessions {sorted(wanted)}",
    )


async def _make() -> Made:
    """Do the operator's part."""
    folder = Path(tempfile.mkdtemp(prefix="made-", dir=Path.cwd()))
    site = Site(reactor, folder)
    await site.create()
    ca = TestCa.root("Trust Center")
    bolt = ca.issue("oftp.bolt.example", serial_number=BOLT)
    acme = self_signed("oftp.acme.example").write(site.certificates, "acme")
    bolts = bolt.write(site.certificates, "bolt")
    anchor, crl = site.certificates / "ca.crt", site.certificates / "ca.crl"
    anchor.write_bytes(ca.certificate_pem)
    crl.write_bytes(ca.crl([]))
    await site.smartproxy("partner", "add", "ACME", "--code", ACME, "--certificate", str(acme.certificate))
    # The station's connections are sessions of tests, one after the other.
    await site.smartproxy("settings", "set", "client.station.retry", "0")
    await site.smartproxy("ca", "add", BOLTS_CA, str(anchor), "--revocation", "require")
    await site.smartproxy("crl", "load", str(crl))
    await site.smartproxy("partner", "add", "BOLT", "--code", BOLT, "--ca", BOLTS_CA, "--subject-serial", BOLT)
    return Made(
        folder=folder,
        proxy_id=site.proxy_id,
        authority=site.authority,
        acme=CredentialFiles(certificate=acme.certificate, key=acme.key),
        bolt=bolts,
        bolts_credential=bolt,
        bolts_ca=ca,
    )


async def stop(programs: Sequence[Program]) -> None:
    """End processes of a site that is not wanted any more."""
    for program in programs:
        if program.status is None:
            os.kill(program.pid, signal.SIGKILL)
            await program.end()


class SiteCase(TestCase):
    """Tests that share one site.

    Sessions end with the test that opened them.

    :cvar settings: what is set in the backend, beside the addresses.
    :cvar listeners: where partners connect.
    :cvar have_workers: of the server and the client each; as many as an operator has who says nothing if not given.
    :ivar site: the site.
    :ivar station: the station, for which the test speaks.
    :ivar acme: calls as ACME.
    :ivar bolt: calls as BOLT.
    """

    timeout = LIMIT_SECONDS
    settings: ClassVar[Sequence[str]] = ()
    listeners: ClassVar[str] = "127.0.0.1:0"
    have_workers: ClassVar[int | None] = None
    server_switches: ClassVar[Sequence[str]] = ("--drain", "2")
    client_switches: ClassVar[Sequence[str]] = ("--drain", "2")

    _made: ClassVar[Made | None] = None
    _running: ClassVar[tuple[type[TestCase], TestedSite, int] | None] = None

    site: TestedSite

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Begin."""
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Have the class's site run, and a station."""
        self.made = await self._have_made()
        running = SiteCase._running
        if running is not None and running[0] is not type(self):
            SiteCase._running = None
            await stop(running[1].programs)
            running = None
        self.station = ScriptedStation(reactor, held_port() if running is None else running[2])
        await self.station.listen()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.station.stop()))
        if running is None:
            self.site = await self._start()
            SiteCase._running = (type(self), self.site, self.station.port)
        else:
            self.site = running[1]
            await self.until_quiet()
        self.acme = Caller(reactor=reactor, code=ACME, files=self.made.acme)
        self.bolt = Caller(reactor=reactor, code=BOLT, files=self.made.bolt)

    @staticmethod
    async def _have_made() -> Made:
        if SiteCase._made is None:
            SiteCase._made = await _make()
        return SiteCase._made

    async def _start(self) -> TestedSite:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        site = TestedSite(folder, self.made, self.have_workers)
        await site.smartproxy(
            *("settings", "set", "client.station.host", "127.0.0.1", "client.station.port", str(self.station.port)),
            *("server.listeners", self.listeners, *self.settings),
        )
        await site.start_backend()
        server = Log(await site.start_server(*self.server_switches))
        await site.start_client(*self.client_switches)
        await site.listening(server)
        return site

    async def session(self, caller: Caller) -> Session:
        """Open a session; it is gone when the test ends."""
        session = await caller.session(self.site.port, self.station)
        self.addCleanup(lambda: Deferred.fromCoroutine(self._gone(session)))
        return session

    async def _gone(self, session: Session) -> None:
        for line in (session.partner, session.station):
            line.hang_up()
            await line.ended

    async def until_listed(self, daemon: str, sessions: Collection[str]) -> None:
        """Wait until the server or the client has these sessions and no other."""
        await until_listed(self.site.folder / daemon, f"smartproxy-{daemon}", sessions)

    async def until_quiet(self) -> None:
        """Wait until no daemon that runs has a session: those of the test before may still end."""
        for daemon, program in (("server", self.site.server), ("client", self.site.client)):
            if program is not None and program.status is None:
                await self.until_listed(daemon, ())

    async def ended(self) -> None:
        """Wait until both daemons have ended all sessions that are known here."""
        for program in (self.site.server, self.site.client):
            assert program is not None
            program.read()

            def balanced(program: Program = program) -> bool:
                program.read()
                names = [record.get("name") for record in program.records]
                return names.count("session.started") == names.count("session.ended")

            await until(balanced, f"all sessions of {program.name} ended")
