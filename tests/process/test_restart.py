"""``smartproxy ctl restart``: a new process takes over, and nobody is refused."""

import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from operator import ge
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy.oftp2 import commands
from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy.causes import Cause
from smartproxy.testing.events import FileSent
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import ProgramFailed
from smartproxy.testing.proxied import ProxiedEndpoint, connect
from smartproxy.testing.site import CLIENT_NAME, STATION_CODE
from tests.process.sites import BOLT, Log, SiteCase, TestedSite, reactor, until
from tests.process.steady_callers import SteadyCallers
from tests.process.test_outbound import OutboundCase, file


class Restarted(SiteCase):
    """A server that hands over; the process that took over is killed when the test ends, so this is its site's last."""

    server_switches: ClassVar[Sequence[str]] = ("--drain", "60")

    async def _start(self) -> TestedSite:
        self.partners = held_port()
        type(self).listeners = f"127.0.0.1:{self.partners}"
        return await super()._start()

    async def begin(self) -> None:
        """Look at the files that daemons leave."""
        await super().begin()
        self.folder = self.site.folder / "server"
        self.server_log, self.client_log = Log(self.site.server), Log(self.site.client)

    async def restart(self) -> int:
        """Have a new process take over; its number."""
        done = await self.control("restart")
        self.addCleanup(kill, done["pid"])
        number: int = done["pid"]
        return number

    async def control(self, *words: str) -> Any:
        """Ask the server over its control socket."""
        return await self.site.smartproxy("ctl", *words, "--socket", str(self.folder / "smartproxy-server.sock"))


class HandingOver(Restarted):
    """A server with a session, whose ports are called all the time."""

    async def serving(self) -> int:
        """The process that serves, once one does: a client waits before it dials a server that moves again so soon."""
        while True:
            with contextlib.suppress(ProgramFailed):
                number: int = (await self.control("status"))["pid"]
                return number

    async def test_new_process_that_cannot_serve(self) -> None:
        """The answer says why; the old process goes on as if nothing had been, with its ports, socket and PID file."""
        before = await self.control("status")
        wrong = self.folder / "smartproxy-server.logrc"
        wrong.write_text("no TOML")
        try:
            with SteadyCallers(self.site.tunnel_port, self.site.port) as callers:
                with self.assertRaises(ProgramFailed) as raised:
                    await self.control("restart")
                self.assertIn("this one goes on", str(raised.exception))
                self.assertIn("--logrc", str(raised.exception))
                await (await self.session(self.acme)).end()
        finally:
            wrong.unlink()
        self.assertEqual(callers.refused, [])
        after = await self.control("status")
        self.assertEqual((after["pid"], after["health"]), (before["pid"], before["health"]))

    async def test_restart(self) -> None:
        """Twice in a row: 0 of all callers refused, the session ends in the old process, new ones in the new."""
        server = self.site.server
        assert server is not None
        first = server.pid
        with SteadyCallers(self.site.tunnel_port, self.site.port) as callers:
            old = await self.session(self.acme)
            number = await self.restart()
            self.assertNotIn(number, (first, 0))
            await self.client_log.event("tunnel.up")
            await self.server_log.event("listener.opened", port=self.site.port)
            new = await self.session(self.bolt)
            for session in (old, new):
                await session.file()
            status = await self.control("status")
            self.assertEqual((status["pid"], status["sessions"]), (number, 1))
            await old.file()
            await old.end()
            await until(lambda: server.status is not None, "the old process has ended")
            self.assertEqual(server.status, 0)
            again = await self.restart()
            await new.file()
            await new.end()
            await until(lambda: not alive(number), "the second process has ended")
            self.assertEqual(await self.serving(), again)
            await (await self.session(self.acme)).end()
        self.assertGreater(callers.made, 50)
        self.assertEqual(callers.refused, [])
        self.assertEqual(len(self.server_log.events("ctl.used")), 2)
        self.assertEqual(self.client_log.events("tunnel.failed"), [])


class Counted(Restarted):
    """A server with a partner that may have one session."""

    async def test_sessions_of_both_processes_count(self) -> None:
        """A partner whose one session goes on in the old process gets none in the new one until that is over."""
        server = self.site.server
        assert server is not None
        limit = "server.limits.sessions_per_partner"
        await self.site.smartproxy("settings", "set", limit, "1")
        try:
            old = await self.session(self.acme)
            await self.restart()
            # The new process has nothing but the newest generation.
            await self.server_log.event("listener.opened", port=self.site.port)
            line = await self.acme.greet(self.site.port)
            refused = await line.hear(commands.ESID)
            self.assertEqual(refused.reas, EsidReason.RESOURCES_NOT_AVAILABLE)
            await self.server_log.event("session.refused", cause=Cause.QUOTA_PARTNER, partner="ACME")
            await (await self.session(self.bolt)).end()
            await old.end()
            await until(lambda: server.status is not None, "the old process has ended")
            await (await self.session(self.acme)).end()
        finally:
            await self.site.smartproxy("settings", "reset", limit)


