"""The command lines of the plain pair: the manual's switches, and what they say to wrong ones."""

import os
from pathlib import Path
from typing import Any

from smartproxy.logs.levels import EVERYTHING
from smartproxy.logs.severity import Severity
from smartproxy.net.files import replace
from smartproxy.plain.client import Outgoing
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.credential import dump
from smartproxy.tap import plain_client, plain_server
from smartproxy.tunnel.identity import load_or_make
from tests.unit.test_credential import GOOD
from tests.unit.test_daemon_options import OptionsTestCase
from tests.unit.test_licence import NOW, SITE


class PlainServerSwitches(OptionsTestCase):
    """smartproxy-plain-server."""

    def server(self, *words: str) -> Any:
        """Read a command line with a good licence."""
        identity = load_or_make(self.folder / "identity.key")
        path = self.folder / "licence"
        replace(path, SITE.text(proxy_id=identity.proxy_id).encode())
        return self.parse(plain_server.Options(), "-l", str(path), *words)

    def test_defaults(self) -> None:
        """Those of the manual; nothing is permitted."""
        options = self.server()
        self.assertEqual((options.internal, options.external), (HostPort("", 65432), HostPort("", 6619)))
        self.assertEqual((options.seconds, options.permitted, options["foreground"]), (180, [], 0))

    def test_addresses(self) -> None:
        """A port, an address with a port in either family, and the manual's form without the address."""
        for words, expected in (
            ("7000", HostPort("", 7000)),
            (":7000", HostPort("", 7000)),
            ("192.0.2.1:7000", HostPort("192.0.2.1", 7000)),
            ("[2001:db8::1]:7000", HostPort("2001:db8::1", 7000)),
        ):
            self.assertEqual(self.server("-i", words).internal, expected)
            self.assertEqual(self.server("-e", words).external, expected)

    def test_debug_and_trace(self) -> None:
        """``-d`` and ``-t`` stay in the foreground, and log more, which the foreground alone does not do.

        A level that was asked for holds.
        """
        for words, level in (
            (["--foreground"], Severity.INFO),
            (["-d"], Severity.DEBUG),
            (["--debug"], Severity.DEBUG),
            (["-t"], Severity.TRACE),
            (["-d", "--log-level", "error"], Severity.ERROR),
        ):
            options = self.server(*words)
            self.assertEqual(options["foreground"], 1)
            self.assertEqual(options.levels.described()[EVERYTHING], level.label)

    def test_level_of_a_logrc(self) -> None:
        """A logrc's level for everything holds; one for some events leaves the rest at that of the switch."""
        path = self.folder / "smartproxy-plain-server.logrc"
        for text, words, level in (
            ('"*" = "warning"', ["-d"], Severity.WARNING),
            ('"*" = "warning"', ["-d", "--log-level", "error"], Severity.ERROR),
            ('"*" = "warning"', ["-t"], Severity.TRACE),
            ('tunnel = "error"', ["-d"], Severity.DEBUG),
        ):
            path.write_text(f"[levels]\n{text}\n", encoding="utf-8")
            self.assertEqual(self.server(*words).levels.lowest, level, words)

    def test_licence_faults(self) -> None:
        """Each is told with the path, what is wrong and the Proxy ID; the status is 1."""
        proxy_id = load_or_make(self.folder / "identity.key").proxy_id
        for path, word in (
            (str(self.folder / "missing"), "no such file"),
            (self.file("invalid.lic", "{}"), "not a licence"),
            (self.file("ended", SITE.text(proxy_id=proxy_id, valid_until=NOW)), "ended on"),
        ):
            status, text = self.ends(plain_server.Options(), "-l", path)
            self.assertEqual(status, 1)
            for part in (path, word, proxy_id):
                self.assertIn(part, text)

    def test_wrong_values(self) -> None:
        """Each is one line that names its switch; the status is 2."""
        for words, part in (
            (("-T", "0"), "--timeout: '0' is not a number of seconds from 1 to 86400"),
            (("-T", "86401"), "--timeout"),
            (("-T", "²"), "--timeout"),
            (("-T", "9" * 5000), "--timeout"),
            (("-i", "dmz.example:1"), "--internal"),
            (("-e", "x"), "--external"),
            (("--permit", "mail.example"), "--permit: 'mail.example' is not a destination"),
        ):
            identity = load_or_make(self.folder / "identity.key")
            path = self.folder / "licence"
            replace(path, SITE.text(proxy_id=identity.proxy_id).encode())
            status, text = self.ends(plain_server.Options(), "-l", str(path), *words)
            self.assertEqual(status, 2)
            self.assertIn(part, text)


