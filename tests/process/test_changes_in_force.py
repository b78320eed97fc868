"""An operator's change is in force in the DMZ within two seconds; what is wrong leaves things as they were."""

import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from twisted.internet.defer import Deferred

from smartproxy.backend.location import Location
from smartproxy.backend.schema import GenerationRow
from smartproxy.backend.store import Store
from smartproxy.oftp2 import commands
from smartproxy.testing.pki import TestCa, TestCredential, self_signed
from smartproxy.testing.programs import Program
from tests.process.clock import Stopwatch
from tests.process.lines import Caller, Session
from tests.process.sites import ACME, Log, SiteCase, reactor, stop, until

IN_FORCE_SECONDS = 2.0
"""From the end of the operator's command to the server's word; the long poll is open."""


class ChangesInForce(SiteCase):
    """One site that is changed again and again."""

    async def begin(self) -> None:
        """Read the server's log from now on."""
        await super().begin()
        self.log = Log(self.site.server)

    async def command(self, *arguments: str) -> None:
        """Give a command; the server then has the new generation in time."""
        self.assertLess((await self.changed(*arguments)).seconds(), IN_FORCE_SECONDS)

    async def changed(self, *arguments: str) -> Stopwatch:
        """Give a command, and wait until the server has the new generation; what was measured since the command.

        After a new start of the backend it is not bounded: the client may be waiting for its next try.
        """
        log = Log(self.site.server)
        await self.site.smartproxy(*arguments)
        given = Stopwatch(self.site.backend, self.site.client, self.site.server)
        await self.site.in_force(log)
        return given

    async def knock(self, caller: Caller) -> tuple[str, str]:
        """Call; what the server says of it: the certificate that it accepted, or why not."""
        log = Log(self.site.server)
        line = await caller.dial(self.site.port)
        try:
            came: list[dict[str, Any]] = []

            def judged() -> bool:
                came[:] = [*log.events("certificate.accepted"), *log.events("certificate.refused")]
                return bool(came)

            await until(judged, "a verdict")
            if came[0]["name"] == "certificate.accepted":
                await line.hear(commands.SSRM)
                return "accepted", came[0]["certificate_sha256"]
            return "refused", came[0]["cause"]
        finally:
            line.hang_up()
            await line.ended

    async def test_enabled_and_disabled(self) -> None:
        """A partner that is disabled is refused at once, and let in again when it is enabled."""
        bystander = await self.session(self.bolt)
        self.assertEqual((await self.knock(self.acme))[0], "accepted")
        await self.command("partner", "disable", "ACME")
        self.assertEqual(await self.knock(self.acme), ("refused", "certificate.partner_disabled"))
        await bystander.file()
        await self.command("partner", "enable", "ACME")
        self.assertEqual((await self.knock(self.acme))[0], "accepted")
        await bystander.file()

    async def test_rolled_back(self) -> None:
        """What was changed is taken back with the history, and the server follows that as any other change."""
        (newest,) = await self.site.smartproxy("history", "-n", "1")
        await self.command("partner", "disable", "ACME")
        self.assertEqual(await self.knock(self.acme), ("refused", "certificate.partner_disabled"))
        await self.command("history", "roll-back", str(newest["generation"]), "--yes")
        self.assertEqual((await self.knock(self.acme))[0], "accepted")

    async def test_new_certificate(self) -> None:
        """A second certificate is good as soon as it is entered, and no longer when it is removed."""
        new = self_signed("oftp.acme.example")
        caller = Caller(reactor=reactor, code=ACME, files=new.write(self.site.certificates, "acme-new"))
        session = await self.session(self.acme)
        self.assertEqual(await self.knock(caller), ("refused", "certificate.unknown_ca"))
        await self.command("partner", "certificate", "add", "ACME", "--certificate", str(caller.files.certificate))
        self.assertEqual(await self.knock(caller), ("accepted", new.sha256))
        self.assertEqual((await self.knock(self.acme))[0], "accepted")
        await self.command("partner", "certificate", "remove", "ACME", new.sha256)
        self.assertEqual((await self.knock(caller))[0], "refused")
        await session.file()

    async def test_proposed_certificate(self) -> None:
        """A partner with a pinned certificate comes with the next one of the same CA: refused, proposed, accepted."""
        code = "O0013000001PINNED"
        old, new = (self.made.bolts_ca.issue("oftp.pinned.example") for _ in range(2))
        known, renewed = (
            Caller(reactor=reactor, code=code, files=each.write(self.site.certificates, name))
            for name, each in (("pinned-old", old), ("pinned-new", new))
        )
        add = ("partner", "add", "PINNED", "--code", code, "--certificate", str(known.files.certificate))
        await self.command(*add)
        session = await self.session(known)
        await session.file()
        self.assertEqual(await self.knock(renewed), ("refused", "certificate.no_partner"))
        proposed: list[dict[str, Any]] = []
        while not proposed:
            proposed = await self.site.smartproxy("partner", "proposals")
        self.assertEqual([(each["partner"], each["sha256"]) for each in proposed], [("PINNED", new.sha256)])
        self.assertEqual(proposed[0]["old_sha256"], old.sha256)
        await self.command("partner", "accept", "PINNED")
        self.assertEqual(await self.knock(renewed), ("accepted", new.sha256))
        self.assertEqual((await self.knock(known))[0], "accepted")

    async def test_revoked_certificate(self) -> None:
        """A revoked certificate is refused as soon as the list is loaded; a session of somebody else goes on."""
        stolen = self.made.bolts_ca.issue("oftp.bolt.example", serial_number=self.bolt.code)
        caller = Caller(reactor=reactor, code=self.bolt.code, files=stolen.write(self.site.certificates, "stolen"))
        bystander = await self.session(self.acme)
        self.assertEqual(await self.knock(caller), ("accepted", stolen.sha256))
        await self.load_list([stolen])
        self.assertEqual(await self.knock(caller), ("refused", "certificate.revoked"))
        self.assertEqual((await self.knock(self.bolt))[0], "accepted")
        await bystander.file()

    async def test_restored(self) -> None:
        """After the store was set back to a copy, what is changed in it is in force within one poll.

        The numbers of its generations begin below that of the server; a partner that is removed is refused all the
        same, although the server never lost its clients.
        """
        self.site.copy_store("copy.db")
        bystander = await self.session(self.bolt)
        for seconds in ("41", "42", "43"):
            await self.command("settings", "set", "server.deadlines.ssid", seconds)
        assert self.site.backend is not None
        log = Log(self.site.server)
        await stop([self.site.backend])
        self.site.put_store_back("copy.db")
        await self.site.start_backend()
        restored = await log.event("configuration.accepted")
        self.assertLess(restored["generation"], restored["previous"])
        self.assertEqual((await self.knock(self.acme))[0], "accepted")
        await self.command("partner", "disable", "ACME")
        self.assertEqual(await self.knock(self.acme), ("refused", "certificate.partner_disabled"))
        await self.command("partner", "enable", "ACME")
        await bystander.file()

    async def test_log_of_the_backend(self) -> None:
        """The API's log goes to the file of the settings, at their level, without a restart and after one."""
        path = self.site.folder / "api.log"

        def told(words: str) -> int:
            return path.read_text().count(words) if path.exists() else 0

        await self.command("settings", "set", "backend.log.path", str(path), "backend.log.level", "debug")
        await until(lambda: told("level.changed") == 1, "the level is in force")
        await self.command("partner", "disable", "ACME")
        await self.command("partner", "enable", "ACME")
        assert self.site.backend is not None
        await self.site.backend.stop()
        self.assertEqual(told(" DEBUG    signal.received "), 1)
        self.assertEqual(told("backend.stopped"), 1)
        await self.site.start_backend()
        await until(lambda: (told("backend.started"), told("level.changed")) == (1, 2), "its start is told there")
        log = Log(self.site.backend)
        await self.changed("settings", "reset", "backend.log.path", "backend.log.level")
        self.assertNotIn("path", await log.event("backend.log_changed"))
        self.assertEqual((await log.event("level.changed", cause="operator.setting"))["mode"], "info")

    async def test_licence_file_that_is_gone(self) -> None:
        """The licence's file, deleted while the server runs, is written again; the list has what it reported."""
        text = (await self.site.smartproxy("licence", "download"))["licence"]
        self.site.licence.unlink()
        restored = await self.log.event("licence.restored")
        self.assertEqual((restored["cause"], restored["path"]), ("licence.missing", str(self.site.licence)))
        self.assertEqual(self.site.licence.read_text(), text)
        (row,) = await self.site.smartproxy("licence", "list")
        self.assertEqual((row["proxy_id"], row["valid_until"]), (self.site.proxy_id, row["reported_valid_until"]))
        self.assertEqual(row["days_left"], row["reported_days_left"])

    async def test_endings(self) -> None:
        """A partner's certificate that ends in five days is told at the start, with what to do, and never again."""
        now = datetime.now(UTC)
        ca = TestCa.root("Short", valid_from=now - timedelta(days=300), valid_until=now + timedelta(days=300))
        ending = ca.issue("oftp.coil.example", valid_until=now + timedelta(days=5, hours=1))
        files = ending.write(self.site.certificates, "coil")
        await self.command(
            *("partner", "add", "COIL", "--code", "O0013000003COIL", "--certificate", str(files.certificate))
        )
        self.addCleanup(self.site.smartproxy, "partner", "remove", "COIL")
        for seconds in ("44", "45"):
            assert self.site.backend is not None
            await self.site.backend.stop()
            await self.site.start_backend()
            # The look at the start is over when a later one of the same threads has been answered.
            await self.changed("settings", "set", "server.deadlines.ssid", seconds)
        told = await self.site.smartproxy("events", "--name", "validity.ending", "--partner", "COIL")
        self.assertEqual([(each["cause"], each["count"]) for each in told], [("ending.partner", 5)])
        self.assertIn("smartproxy partner certificate add COIL", told[0]["advice"])

    async def test_client_that_is_removed(self) -> None:
        """The server ends the tunnel of a removed client within seconds, whatever that client does.

        It gives up its tunnel by itself, too, as soon as it hears of it. Added again, it is let in.
        """
        bystander = await self.session(self.acme)
        token = self.site.folder / "second.token"
        address = f"127.0.0.1:{self.site.tunnel_port}"
        for stopped in (True, False):
            await self.site.smartproxy("client", "add", "second", "--token-file", str(token), "--force")
            log = Log(self.site.server)
            second = self.site.start_second_client(address, token)
            self.addCleanup(self.stopped, second)
            await log.event("tunnel.up", client="second")
            if stopped:
                os.kill(second.pid, signal.SIGSTOP)
            await self.site.smartproxy("client", "remove", "second")
            given = Stopwatch(self.site.backend, self.site.client, self.site.server)
            down = await log.event("tunnel.down", client="second")
            self.assertLess(given.seconds(), IN_FORCE_SECONDS)
            if stopped:
                self.assertEqual(down["cause"], "tunnel.withdrawn")
                os.kill(second.pid, signal.SIGCONT)
            told = await Log(second, whole=True).event("backend.unreachable")
            self.assertIn("removed", told["message"])
            await stop([second])
        await bystander.file()

    def stopped(self, program: Program) -> Deferred[None]:
        """End a process that the site does not know."""
        return Deferred.fromCoroutine(stop([program]))

    async def load_list(self, revoked: list[TestCredential]) -> None:
        """Load a new revocation list."""
        path = self.site.certificates / "new.crl"
        path.write_bytes(self.made.bolts_ca.crl(revoked))
        await self.command("crl", "load", str(path))

    async def test_refused_by_the_client(self) -> None:
        """A document with an unknown key stays with the client, which says where it is wrong; nothing changes."""
        client = Log(self.site.client)
        session = await self.session(self.acme)
        given = Stopwatch(self.site.backend, self.site.client)
        number = self.insert(lambda document: document["server"].update(colour="blue"))
        refused = await client.event("configuration.refused")
        self.assertLess(given.seconds(), IN_FORCE_SECONDS)
        self.assertEqual(refused["place"], "server.colour")
        self.assertEqual(self.log.events("configuration.accepted"), [])
        await self.still_in_force(session, number)

    async def test_refused_by_the_server(self) -> None:
        """A certificate whose key is another's is refused by the server, which says where; nothing changes."""
        session = await self.session(self.acme)
        other = self.made.bolts_credential.key_pem.decode()
        given = Stopwatch(self.site.backend, self.site.client, self.site.server)
        number = self.insert(lambda document: document["server"]["identities"][0].update(key=other))
        refused = await self.log.event("configuration.refused")
        self.assertLess(given.seconds(), IN_FORCE_SECONDS)
        self.assertEqual((refused["generation"], refused["previous"]), (number, number - 1))
        self.assertIn("server.identities[0]", refused["place"])
        await self.still_in_force(session, number)

    async def still_in_force(self, session: Session, number: int) -> None:
        """The generation before is in force, and the next sound one is taken."""
        await session.file()
        self.assertEqual((await self.knock(self.acme))[0], "accepted")
        await self.command("settings", "set", "server.deadlines.ssid", str(30 + number % 7))
        (accepted,) = self.log.events("configuration.accepted")
        self.assertEqual(accepted["generation"], number + 1)
        await session.file()

    def insert(self, change: Callable[[dict[str, Any]], None]) -> int:
        """Put a generation into the store that the backend itself would never make."""
        store = Store.open(Location.of(str(self.site.state), environment={}))
        self.addCleanup(store.close)
        with store.writing() as session:
            newest = session.scalars(select(GenerationRow).order_by(GenerationRow.number.desc()).limit(1)).one()
            number = newest.number + 1
            document = json.loads(newest.document or b"")
            document["generation"] = number
            change(document)
            session.add(
                GenerationRow(
                    number=number,
                    made=newest.made,
                    made_by=newest.made_by,
                    way=newest.way,
                    change="by hand",
                    digest=newest.digest,
                    document=json.dumps(document).encode(),
                )
            )
        return number
