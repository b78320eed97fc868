"""A client as the manuals have it: it ends with its server, and dials from the address that it was told."""

from collections.abc import Sequence
from typing import ClassVar

from tests.process.sites import Log, SiteCase


class ExitWithServer(SiteCase):
    """``--exit-with-server`` and ``-o``."""

    client_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--exit-with-server", "-o", "127.0.0.3")

    async def test_server_ends(self) -> None:
        """The server sees the client at the address of ``-o``; when it ends, the client does, with status 0."""
        server, client = self.site.server, self.site.client
        assert server is not None
        assert client is not None
        up = await Log(server, whole=True).event("tunnel.up")
        self.assertEqual(up["peer"].rpartition(":")[0], "127.0.0.3")
        self.assertIsNone(client.status)
        await server.stop()
        self.assertEqual(await client.end(), 0)
