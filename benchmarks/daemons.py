"""A whole site of real daemons as it is installed: events go to the backend, and each daemon writes its log as text.

The test kit's site writes a second log, as JSON, to know what happens; that costs time, and here time is measured.
"""

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import deferLater

from smartproxy.testing.pki import CredentialFiles, self_signed
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import Program, ProgramFailed
from smartproxy.testing.site import STATION_CODE, TWISTD, Site

__all__ = ["PARTNER", "STATION_CODE", "BenchSite"]

PARTNER: Final = "O0013000001ACME"
PATIENCE_SECONDS: Final = 60.0

ROOM: Final = (
    *("server.limits.sessions", "20000", "server.limits.sessions_per_partner", "20000"),
    *("server.limits.connections", "40000", "server.limits.connections_per_address", "40000"),
    *("server.limits.unauthenticated_per_address", "4000", "client.limits.sessions", "20000"),
    *("client.limits.openings_rate", "10000", "client.limits.reports_rate", "100000"),
)
"""Room for all sessions of a benchmark, which come from one address and one partner, and quickly."""


ONE_PROCESS: Final = ("--workers", "0")
"""Each daemon carries its sessions itself."""


class BenchSite(Site):
    """A site whose only log is the usual one.

    :param station_port: where the station listens, whoever speaks for it.
    :param level: of the log; the usual one is ``info``.
    :param arrangement: switches of the server and the client that say in which processes sessions run.
    :param address: where the server listens for partners.
    :ivar files: the certificate and key of the partner, whose certificate is pinned.
    """

    files: CredentialFiles

    def __init__(
        self,
        reactor: Any,
        folder: Path,
        station_port: int,
        level: str = "info",
        arrangement: Sequence[str] = ONE_PROCESS,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__(reactor, folder)
        self.station_port = station_port
        self._level = level
        self._arrangement = arrangement
        self._address = address

    async def open(self, files: CredentialFiles | None = None) -> None:
        """Make all of it and start the daemons; partners can connect when it is done.

        :param files: the partner's certificate and key; made here if there are none.
        """
        await self.create()
        self.files = files or self_signed("oftp.acme.example").write(self.certificates, "acme")
        await self.smartproxy("partner", "add", "ACME", "--code", PARTNER, "--certificate", str(self.files.certificate))
        self.port, self.backend_port, self.tunnel_port = held_port(), held_port(), held_port()
        await self.smartproxy(
            *("settings", "set", "client.station.host", "127.0.0.1", "client.station.retry", "0"),
            *("client.station.port", str(self.station_port), "server.listeners", f"{self._address}:{self.port}", *ROOM),
        )
        await self.start()

    async def start(self) -> None:
        """Start the daemons."""
        self.backend = self._daemon("smartproxy-backend", *_listen(self.backend_port), state="backend")
        await self._accepts(self.backend, self.backend_port)
        licence = ("--licence", str(self.licence), "--drain", "0", *self._arrangement)
        self.server = self._daemon("smartproxy-server", *_listen(self.tunnel_port), *licence, state="server")
        await self._accepts(self.server, self.tunnel_port)
        self.client = self._daemon(
            "smartproxy-client",
            *("--backend", f"https://127.0.0.1:{self.backend_port}"),
            *("--backend-ca", str(self.certificates / "backend.crt"), "--drain", "0"),
            *("--server", f"127.0.0.1:{self.tunnel_port}", "--token-file", str(self._token), *self._arrangement),
            state="client",
        )
        await self._accepts(self.server, self.port)

    def runner(self, name: str) -> Sequence[str]:
        """What runs a daemon, up to twistd's arguments."""
        return TWISTD

    def _daemon(self, name: str, *arguments: str, state: str) -> Program:
        argv = [*self.runner(name), "-n", "--pidfile=", name, *arguments]
        argv += ["--state-dir", str(self.folder / state), "--log-level", self._level]
        return self._program(name, argv, prints=False)

    async def _accepts(self, program: Program, port: int) -> None:
        deadline = self.reactor.seconds() + PATIENCE_SECONDS
        while True:
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=5):
                return
            if program.status is not None or self.reactor.seconds() > deadline:
                output = (self.logs / f"{program.name}.log").read_text()[-2000:]
                raise ProgramFailed(f"{program.name} does not listen on port {port}:\n{output}")
            await deferLater(self.reactor, 0.05)


def _listen(port: int) -> tuple[str, str]:
    return "--listen", f"127.0.0.1:{port}"
