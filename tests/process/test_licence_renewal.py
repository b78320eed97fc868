"""A licence ends while the daemons run, and is extended in the backend: no file is carried, nothing is restarted."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import frame
from smartproxy.policy.licence import read
from smartproxy.testing.held import HeldSession
from smartproxy.testing.hostile import Attacker, greet
from smartproxy.testing.pki import CredentialFiles, self_signed
from smartproxy.testing.programs import ProgramFailed
from smartproxy.testing.site import STATION_CODE, Site
from tests.process.clock import LIMIT_SECONDS

reactor: Any = installed_reactor

CODE = "O0013000001ACME"
LIFE_FIRST = 12
"""How many seconds the first licence holds; twice as long again and again where a machine is too busy for that."""


class LicenceRenewal(TestCase):
    """The whole way of a licence, with all daemons."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Make a folder for the site."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = Site(reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.stop()))

    async def explain(self) -> dict[str, Any]:
        """What the operator would tell the partner; nothing yet if no refusal has been stored."""
        try:
            found: dict[str, Any] = await self.site.smartproxy("explain", "ACME")
        except ProgramFailed:
            return {"for_us": {"cause": ""}}
        return found

    async def begun(self, path: Path, files: CredentialFiles) -> tuple[Attacker, HeldSession]:
        """A partner, and its session that begins while a licence holds that soon ends."""
        site, life = self.site, LIFE_FIRST
        while True:
            ends = (datetime.now(UTC) + timedelta(seconds=life)).replace(microsecond=0, tzinfo=None)
            # On a busy machine the time before was over before its licence could be issued: then there is none.
            with contextlib.suppress(ProgramFailed):
                await site.smartproxy("licence", "withdraw", site.proxy_id)
            with contextlib.suppress(ProgramFailed, AssertionError):
                await site.smartproxy(
                    "licence", "issue", site.proxy_id, "--until", ends.isoformat(), "-o", str(path), "--force"
                )
                await site.start()
                caller = Attacker(
                    reactor=reactor,
                    host="127.0.0.1",
                    port=site.port,
                    credential=files,
                    code=CODE,
                    station_code=STATION_CODE,
                )
                return caller, await HeldSession(caller).open()
            # Nothing but the end of the licence is a reason to try again.
            self.assertGreater(datetime.now(UTC).replace(tzinfo=None), ends)
            for program in (site.server, site.client, site.backend):
                if program is not None:
                    await program.stop()
            path.unlink(missing_ok=True)
            life *= 2

    async def test_renewed_while_running(self) -> None:
        """Its end is announced and told; no session begins then, the one that runs goes on; extended, all is well."""
        site = self.site
        await site.create()
        credential = self_signed("oftp.acme.example")
        files = credential.write(site.certificates, "acme")
        await site.smartproxy("partner", "add", "ACME", "--code", CODE, "--certificate", str(files.certificate))
        await site.start_station()
        path = site.folder / "server" / "smartproxy.lic"
        caller, running = await self.begun(path, files)
        assert site.server is not None
        warned = await site.server.wait_for_event("licence.ending")
        self.assertEqual((warned["level"], warned["count"]), ("warning", 0))
        expired = await site.server.wait_for_event("licence.expired")
        self.assertEqual(expired["level"], "critical")

        refused = await greet(caller)
        self.assertIs(refused.reason, EsidReason.RESOURCES_NOT_AVAILABLE)
        # What was told of it is in the backend by the time that the client has carried it there.
        explained: dict[str, Any] = {"to_partner": {}, "for_us": {"cause": ""}}
        while "licence ended" not in explained["for_us"]["cause"]:
            await deferLater(reactor, 0.5)
            explained = await self.explain()
        self.assertEqual(explained["to_partner"]["saw"], "ESID 08")
        self.assertEqual(explained["to_partner"]["certificate"]["SHA-256"], credential.sha256)
        running.say(frame(encode(caller.sfid())))
        await running.hear("SFPA")

        await site.smartproxy("licence", "extend", "--until", "1y")
        written = await site.server.wait_for_event("licence.written")
        self.assertEqual(written["path"], str(path))
        self.assertGreater(read(path.read_text(), site.proxy_id, datetime.now(UTC)).days_left(datetime.now(UTC)), 300)
        welcome = await greet(caller)
        self.assertIs(welcome.reason, EsidReason.NORMAL, welcome)
        self.assertTrue(running.live)
        told = [record["name"] for record in site.server.records + site.server.read()]
        self.assertEqual(told.count("licence.expired"), 1)
