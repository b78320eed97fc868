"""Both daemons with a process for every session, as the manual has it: processes, signals, and the two that agree."""

import json
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from smartproxy.testing.programs import environment, finish
from smartproxy.testing.proxied import connect
from smartproxy.testing.site import SMARTPROXY
from tests.process.sites import ACME, Log, reactor, until
from tests.process.test_client_workers import gone, title_of
from tests.process.test_outbound import OutboundCase

ONE_EACH = ("--drain", "2", "--process-per-session", "--workers", "2")


class BothSides(OutboundCase):
    """A site whose daemons carry every session in processes of their own."""

    server_switches: ClassVar[Sequence[str]] = ONE_EACH
    client_switches: ClassVar[Sequence[str]] = ONE_EACH

    async def carried(self, daemon: str) -> dict[str, int]:
        """The process of each session of a daemon, as ctl shows it."""
        argv = [*SMARTPROXY, "ctl", "sessions", "--json", "--state-dir", str(self.site.folder / daemon)]
        done = await finish(reactor, argv, self.site.folder, environment())
        self.assertEqual(done.status, 0, done.out + done.err)
        shown: Any = json.loads(done.out)
        return {each["session"]: each["pid"] for each in shown["sessions"]}

    async def test_sessions(self) -> None:
        """A session has a process in the DMZ and one inside, named alike, traced by a signal, gone at the end."""
        log, inside = Log(self.site.server), Log(self.site.client)
        sessions = [await self.session(self.acme) for _ in range(2)]
        server, client = await self.carried("server"), await self.carried("client")
        self.assertEqual(list(server), list(client))
        processes = [*server.values(), *client.values()]
        self.assertEqual(len(set(processes)), 4)
        for session in server:
            self.assertEqual(title_of(server[session]), f"smartproxy-server: session {session} partner ACME")
            self.assertEqual(title_of(client[session]), f"smartproxy-client: session {session} partner ACME")
        traced, other = server
        os.kill(server[traced], 20)
        told = await log.event("level.changed", session=traced)
        self.assertEqual((told["mode"], told["message"]), ("trace", f"signal 20 to process {server[traced]}"))
        for each in sessions:
            await each.file()
        await log.event("session.command", session=traced, command="EFPA")
        self.assertEqual([each for each in log.events("session.command") if each["session"] == other], [])
        self.assertEqual(inside.events("session.command"), [])
        for each in sessions:
            await each.end()
        for told_by in (log, inside):
            for session in server:
                self.assertEqual((await told_by.event("session.ended", session=session))["outcome"], "completed")
        for pid in processes:
            await until(partial(gone, pid), f"the end of process {pid}")
        for told_by in (log, inside):
            self.assertEqual([*told_by.events("worker.died"), *told_by.events("worker.unrehearsed")], [])
            self.assertEqual([each["session"] for each in told_by.events("session.started")], list(server))
        await self.until_quiet()

    async def test_call(self) -> None:
        """The station calls a partner: a file crosses each way, and no process of the session is left."""
        acme = await self.answering(self.made.acme, ACME)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin")
        await self.crosses(await self.through(connect("ACME")), acme, ACME, 10)
        await self.until_quiet()
        self.assertEqual([*self.server_log.events("worker.died"), *self.client_log.events("worker.died")], [])