class PlainClientSwitches(OptionsTestCase):
    """smartproxy-plain-client."""

    def credential(self, mode: int = 0o600) -> str:
        """A good credential."""
        path = Path(self.file("inside-1.credential", dump(GOOD)))
        path.chmod(mode)
        return str(path)

    def client(self, *words: str) -> Any:
        """Read a command line with all that is needed."""
        return self.parse(plain_client.Options(), "-c", self.credential(), "-e", "dmz.example", *words)

    def test_defaults(self) -> None:
        """Those of the manual; programs inside are awaited on this machine only."""
        options = self.client()
        self.assertEqual(options.server, HostPort("dmz.example", 65432))
        self.assertEqual(options.target, HostPort("localhost", 6619))
        (outgoing,) = options.outgoing
        self.assertEqual((outgoing.listen_at, outgoing.destination), (HostPort("127.0.0.1", 65433), None))
        self.assertEqual((options.credential, options.seconds, options.retry), (GOOD, 180, 60))

    def test_target(self) -> None:
        """A port alone is on this machine, also in the manual's form."""
        for words, expected in (
            ("22", HostPort("localhost", 22)),
            (":22", HostPort("localhost", 22)),
            ("sftp.inside", HostPort("sftp.inside", 6619)),
            ("[2001:db8::1]:22", HostPort("2001:db8::1", 22)),
            ("::1", HostPort("::1", 6619)),
        ):
            self.assertEqual(self.client("-i", words).target, expected)

    def test_retry(self) -> None:
        """0 is a number of seconds, too: the target is then called for connections alone."""
        self.assertEqual(self.client("--retry", "0").retry, 0)

    def outgoing(self, *words: str) -> list[tuple[str, int, HostPort | None]]:
        """The ports for programs inside."""
        ports: list[Outgoing] = self.client(*words).outgoing
        return [(port.listen_at.host, port.listen_at.port, port.destination) for port in ports]

    def test_outgoing(self) -> None:
        """One port for CONNECT and SOCKS5, unless it is 0, and one for each ``--forward``."""
        self.assertEqual(self.outgoing("-Q", "0"), [])
        self.assertEqual(self.outgoing("-Q", "192.0.2.1:8080"), [("192.0.2.1", 8080, None)])
        self.assertEqual(
            self.outgoing("-Q", "0", "--forward", "2222=sftp.example:22", "--forward", "[::1]:25=[2001:db8::1]:25"),
            [("127.0.0.1", 2222, HostPort("sftp.example", 22)), ("::1", 25, HostPort("2001:db8::1", 25))],
        )

    def test_what_is_missing(self) -> None:
        """Without a credential or a server the line says what to do."""
        status, text = self.ends(plain_client.Options(), "-e", "dmz.example")
        self.assertEqual(status, 2)
        self.assertIn("smartproxy authority issue-client", text)
        status, text = self.ends(plain_client.Options(), "-c", self.credential())
        self.assertEqual(status, 2)
        self.assertIn("--server is missing", text)

    def test_credentials_that_cannot_be_used(self) -> None:
        """A file that others may read, that is not there, or that holds none."""
        for path, part in (
            (self.credential(0o640), "chmod 600"),
            (str(self.folder / "missing"), "No such file"),
            (self.file("none", "{}"), "others may read it"),
        ):
            status, text = self.ends(plain_client.Options(), "-e", "dmz.example", "-c", path)
            self.assertEqual(status, 2)
            self.assertIn(part, text)
        empty = Path(self.file("empty", "{}"))
        empty.chmod(0o600)
        _, text = self.ends(plain_client.Options(), "-e", "dmz.example", "-c", str(empty))
        self.assertIn("not a client's credential", text)

    def test_credential_from_systemd(self) -> None:
        """What systemd hands over may show rights of the group, which stand for its access list."""
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.folder)
        options = self.parse(plain_client.Options(), "-c", self.credential(0o440), "-e", "dmz.example")
        self.assertEqual(options.credential, GOOD)

    def test_wrong_values(self) -> None:
        """Each is one line that names its switch; the status is 2."""
        for words, part in (
            (("--forward", "2222"), "right is [ip:]port=host:port"),
            (("--forward", "2222=sftp.example"), "right is [ip:]port=host:port"),
            (("--forward", "x=sftp.example:22"), "--forward"),
            (("-Q", "localhost:1"), "--outgoing"),
            (("-i", "a:b"), "--target"),
            (("-i", "0.0.0.0:22"), "--target"),
            (("--forward", "2222=[::]:22"), "every address of a machine"),
            (("-T", "x"), "--timeout"),
            (("--retry", "86401"), "--retry: '86401' is not a number of seconds from 0 to 86400"),
        ):
            status, text = self.ends(plain_client.Options(), "-c", self.credential(), "-e", "dmz.example", *words)
            self.assertEqual(status, 2)
            self.assertIn(part, text)
