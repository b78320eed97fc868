"""A whole site in one folder: backend, server, client and a station as processes of their own on free loopback ports.

Set up with the operator's own commands. When it stops, no process is left, and no file is written outside the folder.
Tests of whole daemons use it, and so does the demonstration.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from smartproxy.testing.pki import CredentialFiles, TestCa
from smartproxy.testing.programs import Program, ProgramFailed, environment, finish, module, script

SITE_NAME = "Muster GmbH"
STATION_CODE = "O0013000001MUSTER"
CLIENT_NAME = "inner"

TWISTD = script("twistd")
SMARTPROXY = script("smartproxy")
if not Path(SMARTPROXY[-1]).exists():  # a bare checkout, where the project itself is not installed
    SMARTPROXY = module("smartproxy.tap.command")


def quiet(_words: str) -> None:
    """Say nothing."""


class Site:
    """One site.

    :param folder: exists and is empty.
    :param say: told what is being done, in a few words.
    :param workers: of the server and the client each; as many as they have by themselves if not given.
    :ivar reactor: runs it.
    :ivar port: where partners connect, once :meth:`start` is done.
    :ivar station_port: where the station listens.
    :ivar backend_port: where the backend listens.
    :ivar tunnel_port: where the server listens for clients.
    :ivar programs: all processes that were started.
    :ivar proxy_id: the server's.
    :ivar commands: the commands that were given, as an operator would type them.
    :ivar authority: the CA that issues the certificate that partners see.
    """

    def __init__(
        self, reactor: Any, folder: Path, *, say: Callable[[str], None] = quiet, workers: int | None = None
    ) -> None:
        self.folder = folder.absolute()
        self.port = self.station_port = self.backend_port = self.tunnel_port = 0
        self.programs: list[Program] = []
        self.proxy_id = ""
        self.commands: list[str] = []
        self.authority = TestCa.root("Muster partner CA")
        self.station: Program | None = None
        self.backend: Program | None = None
        self.server: Program | None = None
        self.client: Program | None = None
        self.reactor = reactor
        self._say = say
        self._workers = () if workers is None else ("--workers", str(workers))
        self._environment = environment()
        for name in ("backend", "server", "client", "station", "partners", "certificates", "logs"):
            (self.folder / name).mkdir()

    # Paths.

    @property
    def inbox(self) -> Path:
        """Where files for the station arrive."""
        return self.folder / "station"

    @property
    def certificates(self) -> Path:
        """Where certificates and keys are."""
        return self.folder / "certificates"

    @property
    def state(self) -> Path:
        """Where the backend keeps its store."""
        return self.folder / "backend"

    @property
    def logs(self) -> Path:
        """Where logs are."""
        return self.folder / "logs"

    @property
    def anchor(self) -> Path:
        """The certificate that partners check the site by."""
        return self.certificates / "site-ca.crt"

    @property
    def licence(self) -> Path:
        """The server's licence."""
        return self.folder / "server" / "smartproxy.lic"

    # The operator's way.

    async def smartproxy(self, *arguments: str) -> Any:
        """Give a ``smartproxy`` command; its answer as JSON.

        :raises ProgramFailed: if it fails.
        """
        more = ("--json", "--state-dir", str(self.state))
        answer = await self._command(shlex.join(["smartproxy", *arguments]), [*SMARTPROXY, *arguments, *more])
        return json.loads(answer) if answer.strip() else None

    async def _read_proxy_id(self) -> str:
        """Read the Proxy ID, which makes the server's identity key."""
        arguments = ("smartproxy-server", "--state-dir", str(self.folder / "server"), "-L")
        return (await self._command(shlex.join(["twistd", *arguments]), [*TWISTD, *arguments])).strip()

    async def _command(self, shown: str, argv: list[str]) -> str:
        self.commands.append(shown)
        done = await finish(self.reactor, argv, self.folder, self._environment)
        if done.status:
            raise ProgramFailed(f"{shown}: exit status {done.status}: {done.err.strip()}")
        return done.out

    async def create(self) -> None:
        """Make the authority, the server's identity and licence, the client's token, and the server's certificate."""
        self._say("making the site's authority")
        await self.smartproxy(
            *("authority", "create", "--site", SITE_NAME, "--name", "127.0.0.1"),
            *("-o", str(self.certificates / "backend.crt")),
        )
        self._say("reading the Proxy ID, issuing the licence")
        self.proxy_id = await self._read_proxy_id()
        await self.smartproxy("licence", "issue", self.proxy_id, "--until", "7d", "-o", str(self.licence))
        self._say("adding a client")
        token = (await self.smartproxy("client", "add", CLIENT_NAME))["token"]
        self._token.touch(mode=0o600)
        self._token.write_text(token + "\n")
        self._say("importing the server's certificate")
        self.anchor.write_bytes(self.authority.certificate_pem)
        shown = self.authority.issue("oftp.muster.example", sans=["DNS:oftp.muster.example"])
        files = shown.write(self.certificates, "muster")
        await self.smartproxy("identity", "import", "main", str(files.certificate), str(files.key))

    async def start_station(self, *, waiting: Sequence[tuple[str, str]] = (), nerp: str = "") -> None:
        """Start the station, or start it again on the same port.

        :param waiting: what waits for partners: pairs of SSIDCODE and file specification.
        :param nerp: the dataset names that are answered with NERP.
        """
        known = self.station_port
        argv = [*module("smartproxy.testing"), "station", "--json", "--listen", f"127.0.0.1:{known}"]
        argv += ["--code", STATION_CODE, "--inbox", str(self.inbox), "--nerp", nerp]
        for code, specification in waiting:
            argv += ["--send", code, specification]
        self.station = self._program("station", argv, prints=True)
        pid = self.station.pid
        listening = await self.station.wait(
            lambda record: record["event"] == "Listening" and record["pid"] == pid, "listening"
        )
        self.station_port = listening["port"]
        if not known:
            await self.smartproxy(
                *("settings", "set"),
                *("client.station.host", "127.0.0.1"),
                *("client.station.port", str(self.station_port)),
                *("server.listeners", "127.0.0.1:0"),
            )

    async def start(self) -> None:
        """Start the three daemons; partners can connect when it is done."""
        self._say("starting smartproxy-backend and smartproxy-server")
        starting = [Deferred.fromCoroutine(each) for each in (self.start_backend(), self.start_server())]
        ends: list[Any] = [each for _, each in await DeferredList(starting, consumeErrors=True)]
        for each in ends:
            if isinstance(each, Failure):
                each.raiseException()
        server: Program = ends[1]
        self._say("starting smartproxy-client")
        await self.start_client()
        self.port = (await server.wait_for_event("listener.opened"))["port"]

    async def start_backend(self, *more: str) -> Program:
        """Start the backend, on the port that it had before."""
        self._put_log_away("smartproxy-backend")
        address = f"127.0.0.1:{self.backend_port}"
        self.backend = self._daemon("smartproxy-backend", "--listen", address, *more, state="backend")
        self.backend_port = (await self.backend.wait_for_event("backend.started"))["port"]
        return self.backend

    async def start_server(self, *more: str) -> Program:
        """Start the server, on the port for clients that it had before; partners' ports wait for its client."""
        self._put_log_away("smartproxy-server")
        listen = ("--listen", f"127.0.0.1:{self.tunnel_port}", "--licence", str(self.licence), *self._workers)
        self.server = self._daemon("smartproxy-server", *listen, *more, state="server")
        self.tunnel_port = (await self.server.wait_for_event("server.started"))["port"]
        return self.server

    async def start_client(self, *more: str) -> Program:
        """Start the client."""
        self._put_log_away("smartproxy-client")
        switches = self._client_switches(f"127.0.0.1:{self.tunnel_port}")
        self.client = self._daemon("smartproxy-client", *switches, *more, state="client")
        await self.client.wait_for_event("tunnel.up")
        return self.client

    async def stop(self) -> None:
        """End all processes: partners first, then from the outside in."""
        site = [self.server, self.client, self.backend, self.station]
        for program in [*(each for each in self.programs if each not in site), *site]:
            if program is not None:
                await program.stop()

    def partner(self, name: str, arguments: Sequence[str], *, code: str, files: CredentialFiles) -> Program:
        """Start a partner's process that calls this site.

        :param arguments: of ``python -m smartproxy.testing partner``, without address, certificate and codes.
        """
        return self._program(name, self.partner_command(arguments, code=code, files=files), prints=True)

    def answering(self, name: str, arguments: Sequence[str], *, code: str, files: CredentialFiles) -> Program:
        """Start a partner's process that awaits calls of this site, on a free port.

        :param arguments: of ``python -m smartproxy.testing station``, without address, certificate and code.
        """
        argv = [*module("smartproxy.testing"), "station", "--listen", "127.0.0.1:0", "--ca", str(self.anchor)]
        argv += ["--certificate", str(files.certificate), "--key", str(files.key), "--code", code, *arguments]
        return self._program(name, argv, prints=True)

    def station_call(self, name: str, arguments: Sequence[str], *, port: int, code: str) -> Program:
        """Start a process of the station that calls a partner, at the client's port for that partner.

        :param arguments: of ``python -m smartproxy.testing partner``, without address and codes.
        :param code: the partner's.
        """
        argv = [*module("smartproxy.testing"), "partner", "--connect", f"127.0.0.1:{port}", "--no-tls"]
        argv += ["--code", STATION_CODE, "--station-code", code, *arguments]
        return self._program(name, argv, prints=True)

    def partner_command(self, arguments: Sequence[str], *, code: str, files: CredentialFiles) -> list[str]:
        """The command line of a partner that calls this site."""
        return [
            *module("smartproxy.testing"),
            "partner",
            *("--connect", f"127.0.0.1:{self.port}"),
            *("--ca", str(self.anchor)),
            *("--certificate", str(files.certificate)),
            *("--key", str(files.key)),
            *("--code", code),
            *("--station-code", STATION_CODE),
            *arguments,
        ]

    @property
    def _token(self) -> Path:
        return self.folder / "client" / "token"

    def _client_switches(self, server: str) -> tuple[str, ...]:
        return (
            *("--backend", f"https://127.0.0.1:{self.backend_port}"),
            *("--backend-ca", str(self.certificates / "backend.crt")),
            *("--server", server),
            *("--token-file", str(self._token)),
            *self._workers,
        )

    def _put_log_away(self, name: str) -> None:
        journal = self._journal(name)
        if journal.exists():
            count = len(list(self.logs.glob(f"{name}.*.jsonl")))
            journal.rename(journal.with_name(f"{name}.{count}.jsonl"))

    def _daemon(self, name: str, *arguments: str, state: str) -> Program:
        argv = [*TWISTD, "-n", "--pidfile=", name, *arguments, "--state-dir", str(self.folder / state)]
        return self._program(name, [*argv, "--log-json", str(self._journal(name))], prints=False)

    def _journal(self, name: str) -> Path:
        return self.logs / f"{name}.jsonl"

    def _program(self, name: str, argv: Sequence[str], *, prints: bool) -> Program:
        program = Program(
            self.reactor,
            name,
            argv,
            folder=self.folder,
            environment=self._environment,
            output=self.logs / f"{name}.log",
            journal=self._journal(name),
            prints=prints,
        )
        self.programs.append(program)
        return program
