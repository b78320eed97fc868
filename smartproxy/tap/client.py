"""``twistd smartproxy-client`` and its switches.

NAME
    smartproxy-client - the daemon inside

SYNOPSIS
    twistd [twistd's options] smartproxy-client -U URL -S host[:port] [--token-file FILE] [--workers N]
        [--process-per-session]

SECURITY
    Its token is read once from a file, a systemd credential or the environment, and never logged.
"""

import errno
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.threads import deferToThread
from twisted.python import usage

from smartproxy.client.address import BackendAddress, backend_http, checked_pin, checked_url
from smartproxy.client.backend import Backend
from smartproxy.client.condition import ClientCondition
from smartproxy.client.copy import NAME as COPY_NAME
from smartproxy.client.copy import CopyFile
from smartproxy.client.craft import ClientCraft
from smartproxy.client.crew import CrewHouse
from smartproxy.client.rehearsal import ClientPlay
from smartproxy.client.service import ClientService
from smartproxy.client.token import TokenInForce
from smartproxy.client.words import ClientLink
from smartproxy.logs.log import Log
from smartproxy.net import files
from smartproxy.net.transport.endpoints import SourcedEndpoint
from smartproxy.policy.addresses import HostPort, address_of, called_address, plain_host
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StopReason
from smartproxy.policy.places import TOKEN_CREDENTIAL, TOKEN_VARIABLE, TUNNEL_PORT
from smartproxy.tap.daemon import DRAIN_SWITCH, ONE_EACH_SWITCH, WORKERS_SWITCH, DaemonOptions, workers_wanted
from smartproxy.tap.launch import NOT_STARTED
from smartproxy.tap.life import SWITCH, daemon_reactor, life_of
from smartproxy.tap.signals import Signals
from smartproxy.tunnel.faults import Closing
from smartproxy.workers.confinement import overwrite
from smartproxy.workers.scene import rehearse
from smartproxy.workers.spawning import Unborn, Zygote
from smartproxy.workers.worker import Worker

_FILE_OCTETS_MOST = 1024 * 1024
_CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
_EXPOSED = "anyone on this machine can read it; use --token-file, a systemd credential or the environment"

_BROADCAST = IPv4Address("255.255.255.255")


