"""What watches the server from outside: the files of the example logrc, fail2ban's filter, and rsyslog's rules.

Real partners and real attackers call a real server that logs as the example says; what they leave in its files is read
with the expressions of the examples.
"""

import io
import json
import re
from collections import Counter
from configparser import ConfigParser
from pathlib import Path
from typing import Any, ClassVar

import attrs
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs import logrc
from smartproxy.logs.catalogue import EVENTS
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import heading
from smartproxy.logs.observers import TextObserver
from smartproxy.net import files
from smartproxy.oftp2 import commands
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, OF_THIS_SITE
from smartproxy.testing.pki import self_signed
from tests.process.lines import Line
from tests.process.sites import SiteCase, TestedSite, reactor, until

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
EXAMPLE = PACKAGING / "logs" / "smartproxy-server.logrc"
ADDRESS = r"\[?(?:(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})|(?P<ip6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*))\]?"
"""What fail2ban puts in the place of its tag ``<ADDR>``, as far as it matters."""


def fail2ban(name: str) -> dict[str, str]:
    """The settings of one of the examples, with fail2ban's interpolation, which is that of configparser."""
    parser = ConfigParser()
    parser.read(PACKAGING / "fail2ban" / name)
    (section,) = parser.sections()
    return dict(parser[section])


def caught(lines: list[str]) -> list[tuple[str, str]]:
    """What fail2ban would count: the event and the address of each line that one of the expressions finds."""
    rules = [line for line in fail2ban("filter.d/smartproxy.conf")["failregex"].splitlines() if line]
    expressions = [re.compile(line.replace("<ADDR>", ADDRESS)) for line in rules]
    found = []
    for line in lines:
        # fail2ban cuts the time out of the line first.
        time, _, rest = line.partition("Z")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", time), line
        for expression in expressions:
            if match := expression.search(rest):
                found.append((rest.split()[1], match["ip4"] or match["ip6"]))
                break
    return found


class Forgeries(SynchronousTestCase):
    """Lines that somebody would like to see there."""

    def line(self, name: str, **fields: Value | None) -> str:
        """An event as a line."""
        stream = io.StringIO()
        log = Logger(observer=TextObserver(stream))
        Events(log, None, Clock()).emit(name, **fields)
        return stream.getvalue().removesuffix("\n")

    def test_lists_of_this_site(self) -> None:
        """A certificate that was refused for a cause of this site, such as a missing list, is nobody's attack."""
        ours = {cause for cause, row in CERTIFICATE_CAUSES.items() if row.explanation.ours} | OF_THIS_SITE
        self.assertGreater(len(ours), 2)
        for cause in CERTIFICATE_CAUSES:
            count = int(cause not in ours)
            line = self.line("certificate.refused", peer="192.0.2.7:1", cause=cause, message="refused")
            self.assertEqual(len(caught([line])), count, line)

    def test_partners_that_distrust_us(self) -> None:
        """A partner that does not accept our certificate is no attacker; another alert counts."""
        for cause, count in ((Cause.HANDSHAKE_ALERT, 1), (Cause.HANDSHAKE_DISTRUSTED, 0)):
            line = self.line("handshake.failed", peer="192.0.2.7:1", cause=cause, message="alert", alert="unknown_ca")
            self.assertEqual(len(caught([line])), count, line)

    def test_what_the_own_station_got_wrong(self) -> None:
        """A release level that is too low, or a wrong SSIDAUTH, counts only if it is the partner's."""
        for cause, count in (
            (Cause.IDENTITY_LEVEL, 1),
            (Cause.IDENTITY_STATION_LEVEL, 0),
            (Cause.IDENTITY_AUTHENTICATION, 1),
            (Cause.IDENTITY_STATION_AUTHENTICATION, 0),
        ):
            line = self.line("identity.refused", peer="192.0.2.7:1", cause=cause, message="refused", partner="ACME")
            self.assertEqual(len(caught([line])), count, line)

    def test_addresses(self) -> None:
        """Both families are found, with a partner's name in front, whatever it is."""
        for peer, address in (("192.0.2.7:1", "192.0.2.7"), ("[2001:db8::7]:65535", "2001:db8::7")):
            for partner in (None, "ACME", 'Two "words"\\'):
                line = self.line("identity.refused", cause="x", peer=peer, partner=partner, session="0" * 16)
                self.assertEqual(caught([line]), [("identity.refused", address)], line)

    def test_forged_addresses(self) -> None:
        """What a peer says of itself cannot look like another's address, or like a partner's fault."""
        forged = 'x" peer=6.6.6.6:1 side=partner \\" peer=6.6.6.6:1 side=partner'
        line = self.line(
            "certificate.refused",
            cause="certificate.expired",
            message=forged,
            peer="192.0.2.7:1",
            subject=forged,
            issuer=forged,
        )
        self.assertEqual(caught([line]), [("certificate.refused", "192.0.2.7")])
        line = self.line("certificate.refused", cause="certificate.expired", message=forged, subject=forged)
        self.assertEqual(caught([line]), [])
        line = self.line(
            "session.violation", rule="x", message=forged, peer="192.0.2.7:1", side="station", field=forged
        )
        self.assertEqual(caught([line]), [])
        line = self.line("session.violation", rule="x", message=forged, peer="192.0.2.7:1", side="partner")
        self.assertEqual(caught([line]), [("session.violation", "192.0.2.7")])


