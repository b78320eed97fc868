"""The units for systemd: taken by systemd, with switches that the daemons have, and little that they may do."""

import shlex
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.places import DATABASE_VARIABLE, STATE_DIRECTORY, TOKEN_CREDENTIAL, TUNNEL_PORT
from smartproxy.tap import backend, client, plain_client, plain_server, server
from tests.packaging.wheel import ROOT
from tests.programs import program

UNITS = ROOT / "packaging" / "systemd"
INSTALLED = "/opt/smartproxy/bin"
EXPOSURE_MOST = 1.5
"""What ``systemd-analyze security`` may say at most, out of 10."""
DAEMONS = {
    "server": server,
    "client": client,
    "backend": backend,
    "plain-server": plain_server,
    "plain-client": plain_client,
}
DRAIN_SECONDS = 300
ACTIVATED = {
    "server": {f"[::]:{TUNNEL_PORT}", f"[::]:{limits.LISTENER_PORT.default}"},
    "client": {f"127.0.0.1:{limits.OUTBOUND_PORT.default}"},
}
"""The addresses of the units for sockets."""


def settings(daemon: str) -> dict[str, list[str]]:
    """The settings of a unit, with all values of each."""
    return settings_of(f"smartproxy-{daemon}.service")


def settings_of(unit: str) -> dict[str, list[str]]:
    """The settings of a unit's file, with all values of each."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def command(daemon: str) -> list[str]:
    """What a unit starts, with its variables put in."""
    found = settings(daemon)
    variables = {"${STATE_DIRECTORY}": STATE_DIRECTORY}
    for value in found.get("Environment", []):
        name, _, words = shlex.split(value)[0].partition("=")
        variables[f"${name}"] = words
    text = found["ExecStart"][0]
    for name, words in variables.items():
        text = text.replace(name, words)
    return shlex.split(text)


class Units(SynchronousTestCase):
    """The files of ``packaging/systemd``."""

    def analyze(self, *words: str) -> str:
        """Run ``systemd-analyze``; it has to succeed."""
        done = subprocess.run([program("systemd-analyze"), *words], capture_output=True, text=True, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_systemd_takes_them(self) -> None:
        """Every setting is one that systemd knows; with the programs in their place it has nothing to say."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        programs = Path(sys.executable).parent
        paths = []
        for daemon in DAEMONS:
            path = folder / f"smartproxy-{daemon}.service"
            text = (UNITS / path.name).read_text(encoding="utf-8")
            self.assertIn(f"ExecStart={INSTALLED}/", text)
            program = Path(shlex.split(settings(daemon)["ExecStart"][0])[0]).name
            path.write_text(text.replace(f"{INSTALLED}/{program}", self.existing(programs / program)), encoding="utf-8")
            paths.append(str(path))
        for daemon in ACTIVATED:
            path = folder / f"smartproxy-{daemon}.socket"
            path.write_text((UNITS / path.name).read_text(encoding="utf-8"), encoding="utf-8")
            paths.append(str(path))
        self.assertEqual("", self.analyze("verify", "--man=no", "--recursive-errors=no", *paths))

    def existing(self, program: Path) -> str:
        """The program where it is installed; any program in a bare checkout, where it is not."""
        return str(program) if program.exists() else sys.executable

    def test_little_is_left_to_them(self) -> None:
        """The exposure that systemd sees is small."""
        for daemon in DAEMONS:
            path = UNITS / f"smartproxy-{daemon}.service"
            threshold = f"--threshold={EXPOSURE_MOST * 10:.0f}"
            self.analyze("security", "--offline=true", "--no-pager", threshold, str(path))

    def test_no_more_is_allowed_than_asked_for(self) -> None:
        """No capability, no unusual system call, nothing to write but the state folder, nobody's privileges."""
        for daemon in DAEMONS:
            found = settings(daemon)
            self.assertEqual([""], found["CapabilityBoundingSet"])
            self.assertEqual("@system-service", found["SystemCallFilter"][0])
            self.assertEqual(["strict"], found["ProtectSystem"])
            self.assertEqual(["yes"], found["NoNewPrivileges"])
            self.assertEqual(["smartproxy"], found["User"])
            self.assertEqual([Path(STATE_DIRECTORY).name], found["StateDirectory"])
            self.assertNotIn("ReadWritePaths", found)

    def test_switches_exist(self) -> None:
        """Every switch of a unit is one that the daemon has; it stays in the foreground, with its logrc's level."""
        for daemon, module in DAEMONS.items():
            words = command(daemon)
            options = module.Options()
            known = {f"--{name.rstrip('=')}" for name in options.longOpt}
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            self.assertEqual(set(), given - known, daemon)
            self.assertIn("--foreground", given, daemon)
            self.assertNotIn("--log-level", given, daemon)

    def test_sockets(self) -> None:
        """The units for sockets have the daemons' usual ports, and leave accepting to the daemon."""
        for daemon, addresses in ACTIVATED.items():
            found = settings_of(f"smartproxy-{daemon}.socket")
            self.assertEqual((set(found["ListenStream"]), found["Accept"]), (addresses, ["no"]))

    def test_life(self) -> None:
        """The daemons tell systemd that they are ready and alive, and have time to drain."""
        for daemon in DAEMONS:
            found = settings(daemon)
            self.assertEqual((["notify"], ["30"]), (found["Type"], found["WatchdogSec"]))
        for daemon in ("server", "client", "plain-server", "plain-client"):
            self.assertGreater(int(settings(daemon)["TimeoutStopSec"][0]), DRAIN_SECONDS)
        for daemon in ("server", "client"):
            # A worker that ends is no end of the daemon, and there is room for those of an older process.
            self.assertEqual(["continue"], settings(daemon)["OOMPolicy"])
            self.assertGreater(int(settings(daemon)["TasksMax"][0]), 3 * limits.WORKERS_MOST)

    def test_token(self) -> None:
        """The client's token is a credential under the name that the client looks for, and no argument."""
        (credential,) = settings("client")["LoadCredential"]
        self.assertEqual(TOKEN_CREDENTIAL, credential.partition(":")[0])
        self.assertFalse({"-T", "--token"} & set(command("client")))

    def test_environment(self) -> None:
        """The backend takes its database's place from the file into which the documents write it, if it is there."""
        (file,) = settings("backend")["EnvironmentFile"]
        self.assertEqual("-", file[0])
        written = f"echo {DATABASE_VARIABLE}=/etc/smartproxy/database >> {file[1:]}"
        self.assertIn(written, (ROOT / "docs" / "store.rst").read_text(encoding="utf-8"))