class ClientHandingOver(OutboundCase):
    """A client through which sessions go all the time, both ways."""

    client_switches: ClassVar[Sequence[str]] = ("--drain", "600")

    station_calls: ClassVar[int]
    """The port for the station's calls; that of the site, which the tests of the class share."""

    files = 0

    async def _start(self) -> TestedSite:
        type(self).station_calls = held_port()
        type(self).settings = ("client.outbound.port", str(self.station_calls))
        return await super()._start()

    async def restart(self) -> int:
        """Have a new process take over; its number."""
        done = await self.site.smartproxy("ctl", "restart", "--socket", str(self.socket))
        self.addCleanup(kill, done["pid"])
        number: int = done["pid"]
        return number

    @property
    def socket(self) -> Path:
        """The client's control socket."""
        return self.site.folder / "client" / "smartproxy-client.sock"

    async def inbound(self) -> None:
        """A partner's session with a file, from its call to its end."""
        session = await self.session(self.acme)
        await session.file()
        await session.end()

    async def outbound_call(self) -> None:
        """The same of the station."""
        through = ProxiedEndpoint(self.at(self.station_calls), connect("BOLT"))
        self.files += 1
        outcome = await self.call(through, BOLT, file(f"FORTH{self.files}", STATION_CODE, BOLT, self.files))
        assert outcome.ended is not None and outcome.ended.reason is EsidReason.NORMAL, outcome
        self.assertEqual(len(outcome.reported(FileSent)), 1, outcome)

    async def test_restart(self) -> None:
        """Twice in a row: no call refused either way, no tunnel lost; what runs ends in the process where it began."""
        client = self.site.client
        assert client is not None
        first, server = client.pid, Log(self.site.server)
        bolt = await self.answering(self.made.bolt, BOLT)
        inside = await self.outbound("BOLT", "--host", "127.0.0.1", "--port", str(bolt.port), "--verify", "odette")
        await inside.event("listener.opened", mode="calls to partners")
        old = await self.session(self.acme)
        steady = Steady(self.inbound, self.outbound_call)
        await steady.made(2)
        second = await self.restart()
        await steady.made(2)
        await old.file()
        status = await self.site.smartproxy("ctl", "status", "--socket", str(self.socket))
        self.assertEqual((status["pid"], status["health"]), (second, "ok"))
        third = await self.restart()
        self.assertEqual(len({first, second, third}), 3)
        await steady.made(2)
        await until(lambda: not alive(second), "the process between has ended")
        await old.file()
        await old.end()
        await until(lambda: client.status is not None, "the first process has ended")
        self.assertEqual(client.status, 0)
        await steady.made(2)
        await steady.stop()
        opened = [each["client"] for each in server.events("tunnel.up")]
        self.assertEqual(opened, [CLIENT_NAME] * 2)
        self.assertEqual([each["cause"] for each in server.events("tunnel.down")], [Cause.TUNNEL_CLOSED] * 2)
        for name in ("tunnel.refused", "listener.closed", "configuration.forgotten", "session.withdrawn"):
            self.assertEqual(server.events(name), [], name)

    async def test_new_process_that_cannot_serve(self) -> None:
        """The answer says why; the old process goes on, and its name is its alone again."""
        before = await self.site.smartproxy("ctl", "status", "--socket", str(self.socket))
        wrong = self.site.folder / "client" / "smartproxy-client.logrc"
        wrong.write_text("no TOML")
        self.addCleanup(wrong.unlink)
        with self.assertRaises(ProgramFailed) as raised:
            await self.restart()
        self.assertIn("this one goes on", str(raised.exception))
        await self.inbound()
        after = await self.site.smartproxy("ctl", "status", "--socket", str(self.socket))
        self.assertEqual((after["pid"], after["health"]), (before["pid"], before["health"]))


PACE_SECONDS = 0.3
"""From one call's end to the next of its kind, so that a busy machine has time for daemons that start."""


class Steady:
    """Calls of some kinds, each one after the other, until :meth:`stop`; the first that fails is told by all."""

    def __init__(self, *calls: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._counts = [0] * len(calls)
        self._over = False
        self._running = [Deferred.fromCoroutine(self._run(kind, call)) for kind, call in enumerate(calls)]

    async def made(self, more: int) -> None:
        """Wait for so many more of each kind."""
        wanted = [count + more for count in self._counts]
        await until(lambda: self._failed() or all(map(ge, self._counts, wanted)), "calls")
        if self._failed():
            await self.stop()

    async def stop(self) -> None:
        """Wait for those that run."""
        self._over = True
        for each in self._running:
            await each

    def _failed(self) -> bool:
        return any(isinstance(each.result, Failure) for each in self._running if each.called)

    async def _run(self, kind: int, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._over:
            await call()
            self._counts[kind] += 1
            await deferLater(reactor, PACE_SECONDS)


def kill(number: int) -> None:
    """End a process that is no child of the test's."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def alive(number: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{number}/status").read_text(encoding="ascii")
