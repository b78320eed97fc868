"""TLS clients of two makes that try what a partner may not: pyOpenSSL's, and the command ``openssl s_client``."""

import os
import socket
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress

import attrs
from OpenSSL import SSL

from smartproxy.testing.pki import CredentialFiles
from tests.process.clock import PATIENCE_SECONDS
from tests.programs import program

GREETING = b"ODETTE FTP READY"

Change = Callable[[SSL.Context], None]


def unchanged(_context: SSL.Context) -> None:
    """Change nothing."""


@attrs.define
class Call:
    """One connection of pyOpenSSL, which blocks."""

    connection: SSL.Connection
    socket: socket.socket

    def close(self) -> None:
        """Be gone."""
        self.socket.close()

    @property
    def version(self) -> str:
        """The TLS version."""
        return self.connection.get_protocol_version_name()

    @property
    def cipher(self) -> str:
        """The cipher suite."""
        return self.connection.get_cipher_name() or ""

    def greeting(self) -> bytes:
        """What the server says first; raises :class:`SSL.Error` if it is an alert."""
        octets: bytes = self.connection.recv(100)
        return octets


@attrs.frozen
class PyOpenSsl:
    """Calls a server."""

    port: int
    files: CredentialFiles

    def context(self, change: Change = unchanged) -> SSL.Context:
        """The context of a permissive client that presents its certificate."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        context.use_certificate_chain_file(str(self.files.certificate))
        context.use_privatekey_file(str(self.files.key))
        change(context)
        return context

    def call(self, change: Change = unchanged) -> Call:
        """Connect and shake hands.

        :raises SSL.Error: if the server will not.
        """
        return self._call(self.context(change), None)

    def again(self, call: Call) -> Call:
        """Connect with the session of an earlier connection, to resume it if the server lets us.

        :raises SSL.Error: if the server will not.
        """
        return self._call(call.connection.get_context(), call.connection.get_session())

    def _call(self, context: SSL.Context, session: SSL.Session | None) -> Call:
        line = blocking(self.port)
        connection = SSL.Connection(context, line)
        connection.set_connect_state()
        if session is not None:
            connection.set_session(session)
        try:
            connection.do_handshake()
        except BaseException:
            line.close()
            raise
        return Call(connection, line)

    def hello(self, version: int) -> bytes:
        """The ClientHello that a client which knows only this version begins with."""

        def only(context: SSL.Context) -> None:
            context.set_min_proto_version(version)
            context.set_max_proto_version(version)

        connection = SSL.Connection(self.context(only), None)
        connection.set_connect_state()
        with suppress(SSL.WantReadError):
            connection.do_handshake()
        octets: bytes = connection.bio_read(1 << 14)
        return octets


def blocking(port: int) -> socket.socket:
    """A TCP connection to a port of the loopback address, which gives up after a while."""
    line = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    line.settimeout(None)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        line.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(PATIENCE_SECONDS), 0))
    return line


def compressing(hello: bytes, methods: bytes) -> bytes:
    """A ClientHello that offers these compression methods instead (RFC 5246 section 7.4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2])
    body = hello[9:at] + bytes([len(methods)]) + methods + hello[at + 1 + hello[at] :]
    message = hello[5:6] + len(body).to_bytes(3) + body
    return hello[:3] + len(message).to_bytes(2) + message


def chosen_compression(answer: bytes) -> int | None:
    """The compression method of a ServerHello; ``None`` if the answer is an alert or nothing."""
    if not answer or answer[0] != 22:
        return None
    at = 5 + 4 + 2 + 32
    return answer[at + 1 + answer[at] + 2]


@attrs.frozen
class SClient:
    """Debian's ``openssl s_client``."""

    port: int
    files: CredentialFiles

    def call(self, *switches: str, say: bytes = b"Q\n") -> str:
        """Connect, wait for the server's greeting or its refusal, say something, and give all that was printed."""
        printed = b""
        with subprocess.Popen(
            [
                *(program("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port}"),
                *("-cert", str(self.files.certificate), "-key", str(self.files.key)),
                *switches,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as client:
            assert client.stdout is not None
            # A server that says neither ends the connection at its deadline.
            while GREETING not in printed and (octets := os.read(client.stdout.fileno(), 1 << 16)):
                printed += octets
            printed += client.communicate(say, PATIENCE_SECONDS)[0]
        return printed.decode("utf-8", "replace")
