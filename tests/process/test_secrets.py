"""Secrets stay secrets: canaries are planted everywhere, everything is traced, and then all that was written is read.

The canaries: the client's token, the password in the backend's URL, SSIDPSWD of the partner and of the station, the
challenge's answer (AURP), the tunnel's ticket, the password of a partner who breaks the protocol, and the private keys.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.testing.settings import Settings, answer, offer
from smartproxy.testing.site import STATION_CODE
from tests.process.disk import files_below, findings, key_needles, told_to
from tests.process.sites import ACME, Log, SiteCase, TestedSite

PARTNERS_PASSWORD, STATIONS_PASSWORD, BREAKERS_PASSWORD = "PQZ7VXWK", "SQZ7VXWK", "BQZ7VXWK"
URL_USER, URL_PASSWORD = "proxyuser", "uQZ7VXWKcanary"
ANSWER, OTHER_ANSWER = b"aurp-QZ7VXWK-canary!", b"AURP-QZ7VXWK-CANARY?"
TICKET = b"ticket-QZ7VXWK-canary"

PLANTING = f"""
import secrets

_real = secrets.token_bytes


def token_bytes(octets=None):
    made = _real(octets)
    if octets != 32:
        return made
    with open(PLANTED, "a") as file:
        file.write("ticket\\n")
    return {TICKET!r} + made[{len(TICKET)}:]


secrets.token_bytes = token_bytes
"""
"""What Python runs at the start of each of the site's processes: tickets begin with the canary."""