class Examples(SiteCase):
    """A server that logs as the example says."""

    settings: ClassVar[tuple[str, ...]] = (
        "server.penalties.exempt",
        "192.0.2.0/24",
        "server.penalties.threshold",
        "20",
    )

    async def _start(self) -> TestedSite:
        """Start a site whose server has the example's logrc."""
        path = Path(self.mktemp()).absolute()
        path.mkdir()
        type(self).server_switches = ("--drain", "2", "--logrc", str(path / "example.logrc"))
        (path / "example.logrc").write_text(EXAMPLE.read_text().replace("/var/log/smartproxy", str(path / "log")))
        site = await super()._start()
        vars(site)["watched"] = path / "log"
        return site

    async def begin(self) -> None:
        """One good session and some that are not."""
        await super().begin()
        self.log: Path = vars(self.site)["watched"]
        if "attacked" in vars(self.site):
            return
        session = await self.session(self.acme)
        await session.file()
        await session.end()
        line = await self.acme.greet(self.site.port)
        inside = await self.station.line()
        line.say(commands.CD())
        await line.ended
        await inside.ended
        files = self_signed("peer=6.6.6.6:1 side=partner").write(self.site.certificates, "stranger")
        stranger = attrs.evolve(self.acme, files=files)
        for _ in range(2):
            await (await stranger.dial(self.site.port)).ended
        await self.strange_words()
        # All these faults together are enough for a ban.
        refused = 0
        while not self.text("penalty.banned") and refused < 30:
            await self.strange_words()
            refused += 1
        await self.strange_words()
        await until(lambda: bool(self.text("connection.refused")), "the banned one is turned away")
        vars(self.site)["attacked"] = True

    async def strange_words(self) -> None:
        """Say something that is no TLS, and wait for the end."""
        factory = Factory.forProtocol(lambda: Line(reactor))
        factory.noisy = False
        line: Any = await HostnameEndpoint(reactor, "127.0.0.1", self.site.port).connect(factory)
        line.transport.write(b"GET / HTTP/1.0\r\n\r\n")
        await line.ended

    def text(self, name: str) -> list[str]:
        """The lines of an event in the file for fail2ban."""
        lines = (self.log / "security.log").read_text().splitlines()
        return [line for line in lines if line.split()[2] == name]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The file for an intrusion detection system."""
        return [json.loads(line) for line in (self.log / "security.jsonl").read_text().splitlines()]

    async def test_one_line_for_each(self) -> None:
        """Each connection is one line, has one verdict, and a violation and a ban are one line each."""
        names = Counter(record["name"] for record in self.records)
        verdicts = ("certificate.accepted", "certificate.refused", "handshake.failed")
        judged = [record for record in self.records if record["name"] in verdicts]
        # Nothing is made for a caller that does not speak TLS: its only line is the failure.
        spoke = [
            record for record in judged if record.get("cause") not in {"handshake.not_tls", "handshake.plain_http"}
        ]
        self.assertEqual(names["connection.accepted"], len(spoke), names)
        self.assertGreater(len(judged), len(spoke))
        peers = [record["peer"] for record in judged]
        self.assertEqual(len(peers), len(set(peers)))
        self.assertEqual((names["certificate.accepted"], names["certificate.refused"]), (2, 2))
        self.assertEqual((names["session.violation"], names["penalty.banned"]), (1, 1))
        self.assertGreaterEqual(names["connection.refused"], 1)
        started = [record["session"] for record in self.records if record["name"] == "session.started"]
        ended = [record["session"] for record in self.records if record["name"] == "session.ended"]
        self.assertEqual((len(set(started)), sorted(started)), (len(started), sorted(ended)))

    async def test_fail2ban(self) -> None:
        """The filter counts attackers by their address, once for each line, and nothing else."""
        lines = (self.log / "security.log").read_text().splitlines()
        found = caught(lines)
        self.assertEqual({address for _, address in found}, {"127.0.0.1"})
        names = Counter(name for name, _ in found)
        self.assertEqual((names["certificate.refused"], names["session.violation"]), (2, 1))
        self.assertEqual(names["handshake.failed"], len(self.text("handshake.failed")))
        self.assertEqual(set(names), {"certificate.refused", "session.violation", "handshake.failed"})
        daily = next(self.log.glob("smartproxy-server-*.log")).read_text().splitlines()
        self.assertEqual(len(caught(daily)), len(found), "what is no attack is not counted")

    async def test_rsyslog(self) -> None:
        """The rule for security finds each verdict, violation and ban of what was logged."""
        rules = (PACKAGING / "rsyslog" / "smartproxy.conf").read_text()
        pattern = re.search(r're_match\(\$msgid, "([^"]+)"\)', rules)
        assert pattern is not None
        listed = re.search(r"\$msgid == \[([^]]+)\]", rules)
        assert listed is not None
        names = json.loads(f"[{listed[1]}]")
        self.assertLessEqual({*names, *re.findall(r'\$!name == "([^"]+)"', rules)}, set(EVENTS))
        kept = {name for name in EVENTS if re.search(pattern[1], name)} | set(names)
        self.assertLessEqual({name for name in EVENTS if heading(name) == "connections"}, kept)
        self.assertLessEqual(
            {record["name"] for record in self.records if record["level"] != "info"} - kept, {"session.anomaly"}
        )

    async def test_names_of_files(self) -> None:
        """No sender of a message chooses where rsyslog writes: what it says of itself holds no folder in a path."""
        rules = (PACKAGING / "rsyslog" / "smartproxy.conf").read_text()
        for name in re.findall(r'dynaFile="([^"]+)"', rules):
            template = re.search(rf'template\(name="{name}"[^)]*string="([^"]+)"', rules)
            assert template is not None, name
            chosen = [each for each in re.findall("%([^%]+)%", template[1]) if not each.startswith("$")]
            self.assertTrue(chosen)
            self.assertEqual([each for each in chosen if not each.endswith(":::secpath-replace")], [])

    async def test_jail(self) -> None:
        """The jail reads the file that the example writes, with the filter beside it."""
        jail = fail2ban("jail.d/smartproxy.conf")
        self.assertTrue((PACKAGING / "fail2ban" / "filter.d" / f"{jail['filter']}.conf").exists())
        appenders = logrc.load(EXAMPLE, files.read).appenders or ()
        paths = [str(each.path) for each in appenders if isinstance(each, logrc.OneFile)]
        self.assertIn(jail["logpath"], paths)
        rotated = (PACKAGING / "logrotate" / "smartproxy.conf").read_text()
        self.assertTrue(all(path in rotated for path in paths))