class ClientSwitches(DaemonOptions):
    """The switches of smartproxy-client."""

    program = "smartproxy-client"
    synopsis = "[twistd options] smartproxy-client -U URL -S host[:port] [options]"
    longdesc = (
        "Dials smartproxy-server in the DMZ, delivers its configuration, and carries sessions to the station. "
        f"The token comes from --token-file, the systemd credential {TOKEN_CREDENTIAL} or ${TOKEN_VARIABLE}."
    )

    optParameters = [
        ["backend", "U", None, "URL of the backend, such as https://backend.example:8443"],
        ["token-file", None, None, "file with the token that 'smartproxy client add' printed"],
        [
            "token",
            "T",
            None,
            "the token itself; anyone on this machine can read it in the process list: use --token-file",
        ],
        ["backend-ca", None, None, "PEM file of the CA that signed the backend's certificate [the system's store]"],
        ["backend-pin", None, None, "SHA-256 in hex of the public key of the backend's certificate"],
        ["source", "o", None, "IP address of this machine from which servers are dialled"],
        WORKERS_SWITCH,
        DRAIN_SWITCH,
        SWITCH,
    ]

    optFlags = [
        ONE_EACH_SWITCH,
        ["exit-with-server", "e", "end when the tunnel to a server is lost, instead of dialling it again"],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.servers: list[HostPort] = []

    def opt_server(self, value: str) -> None:
        """host[:port] of a smartproxy-server [port 2878]; repeat it for several servers"""
        self.servers.append(self.judged("--server", lambda text: called_address(text, default_port=TUNNEL_PORT), value))

    opt_S = opt_server

    def postOptions(self) -> None:
        """Judge the switches and read the token."""
        super().postOptions()
        if not self["backend"]:
            self.wrong("--backend is missing: the URL of the backend, such as https://backend.example:8443")
        if not self.servers:
            self.wrong(f"--server is missing: the server in the DMZ, such as dmz.example:{TUNNEL_PORT}")
        url, self.basic = self.judged("--backend", checked_url, self["backend"])
        if self["backend-ca"] and self["backend-pin"]:
            self.wrong("--backend-ca and --backend-pin: give one of the two")
        authority = None
        if self["backend-ca"]:
            authority = self.judged("--backend-ca", _contents, self["backend-ca"])
        pin = self.judged("--backend-pin", checked_pin, self["backend-pin"]) if self["backend-pin"] else None
        self.address = self.judged(
            "--backend-ca", lambda url: BackendAddress(url=url, authority=authority, pin=pin), url
        )
        for option, given in (("--token", self["token"]), ("--backend", self.basic)):
            if given:
                self.notices.append(("secret.on_command_line", {"option": option, "advice": _EXPOSED}))
        self.single = bool(self["process-per-session"])
        self.workers = self.judged("--workers", partial(workers_wanted, one_each=self.single), self["workers"])
        self.source = None if self["source"] is None else self.judged("--source", _ip_address, self["source"])
        if self.source is not None and not _is_here(self.source):
            # Not wrong use: the address may be here in a moment, and the service manager tries again.
            self.end(NOT_STARTED, f"--source: this machine has no address {self.source}; give one of its own")
        if self.source is not None:
            for server in self.servers:
                _see_same_family(self, self.source, server)
        self.by_environment = not self["token-file"] and not self["token"] and bool(os.environ.get(TOKEN_VARIABLE))
        self.secret = self.judged(
            "--token-file", lambda path: find_token(self["token"], path, os.environ), self["token-file"]
        )
        # The credential that systemd gives stays as it is until the client is restarted.
        again = partial(_token_again, self["token-file"]) if self["token-file"] else None
        self.token = TokenInForce(self.secret, again)


def _contents(path: str) -> str:
    """A small text file.

    :raises ValueError: when it cannot be read.
    """
    try:
        octets = files.read(Path(path), _FILE_OCTETS_MOST)
        text = octets.decode("utf-8")
        overwrite(octets)
        return text
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeError:
        raise ValueError(f"{path}: not a text file") from None


def _token_in(path: str) -> str:
    """The token in a file, of which no other trace stays in memory: workers inherit what does.

    :raises ValueError: when it cannot be read.
    """
    text = _contents(path)
    token = text.strip()
    if token is not text and text.isascii():
        overwrite(text)
    return token


def _ip_address(text: str) -> str:
    """An IPv4 or IPv6 address, brackets allowed.

    :raises ValueError: when it is not one.
    """
    right = "right is one of this machine's, such as 192.0.2.7"
    try:
        found = ip_address(text.strip("[]"))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address; {right}") from None
    if found.is_multicast or found == _BROADCAST:
        raise ValueError(f"{text!r} is the address of many machines; {right}")
    return plain_host(str(found))


def _see_same_family(options: ClientSwitches, source: str, server: HostPort) -> None:
    """See that a server that is given by its address can be dialled from another address."""
    try:
        called = address_of(server.host)
    except ValueError:
        # A name may have addresses of both families.
        return
    if called.version != ip_address(source).version:
        options.wrong(
            f"--source: {source} and --server {server} are addresses of different families: give both as IPv4, or "
            "both as IPv6"
        )


def _is_here(address: str) -> bool:
    """Whether this machine has an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except socket.gaierror:
        # The interface that stands behind the address is not there.
        return False
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _token_again(path: str) -> str:
    """The token that is in its file by now; a pipe, which would be waited for, is not read again.

    :raises ValueError: when there is none.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: no plain file")
    return find_token(None, path, {})


def token_file(told: str | None, path: str | None, environment: Mapping[str, str]) -> str | None:
    """The file that :func:`find_token` takes the token from; ``None`` where it takes it from none."""
    credential = Path(environment.get(_CREDENTIALS_VARIABLE, "")) / TOKEN_CREDENTIAL
    if path or told:
        return path or None
    return str(credential) if environment.get(_CREDENTIALS_VARIABLE) and credential.exists() else None


def find_token(
    told: str | None, path: str | None, environment: MutableMapping[str, str], read: Callable[[str], str] = _token_in
) -> str:
    """The token: from the file, from the command line, from systemd, from the environment, in this order.

    It is taken out of the environment, wherever it came from, so that no program that is started inherits it.

    :raises ValueError: when there is none, saying where one can be put.
    """
    variable = environment.pop(TOKEN_VARIABLE, "")
    file = token_file(told, path, environment)
    found = read(file) if file else told or variable
    # Editors of Windows put a byte order mark in front.
    found = found.removeprefix("\ufeff").strip()
    if not found:
        raise ValueError(
            f"no token: have one made with `smartproxy client add NAME` and put it into a file that only this "
            f"daemon can read, or into the systemd credential {TOKEN_CREDENTIAL} or ${TOKEN_VARIABLE}"
        )
    if not found.isascii() or not found.isprintable() or " " in found:
        raise ValueError("the token holds characters that no token has; is this the right file?")
    return found


def end_with_server(signals: Signals, why: Closing) -> None:
    """Have the client end because its server did: with status 0 if the server closed the tunnel in order, else 1."""
    lost = why.cause is not Cause.TUNNEL_CLOSED
    signals.drain(StopReason(why.cause, f"the server is gone: {why.message}", status=NOT_STARTED if lost else 0))


def client_zygote(log: Log, secrets: Sequence[str], source: str | None = None, *, single: bool = False) -> Zygote:
    """What makes the client's workers.

    :param log: the daemon's, which a worker inherits and does not write.
    :param secrets: what the backend asks for, and workers do not have.
    :param source: the address from which servers are dialled, if one is given.
    :param single: whether each carries one session, and so profits from one that was played.
    """
    craft = partial(ClientCraft, source=source)

    def unborn(reactor: Any) -> Unborn:
        return Worker(reactor, log, source="client", kind=ClientLink, craft=craft).unborn()

    return Zygote(unborn, "smartproxy-cli", secrets, partial(rehearse, ClientPlay) if single else None)


def _ruined() -> StopReason:
    """Why the client ends that can have no workers any more."""
    return StopReason(Cause.WORKER_ZYGOTE, Cause.WORKER_ZYGOTE.meaning, status=NOT_STARTED)


Options = ClientSwitches
"""The name under which twistd looks for the switches."""


def makeService(options: ClientSwitches) -> IService:
    """The daemon, constructed but not started."""
    reactor = daemon_reactor()
    zygote = None
    if options.workers:
        zygote = client_zygote(
            options.log,
            [options.secret, *([options.basic] if options.basic else [])],
            options.source,
            single=options.single,
        )
    service = ClientService(
        reactor,
        backend=Backend(
            options.address.url, options.token, backend_http(reactor, options.address), reactor, basic=options.basic
        ),
        servers=options.servers,
        drain=options.drain,
        server_lost=partial(end_with_server, options.signals) if options["exit-with-server"] else lambda why: None,
        copy=lambda events: CopyFile(
            options.state_directory / COPY_NAME, options.token, options.address.url, events, in_thread=deferToThread
        ),
        endpoint=HostnameEndpoint if options.source is None else partial(SourcedEndpoint, source=options.source),
        house=None
        if zygote is None
        else partial(
            CrewHouse,
            reactor,
            zygote=zygote,
            count=options.workers,
            single=options.single,
            ruined=partial(options.signals.drain, _ruined()),
        ),
        heir=options.launch.predecessor is not None,
    )
    environment = {**os.environ, TOKEN_VARIABLE: options.secret} if options.by_environment else os.environ
    return life_of(
        reactor,
        service,
        ClientCondition(service),
        options,
        service.look,
        hands_over=service,
        environment=environment,
        zygote=zygote,
    )
