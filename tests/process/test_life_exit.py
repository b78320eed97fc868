"""A client as the manuals have it: it ends with its server, and dials from the address that it was told."""

import os
import signal
from collections.abc import Sequence
from typing import ClassVar

from smartproxy.testing.programs import Program
from tests.process.sites import Log, SiteCase


class ExitWithServer(SiteCase):
    """``--exit-with-server`` and ``-o``."""

    client_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--exit-with-server", "-o", "127.0.0.3")

    async def both(self) -> tuple[Program, Program]:
        """The server and its client; started anew, if the test before ended them."""
        site = self.site
        if site.server is None or site.server.status is not None:
            await site.start_server()
        if site.client is None or site.client.status is not None:
            await site.start_client(*self.client_switches)
        assert site.server is not None
        assert site.client is not None
        # Either may see it first; only a client that has seen it ends with its server.
        for program in (site.server, site.client):
            await Log(program, whole=True).event("tunnel.up")
        return site.server, site.client

    async def test_server_ends(self) -> None:
        """The server sees the client at the address of ``-o``; when it ends, the client does, with status 0."""
        server, client = await self.both()
        up = await Log(server, whole=True).event("tunnel.up")
        self.assertEqual(up["peer"].rpartition(":")[0], "127.0.0.3")
        self.assertIsNone(client.status)
        log = Log(client)
        await server.stop()
        self.assertEqual(await client.end(), 0)
        (stopping,) = log.events("client.stopping")
        self.assertEqual(stopping["cause"], "tunnel.closed")
        self.assertEqual(log.events("internal.error"), [])

    async def test_server_is_lost(self) -> None:
        """A server that is killed ends the client with status 1, and the client says why."""
        server, client = await self.both()
        log = Log(client)
        os.kill(server.pid, signal.SIGKILL)
        self.assertEqual(await client.end(), 1)
        await server.end()
        (stopping,) = log.events("client.stopping")
        self.assertIn("the server is gone", stopping["message"])

    async def test_end_by_a_signal(self) -> None:
        """A client that is asked to end does so with status 0, names the signal, and has no bug to tell of."""
        _, client = await self.both()
        log = Log(client)
        os.kill(client.pid, signal.SIGTERM)
        self.assertEqual(await client.end(), 0)
        (stopping,) = log.events("client.stopping")
        self.assertEqual((stopping["cause"], stopping["message"]), ("operator.signal", "signal SIGTERM"))
        self.assertEqual(log.events("internal.error"), [])
