"""Names of files, as partners choose them, through the real daemons: none of them opens a file (threat T8)."""

import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import frame
from smartproxy.testing.held import HeldSession
from smartproxy.testing.hostile import Attacker
from smartproxy.testing.pki import self_signed
from smartproxy.testing.site import STATION_CODE, Site
from tests.process.clock import LIMIT_SECONDS

reactor: Any = installed_reactor

CODE = "O0013000001ACME"
MARK = "Q7MARK"
"""A part of each name, in whatever case, by which it is known in a path."""

TAKEN = (b"Q7MARK", b"Q7MARK.LOG", b"Q7/MARK/Q7MARK", b"Q7MARK/", b"-Q7MARK", b"(Q7MARK)&", b"q7mark", b"Q7MARK $(ID)")
REFUSED = (
    *(b"../Q7MARK", b"/Q7MARK", b"Q7MARK/../X", b"..Q7MARK", b"Q7MARK..", b"/ETC/Q7MARK"),
    *(b"Q7MARK\x00X", b"Q7MARK\nX", b"Q7MARK\rX", b"\x1b[2JQ7MARK", b"Q7MARK\x7f", b"Q7MARK\xff", b"\xc3\x84Q7MARK"),
)
"""Those that the default profile refuses: ways out of a folder, and octets that are not printable."""

AUDIT = f"""
import os, sys
note = os.open(os.environ["AUDITED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def hook(event, arguments):
    program = [word for word in sys.orig_argv if (word.rpartition("/")[2] + "-").startswith("smartproxy-")]
    if program and event not in ("compile", "exec"):
        for each in arguments:
            text = each if isinstance(each, str) else each.decode("latin-1") if isinstance(each, bytes) else ""
            if {MARK!r} in text.upper():
                os.write(note, (program[0].rpartition("/")[2] + " " + event + " " + ascii(text) + chr(10)).encode())

sys.addaudithook(hook)
try:
    open("/dev/null/{MARK}")
except OSError:
    pass
"""
"""Notes, in each program of SmartProxy, what the system is asked for with a name of these: first a trial of its own."""


class HostileNames(TestCase):
    """A site all of whose programs are watched by Python's audit events."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Make a folder for the site."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.noted = folder / "audited"
        watch = folder / "watch"
        watch.mkdir()
        (watch / "sitecustomize.py").write_text(AUDIT)
        site = self.site = Site(reactor, folder)
        path = f"{watch}:{site._environment['PYTHONPATH']}"
        site._environment |= {"PYTHONPATH": path, "AUDITED": str(self.noted)}
        self.addCleanup(lambda: Deferred.fromCoroutine(site.stop()))

    def caller(self, files: Any) -> Attacker:
        """A partner that is free to send what it likes."""
        return Attacker(
            reactor=reactor,
            host="127.0.0.1",
            port=self.site.port,
            credential=files,
            code=CODE,
            station_code=STATION_CODE,
        )

    async def test_no_name_opens_a_file(self) -> None:
        """What is taken is relayed and told, what is refused is told; no program names it to the system."""
        site = self.site
        await site.create()
        files = self_signed("oftp.acme.example").write(site.certificates, "acme")
        await site.smartproxy("partner", "add", "ACME", "--code", CODE, "--certificate", str(files.certificate))
        await site.start_station()
        await site.start()
        caller = self.caller(files)
        sound = encode(caller.sfid("N" * 26))
        for name in (*TAKEN, *REFUSED):
            session = await HeldSession(caller).open()
            session.say(frame(sound.replace(b"N" * 26, name.ljust(26))))
            if name in TAKEN:
                await session.hear("SFPA")
                await session.end_file(b"octets")
                seen = await session.end()
                self.assertIsNone(seen.reason, name)
            else:
                seen = await session.seen
                self.assertIs(seen.reason, EsidReason.COMMAND_CONTAINED_INVALID_DATA, name)
        assert site.station is not None
        site.station.read()
        arrived = [each["identity"]["dataset"] for each in site.station.records if each["event"] == "FileReceived"]
        self.assertEqual(arrived, [name.decode() for name in TAKEN])
        transfers: list[Any] = []
        while len(transfers) < len(TAKEN):
            transfers = await site.smartproxy("transfers", "--since", "1h")
        self.assertEqual(sorted(each["dataset"] for each in transfers), sorted(arrived))
        self.assertIn(MARK, json.dumps(await site.smartproxy("events", "--number", "0")))
        await site.stop()

        noted = self.noted.read_text().splitlines()
        self.assertEqual([line for line in noted if not line.endswith(f"open '/dev/null/{MARK}'")], [])
        for program in ("smartproxy", "smartproxy-server", "smartproxy-client", "smartproxy-backend"):
            self.assertIn(f"{program} open '/dev/null/{MARK}'", noted)
