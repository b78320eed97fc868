"""What happens inside when something critical happens in the DMZ: the event script, and what silences it."""

import json
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.process.sites import Log, SiteCase, until


def taken_port(case: TestCase, *, listening: bool = True) -> int:
    """A port at which nobody else can listen, and that is not called, or is called in vain."""
    taken = socket.socket()
    case.addCleanup(taken.close)
    taken.bind(("127.0.0.1", 0))
    if listening:
        taken.listen()
    port: int = taken.getsockname()[1]
    return port


class Alerts(SiteCase):
    """One site whose server is told to listen where it cannot."""

    async def begin(self) -> None:
        """Have an event script that writes down what it is told."""
        await super().begin()
        self.told = self.site.folder / "told"
        script = self.site.folder / "on-event"
        script.write_text(f'#!/bin/sh\necho "$SMARTPROXY_EVENT_NAME"; cat >> {self.told}\n')
        script.chmod(0o755)
        await self.site.smartproxy("settings", "set", "backend.event_script.program", str(script))

    def runs(self) -> list[dict[str, Any]]:
        """What the script was told so far."""
        path: Path = self.told
        return [json.loads(each) for each in path.read_text().splitlines()] if path.exists() else []

    async def test_critical_event_of_the_server(self) -> None:
        """It crosses tunnel and client, and starts the script once; silenced, it is stored and starts nothing."""
        first, second, third = (taken_port(self) for _ in range(3))
        await self.site.smartproxy("settings", "set", "server.listeners", f"127.0.0.1:0,127.0.0.1:{first}")
        await until(lambda: bool(self.runs()), "the script runs")
        (told,) = self.runs()
        self.assertEqual(
            (told["name"], told["source"], told["level"], told["port"]),
            ("listener.failed", "server", "critical", first),
        )

        log = Log(self.site.backend)
        await self.site.smartproxy("ignore", "add", "known", "--text", f"PORT={second}")
        listeners = f"127.0.0.1:0,127.0.0.1:{second},127.0.0.1:{third}"
        await self.site.smartproxy("settings", "set", "server.listeners", listeners)
        hit = await log.event("ignore.hit")
        self.assertEqual((hit["ignored_by"], hit["level"], hit["event"]), ("known", "info", "listener.failed"))
        await until(lambda: len(self.runs()) > 1, "the script runs for the third port")
        self.assertEqual([each["port"] for each in self.runs()], [first, third])
        stored = await self.site.smartproxy("events", "--name", "listener.failed")
        self.assertEqual([each.get("ignored_by") for each in stored if each["port"] == second], ["known"])
        ran: list[dict[str, Any]] = [{"state": "waiting"}]
        while "waiting" in [each["state"] for each in ran]:
            ran = await self.site.smartproxy("event-script", "list")
        self.assertEqual([(each["state"], each["output"]) for each in ran], [("done", "listener.failed")] * 2)
