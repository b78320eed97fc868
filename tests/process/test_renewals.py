"""Certificates that are renewed while sessions run in workers of both daemons."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from smartproxy.ctl.protocol import AskStatus
from tests.process.sites import Log, SiteCase, TestedSite, ask
from tests.process.tls_clients import PyOpenSsl

RENEWING = """
from smartproxy.client import upkeep
upkeep.RENEW_AT, upkeep.RETRY_SECONDS_MOST = 0, 1.0
from twisted.scripts.twistd import run
run()
"""
"""A client that has its tunnel certificate renewed every second."""
CALLS = 4
"""So many come to both workers."""


class Renewals(SiteCase):
    """Sessions that began with a certificate go on with it; what begins after its renewal has the new one."""

    have_workers = 2
    settings = ("server.limits.sessions_per_partner", "1000")

    async def _start(self) -> TestedSite:
        site = await super()._start()
        assert site.client is not None
        await site.client.stop()
        site.program, server = RENEWING, Log(site.server)
        await site.start_client(*self.client_switches)
        await site.listening(server)
        return site

    def until(self) -> datetime:
        """The end of the newest tunnel certificate that the server saw."""
        status: Any = ask(self.site.folder / "server", "smartproxy-server", AskStatus())
        found: datetime = status.tunnels[0].certificate_until
        return found

    async def going_on(self, renewed: Callable[[], bool], *command: str) -> None:
        """Hold sessions in all workers and open further ones until something is renewed; all are as good as before."""
        server, client = Log(self.site.server), Log(self.site.client)
        sessions = [await self.session(self.acme) for _ in range(CALLS)]
        if command:
            await self.site.smartproxy(*command)
        while not renewed():
            sessions.append(await self.session(self.acme))
        for session in sessions:
            await session.file()
            await session.end()
        for log in (server, client):
            for name in ("tunnel.down", "worker.died", "session.withdrawn", "internal.error"):
                self.assertEqual(log.events(name), [], name)

    async def test_of_the_tunnel(self) -> None:
        """Workers of the client show the newest one, and workers of the server tell it to their supervisor."""
        before = self.until()
        await self.going_on(lambda: self.until() > before)

    async def test_of_the_server(self) -> None:
        """Both workers show partners the new one."""
        shown = self.site.authority.issue("oftp.muster.example", sans=["DNS:oftp.muster.example"])
        files = shown.write(self.site.certificates, "renewed")
        log = Log(self.site.server)
        partner = PyOpenSsl(self.site.port, self.made.acme)

        def renewed() -> bool:
            if not log.events("configuration.accepted"):
                return False
            for _ in range(CALLS):
                call = partner.call()
                certificate = call.connection.get_peer_certificate(as_cryptography=True)
                call.close()
                self.assertEqual(certificate, shown.certificate)
            return True

        await self.going_on(renewed, "identity", "import", "main", str(files.certificate), str(files.key))
