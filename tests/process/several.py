"""A site with more than one client or server, set up the operator's way."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import Program
from smartproxy.testing.site import TWISTD, Site


class SeveralSite(Site):
    """A site to which clients and servers are added."""

    async def prepare(self) -> None:
        """Make everything, and start the station and the backend."""
        await self.create()
        await self.start_station()
        self.backend = self._daemon("smartproxy-backend", "--listen", "127.0.0.1:0", state="backend")
        self.backend_port = (await self.backend.wait_for_event("backend.started"))["port"]

    def run(self, name: str, plugin: str, *arguments: str) -> Program:
        """Start a daemon under a name of its own."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        journal = self._journal(name)
        words = [plugin, *arguments, "--state-dir", str(folder), "--log-json", str(journal)]
        return self._program(name, [*TWISTD, "-n", "--pidfile=", *words], prints=False)

    async def make_client(self, name: str) -> Path:
        """Make a client known; the file with its token."""
        token = self.folder / f"{name}.token"
        token.touch(mode=0o600)
        token.write_text((await self.smartproxy("client", "add", name))["token"] + "\n")
        return token

    def run_client(self, name: str, token: Path, ports: Sequence[int], *more: str) -> Program:
        """Start a client of the servers on these ports."""
        servers = [word for port in ports for word in ("--server", f"127.0.0.1:{port}")]
        backend = ("--backend", f"https://127.0.0.1:{self.backend_port}")
        authority = ("--backend-ca", str(self.certificates / "backend.crt"))
        return self.run(name, "smartproxy-client", *backend, *authority, "--token-file", str(token), *servers, *more)

    async def make_server(self, name: str) -> Path:
        """Give a server an identity and a licence; the licence's file."""
        folder = self.folder / name
        folder.mkdir()
        words = ["smartproxy-server", "--state-dir", str(folder), "-L"]
        proxy_id = (await self._command(shlex.join(["twistd", *words]), [*TWISTD, *words])).strip()
        licence = folder / "smartproxy.lic"
        await self.smartproxy("licence", "issue", proxy_id, "--until", "7d", "-o", str(licence))
        return licence

    def run_server(self, name: str, licence: Path, port: int = 0) -> Program:
        """Start a server."""
        listen = ("--listen", f"127.0.0.1:{port or held_port()}")
        return self.run(name, "smartproxy-server", *listen, "--licence", str(licence))


def told(program: Program, name: str) -> int:
    """How many events of this name a daemon has told so far."""
    program.read()
    return sum(record.get("name") == name for record in program.records)


async def next_event(program: Program, name: str, count: int) -> dict[str, Any]:
    """The first event of this name after so many of them."""

    def wanted(record: dict[str, Any]) -> bool:
        named = [each for each in program.records if each.get("name") == name]
        return len(named) > count and record is named[count]

    return await program.wait(wanted, f"{name} number {count + 1}")