def spelled(name: str, octets: bytes) -> dict[str, bytes]:
    """How a secret could be written down."""
    middle = octets[: len(octets) // 3 * 3]
    return {
        name: octets,
        f"{name} in hex": octets.hex().encode(),
        f"{name} in HEX": octets.hex().upper().encode(),
        f"{name} in base64": b64encode(middle),
        f"{name} in url-safe base64": urlsafe_b64encode(middle),
    }


class SecretsTests(SiteCase):
    """One site that logs everything it can."""

    async def _start(self) -> TestedSite:
        """Start the site at TRACE, the backend by its logrc, with a password in the backend's URL."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        # What is planted is written to a file, which a worker cannot do.
        site = TestedSite(folder, self.made, 0)
        planting = folder / "planting"
        planting.mkdir()
        (planting / "sitecustomize.py").write_text(f"PLANTED = {str(folder / 'planted')!r}\n{PLANTING}")
        site._environment["PYTHONPATH"] = f"{planting}:{site._environment['PYTHONPATH']}"
        await site.smartproxy(
            *("settings", "set", "client.station.host", "127.0.0.1", "client.station.port", str(self.station.port)),
            *("server.listeners", self.listeners),
        )
        for name in ("backend", "server", "client"):
            text = '[levels]\n"*" = "trace"\n[[appenders]]\ntype = "stdout"\n[[appenders]]\ntype = "daily"\n'
            (site.folder / name / f"smartproxy-{name}.logrc").write_text(text)
        await site.start_backend()
        server = Log(await site.start_server("--drain", "2"))
        url = f"https://{URL_USER}:{URL_PASSWORD}@127.0.0.1:{site.backend_port}"
        await site.start_client("--drain", "2", "--backend", url)
        await site.listening(server)
        return site

    async def begin(self) -> None:
        """Hold a session with passwords and secure authentication, and have one that breaks the protocol."""
        await super().begin()
        await self.good_session()
        await self.bad_session()
        await self.bad_session_after_answer()
        await self.ended()
        self.token = (self.site.folder / "client" / "token").read_bytes().strip()

    async def good_session(self) -> None:
        """Both sides say their passwords, and answer each other's challenge."""
        partner, station = await self.greeted()
        partner.say(commands.SECD())
        await station.hear(commands.SECD)
        station.say(commands.AUCH(chal=b"challenge"))
        await partner.hear(commands.AUCH)
        partner.say(commands.AURP(rsp=ANSWER))
        await station.hear(commands.AURP)
        station.say(commands.SECD())
        await partner.hear(commands.SECD)
        partner.say(commands.AUCH(chal=b"challenge"))
        await station.hear(commands.AUCH)
        station.say(commands.AURP(rsp=OTHER_ANSWER))
        await partner.hear(commands.AURP)
        partner.say(commands.ESID(reas=0, reast=""))
        await station.hear(commands.ESID)
        for line in (partner, station):
            line.hang_up()
            await line.ended

    async def greeted(self) -> Any:
        """Both ends of a session that has exchanged SSIDs."""
        settings = Settings(code=ACME, password=PARTNERS_PASSWORD, authentication=True)
        partner = await self.acme.dial(self.site.port)
        await partner.hear(commands.SSRM)
        partner.say(offer(settings))
        station = await self.station.line()
        station.say(SSRM_BUFFER)
        offered = await station.hear(commands.SSID)
        assert offered.pswd == PARTNERS_PASSWORD
        station.say(answer(attrs.evolve(settings, code=STATION_CODE, password=STATIONS_PASSWORD), offered))
        assert (await partner.hear(commands.SSID)).pswd == STATIONS_PASSWORD
        return partner, station

    async def bad_session(self) -> None:
        """An SSID that is wrong behind its password."""
        line = await self.acme.dial(self.site.port)
        await line.hear(commands.SSRM)
        ssid = bytearray(frame(encode(offer(Settings(code=ACME, password=BREAKERS_PASSWORD)))))
        ssid[ssid.index(BREAKERS_PASSWORD.encode()) + 8 + 5] = ord("?")
        line.say(bytes(ssid))
        assert await line.hear_end() is not EsidReason.NORMAL

    async def bad_session_after_answer(self) -> None:
        """An answer to a challenge that nobody made."""
        partner, station = await self.greeted()
        partner.say(commands.AURP(rsp=ANSWER))
        assert await partner.hear_end() is not EsidReason.NORMAL
        await station.hear(commands.ESID)
        await station.ended

    @property
    def needles(self) -> dict[str, bytes]:
        """All canaries in all spellings."""
        return {
            **spelled("the token", self.token),
            **spelled("the URL's password", URL_PASSWORD.encode()),
            **spelled("the URL's user and password", f"{URL_USER}:{URL_PASSWORD}".encode()),
            **spelled("the partner's SSIDPSWD", PARTNERS_PASSWORD.encode()),
            **spelled("the station's SSIDPSWD", STATIONS_PASSWORD.encode()),
            **spelled("the password in a wrong SSID", BREAKERS_PASSWORD.encode()),
            **spelled("the partner's AURP", ANSWER),
            **spelled("the station's AURP", OTHER_ANSWER),
            **spelled("the ticket", TICKET),
        }

    def written(self) -> Iterator[Path]:
        """All files of the site that programs have written: logs, output, stores, temporary files."""
        operators = [self.site.certificates, self.site.folder / "client" / "token", self.site.folder / "planting"]
        return files_below(self.site.folder, operators)

    async def test_everything_was_traced(self) -> None:
        """The commands with the secrets are in both daemons' logs, and in their daily files, masked."""
        for program in (self.site.server, self.site.client):
            assert program is not None
            program.read()
            traced = [record for record in program.records if record.get("name") == "session.command"]
            shown = {record["command"]: record["fields"] for record in traced}
            self.assertLessEqual({"SSID", "AUCH", "AURP", "SECD", "ESID"}, set(shown))
            self.assertEqual(shown["SSID"]["SSIDPSWD"], "***")
            self.assertEqual(shown["AURP"]["AURPRSP"], "***")
            (daily,) = (self.site.folder / program.name.removeprefix("smartproxy-") / "log").iterdir()
            self.assertRegex(daily.name, rf"^{program.name}-\d{{4}}-\d\d-\d\d\.log$")
            self.assertIn("SSIDPSWD=***", daily.read_text())
        (daily,) = (self.site.state / "log").iterdir()
        self.assertIn(" DEBUG ", daily.read_text())
        self.assertGreaterEqual((self.site.folder / "planted").read_text().count("ticket"), 2)

    async def test_nothing_is_written_down(self) -> None:
        """No canary is in a log, in standard output or error, in the backend's store, or in a temporary file."""
        paths = list(self.written())
        names = {path.name for path in paths}
        self.assertLessEqual({"smartproxy-server.jsonl", "smartproxy-client.log", "smartproxy-backend.jsonl"}, names)
        self.assertTrue(any(path.parent == self.site.state and path.stat().st_size > 10_000 for path in paths))
        self.assertEqual(findings(paths, self.needles), [])

    async def test_the_search_finds(self) -> None:
        """Each canary in each spelling is found where it is planted."""
        planted = self.site.folder / "logs" / "planted.log"
        self.addCleanup(planted.unlink)
        for name, needle in self.needles.items():
            planted.write_bytes(b"before" + needle + b"after")
            self.assertIn(f"{planted}: {name}", findings(self.written(), self.needles))

    async def test_private_keys(self) -> None:
        """No private key of anybody is in a log, an output or a temporary file."""
        folders = [self.site.logs, self.site.folder / "tmp", self.site.folder / "home"]
        folders += [self.site.folder / name / "log" for name in ("backend", "server", "client")]
        paths = [path for folder in folders for path in files_below(folder)]
        self.assertGreaterEqual(len(paths), 6)
        needles = key_needles((self.site.certificates / "muster.key").read_bytes())
        needles["a private key in PEM"] = b"PRIVATE KEY"
        self.assertEqual(findings(paths, needles), [])

    async def test_processes(self) -> None:
        """No canary is in a command line or an environment, but for the URL that the operator wrote."""
        for program in (self.site.backend, self.site.server, self.site.client):
            assert program is not None
            told = told_to(program)
            self.assertIn(program.name.encode(), told)
            if program is self.site.client:
                told = told.replace(f"{URL_USER}:{URL_PASSWORD}@".encode(), b"")
            self.assertEqual([name for name, needle in self.needles.items() if needle in told], [])

    async def test_a_password_in_the_url_is_warned_about(self) -> None:
        """The event names the switch, and not what it holds."""
        assert self.site.client is not None
        warned = await self.site.client.wait_for_event("secret.on_command_line")
        self.assertEqual(warned["option"], "--backend")

    async def test_events_in_the_backend(self) -> None:
        """What the backend tells an operator holds no canary; the violations are told all the same."""
        shown = json.dumps(await self.site.smartproxy("events", "-n", "1000"))
        self.assertIn("session.violation", shown)
        self.assertEqual([name for name, needle in self.needles.items() if needle.decode("latin-1") in shown], [])
