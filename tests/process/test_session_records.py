"""Sessions over real daemons: recorded by the client, listed and shown by the operator's command, watched and ended."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from smartproxy.oftp2 import commands
from smartproxy.oftp2.commands import SFID
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.oftp2.subrecords import pack
from smartproxy.tap.commands.recordings import judge
from smartproxy.testing.programs import finish
from smartproxy.testing.settings import Settings, answer, offer
from smartproxy.testing.site import SMARTPROXY, STATION_CODE
from tests.process.clock import PATIENCE_SECONDS
from tests.process.disk import files_below, findings
from tests.process.lines import Line
from tests.process.sites import ACME, SiteCase, reactor, until

PASSWORD, STATIONS = "PQZ7VXWK", "SQZ7VXWK"
CONTENT = b"QZ7VXWK-content-"
CREDIT = 2


class SessionRecords(SiteCase):
    """A site whose sessions leave a record."""

    async def greeted(self) -> tuple[Line, Line]:
        """Both ends of a session that has exchanged SSIDs with passwords."""
        settings = Settings(code=ACME, password=PASSWORD, buffer_size=128, credit=CREDIT)
        partner = await self.acme.dial(self.site.port)
        await partner.hear(commands.SSRM)
        partner.say(offer(settings))
        station = await self.station.line()
        station.say(SSRM_BUFFER)
        offered = await station.hear(commands.SSID)
        answering = Settings(code=STATION_CODE, password=STATIONS, buffer_size=128, credit=CREDIT)
        station.say(answer(answering, offered))
        await partner.hear(commands.SSID)
        return partner, station

    async def begin_file(self, partner: Line, station: Line, name: str) -> SFID:
        """Offer a file, which is accepted."""
        offered = SFID(
            dsn=name,
            date=20261120,
            time=1215300001,
            dest=STATION_CODE,
            orig=ACME,
            fmt="U",
            lrecl=0,
            fsiz=1,
            osiz=1,
            rest=0,
            sec=0,
            ciph=0,
            comp=0,
            env=0,
            sign="N",
            desc="",
        )
        partner.say(offered)
        await station.hear(commands.SFID)
        station.say(commands.SFPA(acnt=0))
        await partner.hear(commands.SFPA)
        return offered

    async def data_came(self, station: Line, octets: int) -> None:
        """Wait until so many octets of DATA are at the station."""
        await until(lambda: station.data >= octets, "DATA at the station")

    async def until_told(self, *arguments: str, good: Callable[[Any], object]) -> Any:
        """The answer of the command, as soon as it is so."""
        begun = reactor.seconds()
        while True:
            found = await self.site.smartproxy(*arguments)
            if good(found):
                return found
            if reactor.seconds() - begun > PATIENCE_SECONDS:
                raise AssertionError(f"{arguments}: {json.dumps(found)[:2000]}")
            await deferLater(reactor, 0.2)

    async def test_a_file(self) -> None:
        """A file is sent: its session is listed, shown with all commands, and judged; no password is anywhere."""
        partner, station = await self.greeted()
        offered = await self.begin_file(partner, station, "DOOR-PANEL.STEP")
        content = CONTENT * 16
        buffers = list(pack(content, 128))
        sent = 0
        for index, buffer in enumerate(buffers):
            partner.say(commands.DATA(buf=buffer[1:]))
            sent += 4 + len(buffer)
            await self.data_came(station, sent)
            if index % CREDIT == CREDIT - 1:
                station.say(commands.CDT())
                await partner.hear(commands.CDT)
        partner.say(commands.EFID(rcnt=0, ucnt=len(content)))
        await station.hear(commands.EFID)
        station.say(commands.EFPA(cd="N"))
        await partner.hear(commands.EFPA)
        partner.say(commands.CD())
        await station.hear(commands.CD)
        named = {name: getattr(offered, name) for name in ("dsn", "date", "time")}
        station.say(commands.EERP(**named, dest=ACME, orig=STATION_CODE, hsh=b"", sig=b""))
        await partner.hear(commands.EERP)
        partner.say(commands.RTR())
        await station.hear(commands.RTR)
        station.say(commands.ESID(reas=0, reast=""))
        await partner.hear(commands.ESID)
        for line in (partner, station):
            line.hang_up()
            await line.ended
        listed = await self.until_told(
            *("session", "list", "--file", "DOOR-PANEL", "--outcome", "completed"), good=lambda found: found["sessions"]
        )
        (known,) = listed["sessions"]
        self.assertEqual((known["partner"], known["files_in"], known["direction"]), ("ACME", 1, "inbound"))
        shown = await self.until_told("session", "show", known["session"], good=lambda found: found["recorded"])
        told = [(each["by"], each["command"]) for each in shown["ladder"]]
        self.assertEqual(
            told,
            [
                ("station", "SSRM"),
                ("partner", "SSID"),
                ("station", "SSID"),
                ("partner", "SFID"),
                ("station", "SFPA"),
                ("partner", "DATA"),
                ("partner", "EFID"),
                ("station", "EFPA"),
                ("partner", "CD"),
                ("station", "EERP"),
                ("partner", "RTR"),
                ("station", "ESID"),
            ],
        )
        data = shown["ladder"][5]["fields"]
        self.assertEqual(data, {"buffers": len(buffers), "octets": len(content), "credits": len(buffers) // CREDIT})
        self.assertEqual(shown["certificate"]["partner"], "ACME")
        self.assertEqual(shown["agreed"]["credit"], CREDIT)
        text = await finish(
            reactor,
            [*SMARTPROXY, "session", "show", known["session"], "--state-dir", str(self.site.state)],
            self.site.folder,
            self.site._environment,
        )
        for word in ("SFID DOOR-PANEL.STEP", "EERP DOOR-PANEL.STEP", "ESID 00"):
            self.assertIn(word, text.out)
        recording = self.site.folder / "session.jsonl"
        await self.site.smartproxy("session", "recording", known["session"], "-o", str(recording))
        out = io.StringIO()
        self.assertEqual(judge(str(recording), profile="default", as_json=False, out=out), 0, out.getvalue())
        figures = await self.site.smartproxy("session", "list", "--outcome", "lost")
        self.assertEqual(figures["sessions"], [])
        needles = {"the partner's": PASSWORD.encode(), "the station's": STATIONS.encode(), "content": CONTENT}
        self.assertEqual(findings(files_below(self.site.folder, [Path(self.site.certificates)]), needles), [])

    async def test_live(self) -> None:
        """A session that runs is told with its file and octets; an operator ends it through the backend."""
        partner, station = await self.greeted()
        await self.begin_file(partner, station, "LONG")
        partner.say(commands.DATA(buf=bytes((0x3F, *bytes(63)))))
        await self.data_came(station, 1)
        now = await self.until_told(
            *("session", "live"),
            good=lambda found: [each for each in found["sessions"] if (each["file"] or {}).get("octets")],
        )
        (running,) = now["sessions"]
        self.assertEqual((running["partner"], running["phase"]), ("ACME", "transfer"))
        self.assertEqual(
            (running["file"]["dataset"], running["file"]["octets"], running["file"]["size"]), ("LONG", 63, 1)
        )
        await self.site.smartproxy("session", "level", running["session"], "trace")
        await self.site.smartproxy("session", "end", running["session"])
        self.assertEqual(await partner.hear_end(), EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        for line in (partner, station):
            line.hang_up()
            await line.ended
        shown = await self.until_told("session", "show", running["session"], good=lambda found: found["recorded"])
        self.assertEqual((shown["known"]["outcome"], shown["known"]["cause"]), ("stopped", "session.killed"))
        self.assertEqual(shown["ladder"][5]["fields"], {"buffers": 1, "octets": 63, "credits": 0})
        self.assertEqual([each["to"] for each in shown["ladder"] if each["by"] == "proxy"], ["partner", "station"])
        await self.until_told("session", "live", good=lambda found: not found["sessions"])

    async def test_refused(self) -> None:
        """A session that is refused after its SSID is listed, with the SSID that it came with and what it was told."""
        partner = await self.acme.dial(self.site.port)
        await partner.hear(commands.SSRM)
        partner.say(offer(Settings(code="O0013000009EVIL", password=PASSWORD)))
        self.assertEqual(await partner.hear_end(), EsidReason.USER_CODE_NOT_KNOWN)
        partner.hang_up()
        await partner.ended
        listed = await self.until_told("session", "list", "--outcome", "refused", good=lambda found: found["sessions"])
        shown = await self.site.smartproxy("session", "show", listed["sessions"][0]["session"])
        told = [(each["by"], each["command"]) for each in shown["ladder"]]
        self.assertEqual(told[:3], [("proxy", "SSRM"), ("partner", "SSID"), ("proxy", "ESID")])
        self.assertIn("O0013000009EVIL", shown["ladder"][1]["words"])
