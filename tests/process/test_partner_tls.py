"""The TLS that the server speaks with partners, tried out by real clients: nothing old, nothing resumed."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from OpenSSL import SSL

from tests.process.sites import Log, SiteCase, until
from tests.process.tls_clients import (
    Call,
    Change,
    PyOpenSsl,
    SClient,
    blocking,
    chosen_compression,
    compressing,
)

READY = b"\x10\x00\x00\x17IODETTE FTP READY \r"
VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
NULL, DEFLATE = 0, 1
SUITES_1_3 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
SUITES_1_2 = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}
"""The server's certificate is ECDSA's; with RSA's they are ECDHE-RSA-..."""


def only(version: int) -> Change:
    """Make a context that knows one version only."""

    def change(context: SSL.Context) -> None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)

    return change


class PartnerTls(SiteCase):
    """ACME's certificate is good; what it does with it is not always."""

    async def begin(self) -> None:
        """Make the clients."""
        await super().begin()
        self.client = PyOpenSsl(self.site.port, self.acme.files)
        self.command = SClient(self.site.port, self.acme.files)

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3, and none before."""
        for version, name in ((SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")):
            call = self.client.call(only(version))
            self.assertEqual((call.version, call.greeting()), (name, READY))
            call.close()
        for old in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
            self.assertIn("protocol version", str(self.assertRaises(SSL.Error, self.client.call, only(old))))
        for switch in ("-tls1", "-tls1_1"):
            answer = self.command.call(switch, "-cipher", "ALL:@SECLEVEL=0")
            self.assertIn("alert protocol version", answer)
        self.assertIn("New, TLSv1.2", self.command.call("-tls1_2"))
        self.assertIn("New, TLSv1.3", self.command.call())

    def test_ciphers(self) -> None:
        """Of all suites that a client of TLS 1.2 knows, those with ECDHE and AEAD; of TLS 1.3 all three."""
        taken = set()
        suites = SSL.Connection(self.client.context(only(SSL.TLS1_2_VERSION)), None).get_cipher_list()
        self.assertGreater(len(suites), 60)
        for suite in suites:
            if suite in SUITES_1_3:
                continue

            def change(context: SSL.Context, suite: str = suite) -> None:
                only(SSL.TLS1_2_VERSION)(context)
                context.set_cipher_list(f"{suite}:@SECLEVEL=0".encode())

            try:
                call = self.client.call(change)
            except SSL.Error:
                continue
            taken.add(call.cipher)
            call.close()
        self.assertEqual(taken, SUITES_1_2)
        for suite in SUITES_1_3:

            def change13(context: SSL.Context, suite: str = suite) -> None:
                only(SSL.TLS1_3_VERSION)(context)
                context.set_tls13_ciphersuites(suite.encode())

            call = self.client.call(change13)
            self.assertEqual((call.cipher, call.greeting()), (suite, READY))
            call.close()

    async def test_not_resumed(self) -> None:
        """A saved session is of no use: every connection shows its certificate again.

        In TLS 1.2 no ticket is given. In TLS 1.3 OpenSSL sends one that names an entry of a cache, which is off.
        """
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            log = Log(self.site.server)
            first = self.client.call(only(version))
            self.assertEqual(first.greeting(), READY)
            first.close()
            again = self.client.again(first)
            self.assertEqual(again.greeting(), READY)
            again.close()

            def verified_twice(log: Log = log) -> bool:
                return len(log.events("certificate.accepted")) == 2

            await until(verified_twice, "verified twice")

    async def test_not_resumed_by_openssl(self) -> None:
        """The same with the command of OpenSSL, which says whether a session is resumed, if there is one to resume."""
        log = Log(self.site.server)
        calls = 0
        for switch in ("-tls1_2", "-tls1_3"):
            file = self.site.folder / f"session{switch}"
            answer = self.command.call(switch, "-sess_out", str(file), "-msg")
            self.assertIn("New, TLS", answer)
            calls += 1
            if switch == "-tls1_2":
                self.assertNotIn("NewSessionTicket", answer)
                self.assertFalse(file.exists(), "there was nothing to save")
            # Of TLS 1.3 there is nothing to resume either when the client left before anything came.
            if file.exists():
                answer = self.command.call(switch, "-sess_in", str(file))
                self.assertIn("New, TLS", answer)
                self.assertNotIn("Reused, TLS", answer)
                calls += 1
        await until(lambda: len(log.events("certificate.accepted")) == calls, "verified each time")

    async def test_resumption_outlives_no_revocation(self) -> None:
        """A session that was saved before its certificate was revoked opens nothing after it (threat T13).

        Neither in the next generation, nor in the same one, where nothing but the verification stands in its way: there
        the certificate is refused because its list runs out.
        """
        stolen = self.made.bolts_ca.issue("oftp.bolt.example", serial_number=self.bolt.code)
        client = PyOpenSsl(self.site.port, stolen.write(self.site.certificates, "stolen"))
        seconds = 4.0
        while True:
            # A list has whole seconds: what is beyond them is cut off.
            ends = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
            await self.load_list(self.made.bolts_ca.crl(next_update=ends))
            log = Log(self.site.server)
            with contextlib.suppress(SSL.Error):  # a machine so busy that the list has run out already
                saved = [self.saved(client, version) for version in VERSIONS]
            if datetime.now(UTC) < ends:
                break
            seconds *= 2
        log = await self.after(saved, log)
        await until(lambda: datetime.now(UTC) > ends, "the end of the list")
        await self.opens_nothing(client, saved, log, "revocation_stale")
        self.assertEqual(log.events("configuration.accepted"), [])

        await self.load_list(self.made.bolts_ca.crl())
        log = Log(self.site.server)
        saved = [self.saved(client, version) for version in VERSIONS]
        await self.after(saved, log)
        await self.load_list(self.made.bolts_ca.crl([stolen]))
        await self.opens_nothing(client, saved, Log(self.site.server), "revoked")

    async def after(self, saved: Sequence[Call], log: Log) -> Log:
        """The log from when all of it is told that was let in: a worker tells it later than the partner learns it."""
        await until(lambda: len(log.events("certificate.accepted")) >= len(saved), "all are told")
        return Log(self.site.server)

    async def load_list(self, crl: bytes) -> None:
        """Have a list in force."""
        log = Log(self.site.server)
        path = self.site.certificates / "stolen.crl"
        path.write_bytes(crl)
        await self.site.smartproxy("crl", "load", str(path))
        await self.site.in_force(log)

    def saved(self, client: PyOpenSsl, version: int) -> Call:
        """A connection that was let in, whose session can be offered again."""
        call = client.call(only(version))
        self.assertEqual(call.greeting(), READY)
        call.close()
        return call

    async def opens_nothing(self, client: PyOpenSsl, saved: Sequence[Call], log: Log, cause: str) -> None:
        """Offer saved sessions; each is refused because its certificate was looked at."""

        def greeting(before: Call) -> bytes:
            call = client.again(before)
            try:
                return call.greeting()
            finally:
                call.close()

        for before in saved:
            self.assertRaises(SSL.Error, greeting, before)
        ends = ("certificate.refused", "certificate.accepted", "handshake.failed")
        await until(lambda: sum(len(log.events(name)) for name in ends) >= len(saved), "an end of each")
        self.assertEqual([each["cause"] for each in log.events("certificate.refused")], [f"certificate.{cause}"] * 2)
        self.assertEqual(log.events("certificate.accepted"), [])

    async def test_no_renegotiation(self) -> None:
        """A client that wants to shake hands a second time is refused, and never verified again."""
        log = Log(self.site.server)
        call = self.client.call(only(SSL.TLS1_2_VERSION))
        self.assertEqual(call.greeting(), READY)
        call.connection.renegotiate()
        error = self.assertRaises(SSL.Error, call.connection.do_handshake)
        self.assertIn("no renegotiation", str(error))
        self.assertGreater(call.connection.total_renegotiations(), 0)
        call.close()
        answer = self.command.call("-tls1_2", say=b"R\n")
        self.assertIn("RENEGOTIATING", answer)
        self.assertRegex(answer, "(?i)no.renegotiation|handshake failure")
        # A worker tells it later than the partner learns it.
        await until(lambda: len(log.events("certificate.accepted")) >= 2, "each was verified")
        self.assertEqual(len(log.events("certificate.accepted")), 2)

    def test_no_compression(self) -> None:
        """Of a client that would like to compress none is taken but the null method."""
        hello = self.client.hello(SSL.TLS1_2_VERSION)
        for methods, chosen in (
            (bytes([NULL]), NULL),
            (bytes([DEFLATE, NULL]), NULL),
            (bytes([DEFLATE]), None),
        ):
            line = blocking(self.site.port)
            line.sendall(compressing(hello, methods))
            self.assertEqual(chosen_compression(line.recv(200)), chosen, methods)
            line.close()
        self.assertIn("Compression: NONE", self.command.call("-tls1_2", "-comp"))
