"""``smartproxy ctl restart``: a new process takes over, and nobody is refused."""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from smartproxy.testing.programs import ProgramFailed
from tests.process.ports import held_port
from tests.process.sites import Log, SiteCase, TestedSite, until
from tests.process.steady_callers import SteadyCallers


class HandingOver(SiteCase):
    """A server with a session, whose ports are called all the time."""

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
        self.addCleanup(self.kill, done["pid"])
        number: int = done["pid"]
        return number

    async def control(self, *words: str) -> Any:
        """Ask the server over its control socket."""
        return await self.site.smartproxy("ctl", *words, "--socket", str(self.folder / "smartproxy-server.sock"))

    def kill(self, number: int) -> None:
        """End a process that is no child of the test's."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)

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
            self.assertEqual((await self.control("status"))["pid"], again)
            await (await self.session(self.acme)).end()
        self.assertGreater(callers.made, 50)
        self.assertEqual(callers.refused, [])
        self.assertEqual(len(self.server_log.events("ctl.used")), 2)
        self.assertEqual(self.client_log.events("tunnel.failed"), [])


def alive(number: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{number}/status").read_text(encoding="ascii")
