"""``smartproxy ctl`` with the daemons that it is for."""

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from smartproxy import __version__
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import frame
from smartproxy.testing.held import HeldSession
from smartproxy.testing.hostile import Attacker
from smartproxy.testing.pki import self_signed
from smartproxy.testing.programs import Finished, environment, finish
from smartproxy.testing.site import CLIENT_NAME, SITE_NAME, SMARTPROXY, STATION_CODE, Site
from tests.process.clock import LIMIT_SECONDS
from tests.process.sites import until_listed

reactor: Any = installed_reactor

CODE = "O0013000001ACME"


class Ctl(TestCase):
    """An operator on the machines of a running site."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Set up a site with one partner, and start it."""
        return Deferred.fromCoroutine(self.set_up())

    async def set_up(self) -> None:
        """The site, the operator's way."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = site = Site(reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(site.stop()))
        await site.create()
        self.files = self_signed("oftp.acme.example").write(site.certificates, "acme")
        await site.smartproxy("partner", "add", "ACME", "--code", CODE, "--certificate", str(self.files.certificate))
        await site.start_station()
        await site.start()

    async def ctl(self, daemon: str, *words: str, status: int = 0) -> Any:
        """Give a command on the machine of ``server`` or ``client``; its answer."""
        folder = str(self.site.folder / daemon)
        done = await self.run_ctl(*words, "--json", "--state-dir", folder)
        self.assertEqual(done.status, status, done.out + done.err)
        return json.loads(done.out) if done.out else done.err

    async def run_ctl(self, *words: str) -> Finished:
        """Run ``smartproxy ctl`` to its end."""
        return await finish(reactor, [*SMARTPROXY, "ctl", *words], self.site.folder, environment())

    async def session(self) -> HeldSession:
        """A session of ACME that stays open."""
        caller = Attacker(
            reactor=reactor,
            host="127.0.0.1",
            port=self.site.port,
            credential=self.files,
            code=CODE,
            station_code=STATION_CODE,
        )
        return await HeldSession(caller).open()

    def path(self, daemon: str) -> Path:
        """A daemon's socket."""
        return self.site.folder / daemon / f"smartproxy-{daemon}.sock"

    async def test_status(self) -> None:
        """Both daemons say that all is well, and show what had to be looked up with lsof; the exit status says it."""
        site = self.site
        assert site.server is not None and site.client is not None
        server = await self.ctl("server", "status")
        self.assertEqual((server["verdict"], server["program"]), ("ok", "smartproxy-server"))
        self.assertEqual(server["internal_listener"], f"127.0.0.1:{site.tunnel_port}")
        self.assertEqual(server["external_listeners"], [f"127.0.0.1:{site.port}"])
        self.assertEqual((server["pid"], server["version"], server["site"]), (site.server.pid, __version__, SITE_NAME))
        (tunnel,) = server["tunnels"]
        self.assertEqual((tunnel["client"], tunnel["version"]), (CLIENT_NAME, __version__))
        self.assertEqual((server["sessions"], server["bans"], server["proxy_id"]), (0, 0, site.proxy_id))

        client = await self.ctl("client", "status")
        self.assertEqual((client["verdict"], client["pid"]), ("ok", site.client.pid))
        self.assertEqual(client["station"], f"127.0.0.1:{site.station_port}")
        (tunnel,) = client["tunnels"]
        self.assertEqual((tunnel["up"], tunnel["proxy_id"]), (True, site.proxy_id))
        self.assertEqual(client["generation"], server["generation"])
        shown = await self.run_ctl("status", "--state-dir", str(site.folder / "server"))
        self.assertIn("verdict        ok\n", shown.out)

        await site.client.stop()
        await site.server.wait_for_event("listener.closed")
        alone = await self.ctl("server", "status", status=2)
        self.assertEqual((alone["verdict"], alone["external_listeners"]), ("no-client", []))
        gone = await self.ctl("client", "status", status=2)
        self.assertIn("no daemon has a control socket", gone)

    async def test_sessions_level_and_kill(self) -> None:
        """A live session is shown by both daemons, traced by its id alone, and ended with ESID 05; others go on."""
        site = self.site
        assert site.server is not None
        first, second = await self.session(), await self.session()
        caller = first._caller
        first.say(frame(encode(caller.sfid())))
        await first.hear("SFPA")
        shown = {each["session"]: each for each in (await self.ctl("server", "sessions"))["sessions"]}
        self.assertEqual(len(shown), 2)
        (busy,) = (each for each in shown.values() if each["phase"] == "transfer")
        self.assertEqual((busy["partner"], busy["code"], busy["direction"]), ("ACME", CODE, "inbound"))
        self.assertEqual((busy["file"]["link"], busy["client"], busy["agreed"]["level"]), ("in", CLIENT_NAME, 5))
        inside = {each["session"]: each for each in (await self.ctl("client", "sessions"))["sessions"]}
        self.assertEqual(inside.keys(), shown.keys())
        self.assertEqual(inside[busy["session"]]["file"], busy["file"])

        levels = await self.ctl("server", "level", "trace", "--session", busy["session"])
        self.assertEqual(levels["levels"][f"session {busy['session']}"], "trace")

        await self.ctl("server", "kill", busy["session"])
        seen = await first.seen
        self.assertIs(seen.reason, EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        self.assertTrue(second.live)
        left = shown.keys() - {busy["session"]}
        await until_listed(self.site.folder / "server", "smartproxy-server", left)
        self.assertIn("no live session", await self.ctl("server", "kill", busy["session"], status=1))
        self.assertNotIn(f"session {busy['session']}", (await self.ctl("server", "level"))["levels"])
        self.assertIn("no live session", await self.ctl("server", "level", "trace", "--session", "x", status=1))
        self.assertIn("no partner", await self.ctl("server", "level", "trace", "--partner", "ACNE", status=1))
        await second.end()

    async def test_generation_and_licence(self) -> None:
        """Both name the generation in force and who brought it, and the licence; nothing secret is in any answer."""
        site = self.site
        server = await self.ctl("server", "generation")
        self.assertEqual(server["generation_from"], CLIENT_NAME)
        client = await self.ctl("client", "generation")
        self.assertEqual(client["generation"], server["generation"])
        self.assertEqual(client["generation_from"], f"https://127.0.0.1:{site.backend_port}")
        await site.smartproxy("partner", "change", "ACME", "--profile", "strict")
        changed = await self.ctl("server", "generation")
        while changed["generation"] == server["generation"]:
            changed = await self.ctl("server", "generation")
        (held,) = (await self.ctl("server", "licence"))["licences"]
        self.assertEqual((held["proxy_id"], held["in_force"]), (site.proxy_id, True))
        self.assertEqual((await self.ctl("client", "licence"))["licences"], [held])
        token = (site.folder / "client" / "token").read_text().strip()
        for daemon in ("server", "client"):
            for action in ("status", "sessions", "generation", "licence", "level"):
                told = json.dumps(await self.ctl(daemon, action))
                self.assertNotIn(token, told)
                self.assertNotIn("-----BEGIN", told)

    async def test_drain(self) -> None:
        """No new connection is taken, the session that runs may go on; told again with no time, it ends at once."""
        site = self.site
        assert site.server is not None
        session = await self.session()
        self.assertEqual((await self.ctl("server", "drain", "--seconds", "100"))["sessions"], 1)
        await site.server.wait_for_event("listener.closed")
        self.assertEqual((await self.ctl("server", "status", status=1))["verdict"], "draining")
        self.assertTrue(session.live)
        self.assertIn("drains already", await self.ctl("server", "drain", status=1))
        await self.ctl("server", "drain", "--seconds", "0")
        self.assertIs((await session.seen).reason, EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        self.assertEqual(await site.server.end(), 0)
        self.assertFalse(self.path("server").exists())

    async def test_the_socket(self) -> None:
        """It is its owner's alone; what a killed daemon left is taken over; garbage is answered and hurts nobody."""
        site = self.site
        assert site.server is not None
        self.assertEqual(stat.S_IMODE(self.path("server").stat().st_mode), 0o600)
        (site.folder / "client" / "garbage.sock").symlink_to(self.path("server"))
        # Named from its folder, since the path of a UNIX socket is short.
        with socket.socket(socket.AF_UNIX) as caller:
            folder = os.open(self.path("server").parent, os.O_PATH)
            self.addCleanup(os.close, folder)
            caller.connect(f"/proc/self/fd/{folder}/{self.path('server').name}")
            caller.sendall(b'garbage\n{"do": "stop"}\n' + b"x" * 5000)
            answers = caller.makefile("rb").read().splitlines()
        self.assertEqual([json.loads(answer)["ok"] for answer in answers], [False, False, False])
        self.assertEqual((await self.ctl("server", "status"))["verdict"], "ok")
        os.kill(site.server.pid, 9)
        await site.server.end()
        self.assertTrue(self.path("server").exists())
        self.assertIn("no daemon listens there", await self.ctl("server", "status", status=2))
