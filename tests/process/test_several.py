"""Several clients on a server, several servers on a client: who gets a session, and what is lost with one of them."""

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from smartproxy.ctl.protocol import AskSessions, AskStatus, Request
from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.held import HeldSession
from smartproxy.testing.hostile import Attacker
from smartproxy.testing.pki import self_signed
from smartproxy.testing.programs import Program
from smartproxy.testing.site import STATION_CODE
from tests.process.clock import LIMIT_SECONDS, Stopwatch
from tests.process.several import SeveralSite, next_event, told
from tests.process.sites import ask, until, until_listed

reactor: Any = installed_reactor

CODE = "O0013000001ACME"
CLOSED_SECONDS, TOLD_SECONDS, BACK_SECONDS = 1.0, 2.0, 5.0
"""From the loss of the last client: the partners' port is closed, partners are told; from its return: it is open."""


class SeveralTests(TestCase):
    """Real daemons."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Set up a site with one partner; station and backend run."""
        return Deferred.fromCoroutine(self.set_up())

    async def set_up(self) -> None:
        """The site, the operator's way."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = site = SeveralSite(reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(site.stop()))
        await site.prepare()
        self.files = self_signed("oftp.acme.example").write(site.certificates, "acme")
        await site.smartproxy("partner", "add", "ACME", "--code", CODE, "--certificate", str(self.files.certificate))

    async def session(self, port: int) -> HeldSession:
        """A session of ACME that stays open."""
        caller = Attacker(
            reactor=reactor, host="127.0.0.1", port=port, credential=self.files, code=CODE, station_code=STATION_CODE
        )
        return await HeldSession(caller).open()

    def ask(self, name: str, program: str, request: Request[Any]) -> Any:
        """Ask a daemon over its control socket."""
        return ask(self.site.folder / name, program, request)

    def carried(self, server: str) -> dict[str, list[str]]:
        """The sessions that each client carries, as the server tells."""
        found: dict[str, list[str]] = {}
        for session in self.ask(server, "smartproxy-server", AskSessions()).sessions:
            found.setdefault(session.client, []).append(session.session)
        return found

    async def kill(self, program: Program, *others: Program) -> Stopwatch:
        """Kill a daemon; the time from then on, of the others."""
        begun = Stopwatch(*others)
        os.kill(program.pid, signal.SIGKILL)
        await program.end()
        return begun

    async def test_several_clients(self) -> None:
        """Sessions are shared evenly; a killed client takes its own with it and no others; the last one, the port."""
        site = self.site
        server = site.run_server("dmz", await site.make_server("dmz"))
        tunnel = (await server.wait_for_event("server.started"))["port"]
        tokens = {name: await site.make_client(name) for name in ("one", "two")}
        clients = {name: site.run_client(name, token, [tunnel]) for name, token in tokens.items()}
        for client in clients.values():
            await client.wait_for_event("tunnel.up")
        port = (await server.wait_for_event("listener.opened"))["port"]
        held = [await self.session(port) for _ in range(4)]
        carried = self.carried("dmz")
        self.assertEqual({name: len(sessions) for name, sessions in carried.items()}, {"one": 2, "two": 2})

        killed = await self.kill(clients["one"], server)
        await until(lambda: len([session for session in held if not session.live]) >= 2, "its sessions are lost")
        self.assertLess(killed.seconds(), TOLD_SECONDS)
        await until_listed(site.folder / "dmz", "smartproxy-server", carried["two"])
        self.assertEqual(self.carried("dmz"), {"two": carried["two"]})
        self.assertEqual(told(server, "listener.closed"), 0)
        held = [session for session in held if session.live]
        self.assertEqual(len(held), 2)
        held.append(await self.session(port))
        self.assertEqual(len(self.carried("dmz")["two"]), 3)

        closed = told(server, "listener.closed")
        killed = await self.kill(clients["two"], server)
        await next_event(server, "listener.closed", closed)
        self.assertLess(killed.seconds(), CLOSED_SECONDS)
        for seen in await gatherResults([session.seen for session in held]):
            self.assertIs(seen.reason, EsidReason.UNSPECIFIED_ABORT, seen)
        self.assertLess(killed.seconds(), TOLD_SECONDS)
        self.assertEqual(self.ask("dmz", "smartproxy-server", AskStatus()).verdict, "no-client")

        opened = told(server, "listener.opened")
        started = told(clients["two"], "client.started")
        back = site.run_client("two", tokens["two"], [tunnel])
        await next_event(back, "client.started", started)
        began = Stopwatch(server, back)
        port = (await next_event(server, "listener.opened", opened))["port"]
        self.assertLess(began.seconds(), BACK_SECONDS)
        self.assertTrue((await self.session(port)).live)

    async def test_several_servers(self) -> None:
        """A client serves both; the one that is killed takes its own sessions with it; it is served when it is back."""
        site = self.site
        licences = {name: await site.make_server(name) for name in ("east", "west")}
        servers = {name: site.run_server(name, licence) for name, licence in licences.items()}
        tunnels = {name: (await server.wait_for_event("server.started"))["port"] for name, server in servers.items()}
        client = site.run_client("inner-1", await site.make_client("inner-1"), list(tunnels.values()))
        ports = {name: (await server.wait_for_event("listener.opened"))["port"] for name, server in servers.items()}
        held = {name: await self.session(port) for name, port in ports.items()}
        self.assertEqual(self.ask("inner-1", "smartproxy-client", AskStatus()).verdict, "ok")
        self.assertEqual(len(self.ask("inner-1", "smartproxy-client", AskSessions()).sessions), 2)

        downs = told(client, "tunnel.down")
        await self.kill(servers["east"])
        await next_event(client, "tunnel.down", downs)
        await held["east"].seen
        self.assertTrue(held["west"].live)
        status = self.ask("inner-1", "smartproxy-client", AskStatus())
        self.assertEqual((status.verdict, [tunnel.up for tunnel in status.tunnels]), ("partial", [False, True]))
        another = await self.session(ports["west"])

        again = site.run_server("east", licences["east"], tunnels["east"])
        opened = told(servers["east"], "listener.opened")
        port = (await next_event(again, "listener.opened", opened))["port"]
        self.assertTrue((await self.session(port)).live)
        for session in (held["west"], another):
            self.assertIs((await session.end()).reason, None)
        self.assertEqual(self.ask("inner-1", "smartproxy-client", AskStatus()).verdict, "ok")
