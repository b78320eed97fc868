"""Two hundred things that an operator can do wrong: each is told in a line or two that say what to do."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from smartproxy.testing.programs import environment, finish
from smartproxy.testing.site import SMARTPROXY
from tests.process.clock import LIMIT_SECONDS
from tests.process.sites import SiteCase, reactor
from tests.process.situations import NOBODY, Situation, Told, run

WRONG_USE, NOT_WRITTEN, UNKNOWN = 2, 74, 3
COLUMNS_MOST = 420
"""Of a line; more is no plain line."""
FOREIGN = "192.0.2.7"
"""An address that no machine has (RFC 5737)."""
NOT_PLAIN = re.compile(r"Traceback|\[Errno|\bb'|errors=\[|<class|object at 0x|Exception ignored|^\s", re.M)
"""What is for programmers."""
STATE = "SMARTPROXY_STATE_DIR"


def say(text: str, status: int, *says: str, **more: object) -> Situation:
    """A situation in words that blanks separate."""
    return Situation(tuple(text.split()), status, says, **more)  # type: ignore[arg-type]  # of the class's fields


def daemon_switches() -> Iterator[Situation]:
    """Values that no switch takes, for all five daemons and by twistd."""
    server = "smartproxy-server -d --state-dir server -l good.lic"
    for words, *says in (
        ("-i 99999", "--listen", "99999", "65535"),
        ("-i x:y:z", "--listen", "brackets"),
        ("-i dmz.example:2878", "--listen", "not an IP address"),
        ("--listen", "--listen", "requires argument"),
        ("--drain x", "--drain", "0 to 86400"),
        ("--drain -1", "--drain", "0 to 86400"),
        ("--drain 99999999999999999999", "--drain", "0 to 86400"),
        ("--log-level loud", "loud", "trace"),
        ("--nonsense", "--nonsense"),
        ("-Z", "-Z"),
        ("extra", "'extra'"),
        ("--foreground=1", "foreground"),
    ):
        yield say(f"{server} {words}", WRONG_USE, "smartproxy-server", *says, "smartproxy-server --help")
        yield say(f"twistd -n --pidfile= {server.replace(' -d', '')} {words}", WRONG_USE, "smartproxy-server", *says)
    client = "smartproxy-client -d --state-dir client"
    whole = f"{client} -U https://b.example -S dmz.example --token-file token"
    for words, *says in (
        (f"{client} -S y", "--backend is missing", "https://"),
        (f"{client} -U https://x", "--server is missing", "dmz.example:2878"),
        (f"{client} -U x -S y --token-file token", "--backend", "https://"),
        (f"{client} -U http://x -S y --token-file token", "--backend", "loopback"),
        (f"{client} -U https://x?y -S y --token-file token", "--backend", "?"),
        (f"{client} -U https://x:y -S y --token-file token", "--backend", "https://"),
        (f"{client} -U https://x -S y", "--token-file", "smartproxy client add"),
        (f"{client} -U https://x -S y:0 --token-file token", "--server", "1 to 65535"),
        (f"{client} -U https://x -S 1 --token-file token", "--server", "only a port"),
        (f"{whole} --backend-pin zz", "--backend-pin", "64 hex"),
        (f"{whole} --backend-pin zz --backend-ca ca.pem", "one of the two"),
        (f"{whole} -o host.example", "--source", "not an IP address"),
        (f"{whole} extra", "'extra'"),
    ):
        yield say(words, WRONG_USE, "smartproxy-client", *says, "smartproxy-client --help")
    yield say(f"{client} -U https://x -S y", WRONG_USE, "no token has", environment={"SMARTPROXY_TOKEN": "a b"})
    yield say(f"{whole} -o {FOREIGN}", 1, "--source", FOREIGN, "no address")
    backend = "smartproxy-backend -d --state-dir backend"
    yield say(f"{backend} -i x", WRONG_USE, "--listen", "'x'")
    yield say(f"{backend} extra", WRONG_USE, "'extra'")
    yield say(f"{backend} --database x", 1, "URL", "sqlite:////")
    yield say(f"{backend} --database nosuch://x/y", 1, "'nosuch'")
    yield say(f"{backend} --database postgresql://secret:word@x/y", 1, "--database", "can read a password")
    for name in ("missing/x/y", "empty", "garbage", "folder"):
        where = f"/proc/{name}" if "/" in name else name
        yield say(f"{backend} --database sqlite:///{where}", 1, name)
    yield say(f"{backend} --database sqlite:///broken.db", 1, "broken.db", "backup")
    yield say("smartproxy-backend -d --state-dir /proc/x", 1, "cannot make the store", "--state-dir")
    plain = "smartproxy-plain-server -d --state-dir server -l good.lic"
    for words, *says in (
        ("-i x", "--internal"),
        ("-e 99999", "--external"),
        ("-T x", "--timeout", "1 to 86400"),
        ("-T 0", "--timeout"),
        ("--permit x", "--permit", "host:port"),
        ("extra", "'extra'"),
    ):
        yield say(f"{plain} {words}", WRONG_USE, *says, "smartproxy-plain-server --help")
    inside = "smartproxy-plain-client -d --state-dir client -c plain.credential -e dmz.example"
    for words, *says in (
        ("-T x", "--timeout"),
        ("-e x:y", "--server", "'y'"),
        ("-i a:b:c", "--target", "brackets"),
        ("-Q x", "--outgoing"),
        ("--forward 12", "--forward", "2222=sftp.example:22"),
        ("--forward 1=x", "--forward"),
        ("extra", "'extra'"),
    ):
        yield say(f"{inside} {words}", WRONG_USE, *says, "smartproxy-plain-client --help")
    yield say("smartproxy-plain-client -d -e x", WRONG_USE, "--credential is missing", "issue-client")
    yield say("smartproxy-plain-client -d -c x", WRONG_USE, "--server is missing", "65432")


def daemon_files() -> Iterator[Situation]:
    """Files of every wrong kind in the place of every file that a daemon reads or writes."""
    server = "smartproxy-server -d --state-dir server -i 127.0.0.1:0"
    for name, why in (
        ("missing", "no such file"),
        ("empty", "not a licence"),
        ("garbage", "not a licence"),
        ("huge", "larger than"),
        ("/dev/zero", "larger than"),
        ("/dev/null", "not a licence"),
        ("fifo", "nobody writes to it"),
        ("folder", "Is a directory"),
        ("foreign.lic", "another machine"),
    ):
        yield say(f"{server} -l {name}", 1, name.split("/")[-1], why, "Proxy ID", lines=3)
    yield say("smartproxy-server -V --state-dir server -l garbage", 1, "not a licence", lines=3)
    yield say("smartproxy-plain-server -d --state-dir server -l foreign.lic", 1, "another machine", lines=3)
    yield say("twistd -n --pidfile= smartproxy-server --state-dir server -l foreign.lic", 1, "another machine", lines=3)
    kinds = (
        ("missing", "No such file"),
        ("garbage", ""),
        ("huge", "larger than"),
        ("/dev/zero", "larger than"),
        ("fifo", "nobody writes to it"),
        ("folder", "Is a directory"),
    )
    client = "smartproxy-client -d --state-dir client -U https://b.example -S dmz.example"
    for name, why in kinds:
        yield say(f"{server} -l good.lic --logrc {name}", WRONG_USE, "--logrc", name, why)
        yield say(f"{client} --token-file {name}", WRONG_USE, "--token-file", name, why)
        yield say(f"{client} --token-file token --backend-ca {name}", WRONG_USE, "--backend-ca", name, why)
        yield say(f"smartproxy-plain-client -d -c {name} -e x --state-dir client", WRONG_USE, "--credential", why)
    for name in ("empty", "/dev/null"):
        yield say(f"{client} --token-file {name}", WRONG_USE, "no token")
        yield say(f"{client} --token-file token --backend-ca {name}", WRONG_USE, "no PEM certificate")
    yield say("smartproxy-plain-client -d -c token -e x --state-dir client", WRONG_USE, "not a client's credential")
    yield say("smartproxy-plain-client -d -c /dev/null -e x --state-dir client", WRONG_USE, "not a client's credential")
    yield say("smartproxy-plain-client -d -c open.credential -e x --state-dir client", WRONG_USE, "chmod 600")
    for name, why in (
        ("folder", "Is a directory"),
        ("garbage", "not a PID file"),
        ("garbage/x", "Not a directory"),
        ("fifo2", "not a PID file"),
    ):
        yield say(f"{server} -l good.lic --pid-file {name}", 1, "--pid-file", name, why)
    yield say(f"{server} -l good.lic --log-json folder", 1, "--log-json", "Is a directory")
    yield say(f"{server} -l good.lic --log-json missing/x/y --log-json /proc/x", 1, "--log-json", "/proc/x")
    yield say("smartproxy-server -d --state-dir empty", 1, "empty", "--state-dir")
    yield say("smartproxy-server -d --state-dir /proc/x", 1, "/proc/x", "--state-dir")
    yield say("smartproxy-server -d --state-dir open", 1, "identity.key", "chmod 600")
    yield say("smartproxy-server -d --state-dir wrongkey", 1, "identity.key", "restore the right file")


def ports() -> Iterator[Situation]:
    """Ports that cannot be opened: in the foreground, in the background, and by twistd."""
    server = f"--state-dir server -l good.lic -i {FOREIGN}:2878"
    told = (f"cannot listen at {FOREIGN}:2878", "Cannot assign requested address", "choose an address of this machine")
    # Several run at once; the PID file that one holds would be what the other is told of.
    yield say(f"smartproxy-server -d {server} --pid-file first.pid", 1, *told)
    yield say(f"smartproxy-server {server} --pid-file second.pid", 1, *told)
    yield say(f"twistd -n --pidfile= smartproxy-server {server}", 1, *told)
    yield say(f"twistd --pidfile= smartproxy-server {server}", 1, *told)
    yield say(f"smartproxy-backend --state-dir backend -i {FOREIGN}:1", 1, f"cannot listen at {FOREIGN}:1")
    yield say(f"smartproxy-plain-server --state-dir server -l good.lic -i {FOREIGN}:1", 1, f"at {FOREIGN}:1")
    yield say(
        f"smartproxy-plain-client --state-dir client -c plain.credential -e x -Q {FOREIGN}:1", 1, f"at {FOREIGN}:1"
    )


def another_user() -> Iterator[Situation]:
    """Somebody else than the owner of the files; nobody has a look into them."""
    for words in (
        "smartproxy-server -d --state-dir server",
        "smartproxy-server --state-dir server -L",
        "smartproxy-server --state-dir server -V",
        "twistd -n --pidfile= smartproxy-server --state-dir server",
        "smartproxy-plain-server --state-dir server -L",
        "smartproxy-client -d -U https://x -S y --state-dir server --token-file token",
        "smartproxy-backend -d --state-dir backend",
        "smartproxy-plain-client -d -c plain.credential -e x --state-dir server",
    ):
        yield say(words, 1, "Permission denied", "--state-dir", nobody=True)
    yield say("smartproxy-server -d --state-dir /", 1, "Permission denied", "--state-dir", nobody=True)
    yield say("smartproxy-server -L --state-dir read-only", 1, "Permission denied", "--state-dir", nobody=True)
    yield say(
        "smartproxy-server -d --state-dir theirs --logrc secret", WRONG_USE, "--logrc", "Permission denied", nobody=True
    )
    yield say(
        "smartproxy-client -d -U https://x -S y --state-dir theirs --token-file secret",
        WRONG_USE,
        "secret",
        nobody=True,
    )
    for words in ("status", "sessions", "licence", "level debug", "drain"):
        yield say(f"smartproxy ctl {words} --state-dir server", UNKNOWN, "root", nobody=True)
    for words in ("partner list", "events", "explain ACME", "settings show", "licence list", "test-station"):
        yield say(f"smartproxy {words} --state-dir backend", 1, "user of smartproxy-backend", nobody=True)
    yield say("smartproxy authority create --site x --state-dir /nowhere", 1, "--state-dir", nobody=True)
    yield say("smartproxy judge secret", WRONG_USE, "Permission denied", nobody=True)
    yield say("smartproxy.testing certificates /nowhere", WRONG_USE, "Permission denied", nobody=True)


def command_files() -> Iterator[Situation]:
    """Files of every wrong kind for the command."""
    for words in (
        "identity import other",
        "ca add other",
        "crl load",
        "partner add OTHER --code O0013000009OTHER --certificate",
        "import",
    ):
        for name, why in (
            ("missing", "No such file"),
            ("empty", ""),
            ("garbage", ""),
            ("huge", "64 MiB"),
            ("/dev/zero", "64 MiB"),
            ("folder", "Is a directory"),
        ):
            yield say(f"smartproxy {words} {name} --state-dir backend", 1, "smartproxy: ", why)
    for name in ("missing", "empty", "garbage", "folder", "/dev/null"):
        yield say(f"smartproxy judge {name}", WRONG_USE, name)
    yield say("smartproxy judge -", WRONG_USE, "standard input", stdin=b"\xff\xfe")
    for words in ("export", "client add other --token-file", "authority issue-client other -o"):
        yield say(f"smartproxy {words} missing/x/y --state-dir backend", 1, "cannot write missing/x/y", "No such file")
    yield say("smartproxy export /dev/full --state-dir backend", 1, "/dev/full", "No space left")
    yield say("smartproxy partner list --state-dir empty", 1, "empty")
    yield say("smartproxy partner list --database sqlite:///broken.db", 1, "broken.db", "backup")


def command_words() -> Iterator[Situation]:
    """Words that the command does not know, and names that the site does not have."""
    for words, *says in (
        ("tset-station", "did you mean 'test-station'?"),
        ("test", "'test-partner' or 'test-station'"),
        ("partners list", "did you mean 'partner'?"),
        ("frobnicate", "choose from"),
        ("partner ad", "did you mean 'add'?"),
        ("ctl stat", "did you mean 'status'?"),
        ("crl laod x", "did you mean 'load'?"),
        ("identity imprt x", "did you mean 'import'?"),
        ("authority create", "--site"),
        ("authority issue-client x", "-o/--output"),
        ("authority issue-client x -o y --days 99999999999", "--days", "36500"),
        ("licence issue x", "--until"),
        ("licence issue x --until yesterday", "--until", "2027-12-31"),
        ("client bind inner 1.1.1.1", "--address"),
        ("partner add OTHER", "--code"),
        ("partner add OTHER --code X --lowest-level 9", "--lowest-level", "1.4"),
        ("partner add OTHER --code X --frobnicate", "--frobnicate"),
        ("ca add other ca.pem --grace-hours x", "--grace-hours"),
        ("settings set server.listeners", "value"),
        ("events --name sesion.", "did you mean 'session.'?"),
        ("events --since x", "--since", "yesterday"),
        ("events prune", "--older-than"),
        ("events --level loud", "loud", "trace"),
        ("events --number x", "--number"),
        ("transfers --since tomorrow", "--since"),
        ("history -n x", "--number"),
        ("test-station --wait x", "--wait"),
        ("judge --profile x y", "--profile", "strict"),
        ("ctl kill", "SESSION"),
        ("ctl drain --seconds x", "--seconds"),
        ("ctl status --watch 0", "--watch", "0.1"),
    ):
        yield say(
            f"smartproxy {words}", WRONG_USE, *says, "(see smartproxy", environment={"SMARTPROXY_STATE_DIR": "backend"}
        )
    for words, *says in (
        ("authority create --site x", "already"),
        ("authority https --name \x07x", "control characters"),
        ("licence issue x --until 1y", "Proxy ID", "-L"),
        ("licence extend x --until 1y", "licence list"),
        ("licence withdraw x", "licence list"),
        ("client add inner", "already", "client token"),
        ("client add x/y", "letters"),
        ("client remove nosuch", "known: inner"),
        ("partner show nosuch", "partner list"),
        ("partner remove nosuch", "partner list"),
        ("partner outbound nosuch --host x", "partner list"),
        (f"partner add OTHER --code ö --pin {'a' * 64}", "SSIDCODE"),
        ("ca show nosuch", "nosuch"),
        ("crl remove nosuch", "crl list"),
        ("identity show nosuch", "nosuch"),
        ("identity request x --common-name x --country XXX", "two letters, such as DE"),
        ("settings show nosuch", "settings show"),
        ("settings set server.listeners 0.0.0.0:99999", "server.listeners", "65535"),
        ("settings set client.station.host http://x", "host name"),
        ("settings set server.deadlines.drain x", "whole number"),
        ("explain nosuch", "smartproxy events"),
        ("test-partner nosuch", "partner list"),
        ("test-station --wait 0", "client"),
        ("ctl level", "--socket"),
        ("partner list --database nosuch://x", "'nosuch'"),
    ):
        yield say(f"smartproxy {words}", 1, *says, environment={STATE: "backend"})
    for words, status in (("ca add x", 1), ("crl load", 1), ("judge", WRONG_USE)):
        yield say(f"smartproxy {words} fifo", status, "fifo", "nobody writes to it", environment={STATE: "backend"})
    yield say("smartproxy ctl status --state-dir backend", WRONG_USE, "--state-dir", "--socket")
    yield say("smartproxy ctl status --socket missing", WRONG_USE, "no such socket")
    yield say("smartproxy ctl status --socket empty", WRONG_USE, "this is not a socket")
    yield say("smartproxy ctl status --socket .", WRONG_USE, "this is not a socket")


def outputs() -> Iterator[Situation]:
    """Standard output that is full, closed or of ASCII alone."""
    for words in (
        "smartproxy --help",
        "smartproxy authority show --state-dir backend",
        "smartproxy-server -h",
        "smartproxy-server -L --state-dir server",
        "smartproxy-server -V --state-dir server -l good.lic",
        "smartproxy-client --version",
        "twistd smartproxy-server -L --state-dir server",
        "smartproxy.testing --help",
        "smartproxy.testing certificates new",
        "smartproxy.testing station --code X --listen 127.0.0.1:0",
    ):
        yield say(words, NOT_WRITTEN, "standard output", "No space left", out="/dev/full")
    yield say("smartproxy authority show --state-dir backend", NOT_WRITTEN, "closed", out="-")
    yield say("smartproxy-server -L --state-dir server", NOT_WRITTEN, "closed", out="-")
    for program in ("server", "client", "backend", "plain-server", "plain-client"):
        yield say(f"smartproxy-{program} --help", NOT_WRITTEN, "closed", out="-")
    for words in (
        "twistd smartproxy-server --help",
        "smartproxy.testing --help",
        "smartproxy.testing station --code X",
    ):
        yield say(words, NOT_WRITTEN, "closed", out="-")
    yield say("twistd smartproxy-server -L --state-dir server", NOT_WRITTEN, "closed", out="-")
    yield say("smartproxy partner show ÄÖ --state-dir backend", 1, "partner list", encoding="ascii")


def extras() -> Iterator[Situation]:
    """Libraries that another machine of the site has."""
    yield say("smartproxy partner list", 1, "sqlalchemy", "smartproxy[backend]", without="sqlalchemy")
    for program, library, extra in (
        ("smartproxy-client -h", "treq", "client"),
        ("smartproxy-backend -h", "klein", "backend"),
        ("twistd smartproxy-client -h", "treq", "client"),
        ("twistd smartproxy-backend -h", "sqlalchemy", "backend"),
    ):
        yield say(program, 1, library, "not installed", f"smartproxy[{extra}]", without=library)


def kit() -> Iterator[Situation]:
    """The stations, partners and certificates of the test kit."""
    partner = "smartproxy.testing partner --connect 127.0.0.1:1 --code X --station-code Y"
    for words, *says in (
        ("smartproxy.testing partnr", "'partner'"),
        ("smartproxy.testing station", "--code"),
        ("smartproxy.testing station --code X --listen 1", "--listen", "HOST:PORT"),
        ("smartproxy.testing station --code ö", "--code", "ASCII"),
        ("smartproxy.testing station --code X --credit -1", "--credit", "1 to 999"),
        ("smartproxy.testing station --code X --inbox missing", "--inbox", "not a folder"),
        ("smartproxy.testing station --code X --send Y missing", "missing", "No such file"),
        ("smartproxy.testing station --code X --certificate missing", "--certificate", "PEM"),
        (f"{partner} --no-tls --send missing", "missing", "No such file"),
        (f"{partner} --no-tls --send empty,format=Z", "'Z'"),
        (f"{partner} --no-tls --sessions 0", "--sessions"),
        (f"{partner} --certificate garbage --key garbage --ca garbage", "--certificate", "PEM"),
        ("smartproxy.testing certificates backend", "not empty"),
        ("smartproxy.testing certificates empty", "File exists"),
        ("smartproxy.testing demo --folder empty", "--folder"),
        ("smartproxy.testing demo --folder backend", "--folder"),
    ):
        yield say(words, WRONG_USE, *says, "--help")
    yield say(f"{partner} --no-tls", 1, "cannot connect", "refused")
    yield say(f"smartproxy.testing station --code X --listen {FOREIGN}:1", 1, f"cannot listen at {FOREIGN}:1")


def bare() -> Iterator[Situation]:
    """Programs without a word: those that need some show them all."""
    for words in (
        "smartproxy",
        "smartproxy partner",
        "smartproxy ctl",
        "smartproxy-client",
        "smartproxy-plain-client",
        "smartproxy.testing",
    ):
        yield say(words, WRONG_USE, "", lines=60)


class WrongSituations(SiteCase):
    """Every program in every wrong situation."""

    timeout = LIMIT_SECONDS
    least: ClassVar[int] = 200

    async def begin(self) -> None:
        """Have the files of a site, and files of every wrong kind."""
        self.made = await self._have_made()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        for name in ("backend", "server"):
            (self.folder / name).symlink_to(self.made.folder / name)
        await self.files()

    async def files(self) -> None:
        """Make them."""
        folder = self.folder

        async def command(*words: str) -> None:
            argv = [*SMARTPROXY, *words, "--state-dir", str(folder / "backend")]
            done = await finish(reactor, argv, folder, environment())
            self.assertEqual(done.status, 0, done.err)

        await command("licence", "issue", self.made.proxy_id, "--until", "7d", "-o", "good.lic")
        await command("licence", "issue", "ab" * 32 + "px", "--until", "7d", "-o", "foreign.lic")
        await command("authority", "issue-client", "plain", "-o", "plain.credential")
        (folder / "open.credential").write_bytes((folder / "plain.credential").read_bytes())
        (folder / "token").write_text("a-token\n")
        (folder / "empty").touch()
        (folder / "garbage").write_bytes(bytes(range(256)) * 12)
        (folder / "broken.db").write_bytes(bytes(range(256)) * 20)
        (folder / "broken.db").chmod(0o600)
        (folder / "token").chmod(0o600)
        (folder / "huge").touch()
        os.truncate(folder / "huge", 2**28)
        os.mkfifo(folder / "fifo")
        os.mkfifo(folder / "fifo2")
        for name in ("folder", "open", "wrongkey", "theirs", "read-only"):
            (folder / name).mkdir()
        (folder / "read-only").chmod(0o555)
        for public in (folder, folder.parent):
            public.chmod(0o755)
        key = (self.made.folder / "server" / "identity.key").read_bytes()
        (folder / "open" / "identity.key").write_bytes(key)
        (folder / "wrongkey" / "identity.key").write_bytes(b"no key\n")
        (folder / "wrongkey" / "identity.key").chmod(0o600)
        (folder / "secret").touch(0o000)
        for name in ("theirs", "read-only"):
            os.chown(folder / name, NOBODY, NOBODY)

    def judge(self, situation: Situation, told: Told) -> list[str]:
        """What is wrong with what a program said."""
        found = []
        lines = told.err.replace(f"{self.folder}/", "").splitlines()
        if told.status != situation.status:
            found.append(f"status {told.status} and not {situation.status}")
        if not lines and situation.says != ("",):
            found.append("not a word")
        if len(lines) > situation.lines:
            found.append(f"{len(lines)} lines")
        if situation.lines < 10 and (NOT_PLAIN.search(told.err) if situation.lines < 3 else "Traceback" in told.err):
            found.append("no plain words")
        if any(len(line) > COLUMNS_MOST for line in lines):
            found.append("a line without end")
        found += [f"no word of {word!r}" for word in situation.says if word not in told.err]
        return found

    async def test_each_is_told(self) -> None:
        """No traceback, one or two plain lines that name what is wrong and what to do, and the right exit status."""
        groups = [daemon_switches, daemon_files, ports, command_files, command_words, outputs, extras, kit, bare]
        if os.getuid() == 0:
            groups.append(another_user)
        situations = [each for group in groups for each in group()]
        self.assertGreater(len(situations), self.least)
        self.assertEqual(len({str(each) for each in situations}), len(situations), "each is another one")
        wrong = []
        for situation, told in zip(situations, run(situations, self.folder), strict=True):
            if found := self.judge(situation, told):
                wrong.append(f"{situation}\n  {'; '.join(found)}\n  {told.status} {told.err!r}")
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))
        self.assertEqual([*self.folder.glob("**/*.pid")], [], "no daemon runs")
