"""A site on another machine (:mod:`smartproxy.tap.commands.remote`): what is told where no call comes about."""

import http.client
import json
import ssl
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from unittest.mock import Mock, patch

from twisted.trial.unittest import SynchronousTestCase

from smartproxy._version import __version__
from smartproxy.backend.operations.partner import listed
from smartproxy.backend.operations.performing import Terms
from smartproxy.backend.operations.shapes import Page
from smartproxy.policy.versions import NEWEST, OLDEST
from smartproxy.tap.commands.console import Console
from smartproxy.tap.commands.remote import RemoteSite, SiteFailed, SiteMisnamed
from smartproxy.testing.pki import TestCa, TestCredential

HOST = "backend.example"
ROOT = TestCa.root("Muster GmbH")
DAY = timedelta(days=1)


class RemoteCase(SynchronousTestCase):
    """A backend that trusts one authority."""

    def setUp(self) -> None:
        """Write the authority's certificate."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        authority = self.folder / "ca.pem"
        authority.write_bytes(ROOT.certificate_pem)
        self.site = RemoteSite.of(f"https://{HOST}", b"token", str(authority))

    def told(self) -> str:
        """What a call that cannot be made ends with."""
        return str(self.assertRaises(SiteFailed, self.site.perform, listed, Page(), Terms()))


class Handshakes(RemoteCase):
    """What answers is not the backend, or has not its certificate."""

    def met(self, host: str, server: bytes | TestCredential) -> ssl.SSLError:
        """What the standard library raises when a server answers with some octets, or shows a certificate."""
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.site.tls.wrap_bio(to_client, to_server, server_hostname=host)
        if isinstance(server, bytes):
            to_client.write(server)
            to_client.write_eof()
            return self.assertRaises(ssl.SSLError, client.do_handshake)  # type: ignore[no-any-return]  # what it raised
        shown = self.folder / "shown.pem"
        shown.write_bytes(server.chain_pem + server.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown)
        other = context.wrap_bio(to_server, to_client, server_side=True)
        for end in (client, other):
            self.assertRaises(ssl.SSLWantReadError, end.do_handshake)
        return self.assertRaises(ssl.SSLError, client.do_handshake)  # type: ignore[no-any-return]  # what it raised

    def test_failures(self) -> None:
        """Each is told in words that say what to do, and nothing of how a library writes it."""
        now = datetime.now(UTC)
        expired = ROOT.issue("x", sans=[f"DNS:{HOST}"], valid_from=now - 9 * DAY, valid_until=now - DAY)
        early = ROOT.issue("x", sans=[f"DNS:{HOST}"], valid_from=now + DAY)
        for host, server, told in (
            (HOST, b"HTTP/1.1 400 Bad Request\r\n\r\n", "port 8443: what listens there does not speak TLS; is the URL"),
            (HOST, b"SSH-2.0-OpenSSH_9.2\r\n", "port 8443: what listens there does not speak TLS; is the URL"),
            (
                HOST,
                b"\x15\x03\x03\x00\x02\x02\x46",
                "TLS failed (tlsv1 alert protocol version); does smartproxy-backend",
            ),
            (HOST, ROOT.issue("x", sans=["DNS:other.example"]), f"not for {HOST}; call it by a name that is in it, or"),
            ("192.0.2.7", ROOT.issue("x", sans=["DNS:other.example"]), f"not for {HOST}; call it by a name that is in"),
            (HOST, TestCa.root("Other").issue("x", sans=[f"DNS:{HOST}"]), "; give --backend-ca FILE (smartproxy"),
            (HOST, expired, "certificate has expired; compare the clocks of both machines, and if they are right"),
            (HOST, early, "certificate is not yet valid; compare the clocks of both machines, and if they are right"),
        ):
            error = self.met(host, server)
            with patch.object(http.client.HTTPSConnection, "request", side_effect=error):
                said = self.told()
            self.assertIn(told, said)
            self.assertNotIn("_ssl.c", said)
            self.assertNotIn("[", said)

    def test_no_connection(self) -> None:
        """A port that nobody serves is told by what the system says of it, and an end within a handshake in words."""
        refused = ConnectionRefusedError(111, "Connection refused")
        for error, told in (
            (refused, "port 8443: Connection refused; does smartproxy-backend run there, and is --url right?"),
            (self.met(HOST, b""), "port 8443: TLS failed (the connection ended); does smartproxy-backend run there"),
            (ssl.SSLError("odd"), "port 8443: TLS failed (the connection ended); does smartproxy-backend"),
        ):
            with patch.object(http.client.HTTPSConnection, "request", side_effect=error):
                self.assertIn(told, self.told())


class Versions(RemoteCase):
    """Command and backend, of which one is older."""

    def answered(self, status: int, document: object, **headers: str) -> str:
        """What is told of an answer of the backend; header names have ``_`` for ``-``."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = Mock(status=status, getheader=given.get, **{"read.return_value": json.dumps(document).encode("ascii")})
        with (
            patch.object(http.client.HTTPSConnection, "request"),
            patch.object(http.client.HTTPSConnection, "getresponse", return_value=answer),
        ):
            return self.told()

    def test_apart(self) -> None:
        """No protocol in common is told with both versions and what to update, whatever else the answer is."""
        for spoken, update in (
            (
                f"{NEWEST + 1}-{NEWEST + 2}",
                f"update smartproxy to a version that speaks protocol {NEWEST + 1}, such as 9.0",
            ),
            (
                f"{OLDEST - 1}",
                f"update smartproxy-backend to a version that speaks protocol {OLDEST}, such as {__version__}",
            ),
        ):
            for status in (200, 422, 426):
                said = self.answered(status, {}, SmartProxy_Version="9.0", SmartProxy_Protocol=spoken)
                self.assertTrue(said.endswith(update), said)
                self.assertIn("smartproxy-backend 9.0 (protocol ", said)
                self.assertIn(f"smartproxy {__version__} (protocol ", said)

    def test_unread(self) -> None:
        """An answer that cannot be read names the part to update, also of a backend that says nothing of itself."""
        said = self.answered(200, {"other": 1})
        self.assertIn("is --url the backend's? If it is, update smartproxy-backend to a version that speaks", said)
        self.assertNotIn("of before", said)
        said = self.answered(200, {"other": 1}, SmartProxy_Version="0.9", SmartProxy_Protocol=f"{NEWEST}")
        self.assertIn(
            f"update the older of smartproxy {__version__} (protocol {NEWEST}) and smartproxy-backend 0.9", said
        )

    def test_no_host(self) -> None:
        """A host that nothing can resolve is told before a call is made."""
        for host in ("back..end", "a" * 64 + ".example", "back end"):
            with self.assertRaises(SiteMisnamed, msg=host) as caught:
                RemoteSite.of(f"https://{host}:8443", b"token", None)
            self.assertIn("--url", str(caught.exception))

    def test_authority_without_a_certificate(self) -> None:
        """A file that holds no certificate is told in our words; one that cannot be read in the system's."""
        path = self.folder / "other.pem"
        broken = ROOT.certificate_pem.replace(b"M", b"!", 5)
        for octets in (b"", b"garbage\n", bytes(4096), ROOT.credential.key_pem, broken):
            path.write_bytes(octets)
            told = self.assertRaises(SiteFailed, RemoteSite.of, f"https://{HOST}", b"token", str(path))
            self.assertEqual(str(told), f"--backend-ca: {path} holds no PEM certificate that can be read")
        path.unlink()
        told = self.assertRaises(SiteFailed, RemoteSite.of, f"https://{HOST}", b"token", str(path))
        self.assertEqual(str(told), f"cannot read {path}: No such file or directory")

    def test_token_that_is_read_once(self) -> None:
        """A command of many calls reads its token once: it may come from a pipe."""
        arguments = Namespace(api_url=f"https://{HOST}", api_token_file="-", api_ca=None, json=False)
        console = Console(arguments=arguments, stdin=BytesIO(b"token\n"))
        tokens = []
        with patch.object(RemoteSite, "perform", lambda site, *what: tokens.append(site.token)):
            for _ in range(2):
                console.call(listed, Page())
        self.assertEqual(tokens, ["token", "token"])

    def test_malformed(self) -> None:
        """What no backend says of itself is not repeated."""
        said = self.answered(200, {}, SmartProxy_Version="0.9", SmartProxy_Protocol="\x1b[2J")
        self.assertEqual(said, f"{HOST} does not say as the backend does what it speaks; is --url right?")
