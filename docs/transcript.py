"""Writes ``transcript.md``: an operator's session with real daemons, from the installation to the end.

``make transcript`` runs every command that the page shows, with the daemons in the background as an operator has them,
and writes down what each printed. Both machines are folders here; what differs from machine to machine (the folder,
the ports that were free, a few long hashes) is shown as an operator would see it. A command that ends with another
exit status than it should ends the script.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from smartproxy.testing.pki import TestCa, self_signed

PROGRAMS = Path(sys.executable).parent
PORTS = (2878, 3305, 6619, 8443)
STATE = "/var/lib/smartproxy"
CODE, STATION = "O0013000001ACME", "O0013000001MUSTER"
PATIENCE = 60.0
DRAWING_MIB = 192
"""The large file takes longer than the two commands that are typed while it is in transfer."""

HEAD = """# An operator's session

This page shows every command that an operator types and all output, from the installation to the stop of the server.
`make transcript` runs the real daemons and writes this page. Both machines are folders of one machine here, so all
addresses are 127.0.0.1. Paths and port numbers are shown as they are on separate machines.

`dmz$` is the machine in the DMZ, `inside$` a machine inside, `acme$` the partner's machine.
"""


def free_ports(number: int) -> list[int]:
    """Ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Session:
    """The page and the machines.

    :param folder: holds a folder for each machine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = [HEAD]
        self._ports = dict(zip(map(str, PORTS), map(str, free_ports(len(PORTS))), strict=True))
        self._block = False
        self._started: list[subprocess.Popen[str]] = []
        for machine in ("dmz", "inside", "acme"):
            for place in ("etc", STATE.strip("/"), "home"):
                (folder / machine / place).mkdir(parents=True)

    def path(self, machine: str, place: str) -> Path:
        """A file or folder of a machine."""
        return self.folder / machine / place.lstrip("/")

    def step(self, title: str, words: str) -> None:
        """Begin a step of the page."""
        self._end_block()
        self.lines.append(f"## {title}\n\n{words}\n")

    def say(self, words: str) -> None:
        """Explain what comes next."""
        self._end_block()
        self.lines.append(f"{words}\n")

    def run(self, machine: str, command: str, *, status: int = 0, most: int = 40) -> str:
        """Run a command to its end, and show it with what it printed."""
        done = subprocess.run(
            self._words(machine, command),
            cwd=self.path(machine, "home"),
            env=self._environment(machine),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        said = done.stdout + done.stderr
        if done.returncode != status:
            raise SystemExit(f"{machine}$ {command}: exit status {done.returncode}, not {status}\n{said}")
        self.show(machine, command, said.splitlines()[:most])
        return said.strip()

    def start(self, machine: str, command: str) -> subprocess.Popen[str]:
        """Start a command that goes on, and show it."""
        self.show(machine, f"{command} &", [])
        process = subprocess.Popen(
            self._words(machine, command),
            cwd=self.path(machine, "home"),
            env=self._environment(machine),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def log(self, machine: str, program: str, wanted: str, *, most: int = 12, after: int = 0) -> int:
        """Wait until a daemon's daily log has a line like this behind so many lines; show some, and count all."""
        end = time.monotonic() + PATIENCE
        lines: list[str] = []
        while not any(re.search(wanted, line) for line in lines[after:]):
            if time.monotonic() > end:
                raise SystemExit(f"{machine}: {program} never logged {wanted}:\n" + "\n".join(lines))
            time.sleep(0.1)
            files = sorted(self.path(machine, f"{STATE}/log").glob(f"{program}-*.log"))
            lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
        if most:
            shown = lines[after:][-most:]
            self.show(machine, f"tail -n {len(shown)} {STATE}/log/{files[-1].name}", shown)
        return len(lines)

    def gone(self, machine: str, program: str) -> None:
        """Wait until a daemon has removed its PID file."""
        end = time.monotonic() + PATIENCE
        while self.path(machine, f"{STATE}/{program}.pid").exists():
            if time.monotonic() > end:
                raise SystemExit(f"{machine}: {program} did not end")
            time.sleep(0.1)

    def end(self) -> None:
        """End whatever still runs."""
        for process in self._started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for file in self.folder.glob("*/" + STATE.strip("/") + "/*.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)

    def page(self) -> str:
        """The whole page."""
        self._end_block()
        return "\n".join(self.lines)

    def _words(self, machine: str, command: str) -> list[str]:
        return list(self._real(machine, shlex.split(command)))

    def _real(self, machine: str, words: list[str]) -> Iterator[str]:
        program, *rest = words
        yield str(PROGRAMS / program) if (PROGRAMS / program).exists() else program
        for word in rest:
            for shown, port in self._ports.items():
                word = re.sub(rf"(?<![\w.-]){shown}\b", port, word)
            yield str(self.path(machine, word)) if word.startswith(("/etc/", "/var/")) else word

    def _environment(self, machine: str) -> dict[str, str]:
        state = str(self.path(machine, STATE))
        path = f"{PROGRAMS}:{os.environ['PATH']}"
        return {
            "PATH": path,
            "HOME": str(self.path(machine, "home")),
            "SMARTPROXY_STATE_DIR": state,
            "LC_ALL": "C.UTF-8",
        }

    def show(self, machine: str, command: str, said: list[str]) -> None:
        """Put a command and what it printed on the page."""
        if not self._block:
            self.lines.append("```console")
            self._block = True
        self.lines.append(self._clean(machine, f"{machine}$ {command}"))
        self.lines += [self._clean(machine, line) for line in said]

    def _clean(self, machine: str, line: str) -> str:
        line = line.replace(str(self.folder / machine / "home") + "/", "").replace(str(self.folder / machine), "")
        for shown, port in self._ports.items():
            line = re.sub(rf"\b{port}\b", shown, line)
        line = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{40,56}(px)?\b", r"\1...\2", line)
        return line.rstrip()

    def _end_block(self) -> None:
        if self._block:
            self.lines.append("```\n")
            self._block = False


def prepare(session: Session) -> None:
    """What an operator has before the first step: certificates, the site's and the partner's."""
    authority = TestCa.root("Muster partner CA")
    inside, acme = session.path("inside", "home"), session.path("acme", "home")
    authority.issue("oftp.muster.example", sans=["DNS:oftp.muster.example"]).write(inside, "muster")
    files = self_signed("ACME").write(acme, "acme")
    shutil.copy(files.certificate, inside / "acme.pem")
    (acme / "muster-ca.pem").write_bytes(authority.certificate_pem)
    for number in (1, 2):
        (acme / f"order-{number}.txt").write_text("Four wheels, round.\n" * 100 * number)
    (acme / "drawing.dat").write_bytes(os.urandom(1 << 20) * DRAWING_MIB)


def install(session: Session) -> None:
    """Authority, licence, configuration."""
    session.step(
        "Check the installation", "The wheel is installed on both machines, as the operator's guide describes."
    )
    session.run("dmz", "smartproxy-server -v")
    session.run("inside", "smartproxy-client -v")
    session.step(
        "Create the site's authority and the licence",
        "The first call of `-L` creates the server's key and prints its Proxy ID.",
    )
    session.run("inside", 'smartproxy authority create --site "Muster GmbH" --name localhost -o backend-ca.pem')
    proxy_id = session.run("dmz", "smartproxy-server -L").splitlines()[0]
    session.say("Without a licence the server does not start. It prints what is missing, and its Proxy ID:")
    session.run("dmz", "smartproxy-server -l /etc/smartproxy.lic", status=1)
    session.run("inside", f"smartproxy licence issue {proxy_id} --until 1y -o smartproxy.lic")
    shutil.copy(session.path("inside", "home/smartproxy.lic"), session.path("dmz", "etc/smartproxy.lic"))
    session.say("The operator copies the file to the DMZ as `/etc/smartproxy.lic`.")
    session.run("dmz", "smartproxy-server -V -l /etc/smartproxy.lic")


def configure(session: Session) -> None:
    """Station, certificate, the first partner."""
    session.step(
        "Configure the station, the certificate and the first partner",
        "All these commands run inside, none in the DMZ.",
    )
    station = "client.station.host 127.0.0.1 client.station.port 3305"
    session.run("inside", f"smartproxy settings set {station} server.listeners 127.0.0.1:6619")
    session.run("inside", "smartproxy identity import main muster.crt muster.key")
    session.run("inside", f"smartproxy partner add ACME --code {CODE} --certificate acme.pem")
    session.run("inside", "smartproxy client add inner --token-file /etc/smartproxy.token")


def start(session: Session) -> None:
    """Start the daemons in the background."""
    session.step(
        "Start", "The daemons run in the background and write one log file a day. systemd uses `--foreground` instead."
    )
    station = f"python -m smartproxy.testing station --code {STATION} --listen 127.0.0.1:3305 --inbox ."
    session.say("A station of the test kit replaces the real one.")
    session.start("inside", station)
    session.run("inside", "smartproxy-backend -i 127.0.0.1:8443")
    session.log("inside", "smartproxy-backend", "backend.started", most=0)
    session.run("dmz", "smartproxy-server -i 127.0.0.1:2878 -l /etc/smartproxy.lic")
    session.log("dmz", "smartproxy-server", "server.started", most=0)
    client = (
        "-U https://localhost:8443 --backend-ca backend-ca.pem -S 127.0.0.1:2878 --token-file /etc/smartproxy.token"
    )
    session.run("inside", f"smartproxy-client {client}")
    session.log("dmz", "smartproxy-server", "listener.opened")
    session.say("Check the state of both daemons:")
    session.run("dmz", "smartproxy ctl status")
    session.run("inside", "smartproxy ctl status --client")


def call(file: str, code: str = CODE) -> str:
    """The partner's command."""
    certificate = "--ca muster-ca.pem --certificate acme.crt --key acme.key"
    return (
        f"python -m smartproxy.testing partner --code {code} --station-code {STATION} "
        f"--connect 127.0.0.1:6619 {certificate} --send {file}"
    )


def first_file(session: Session) -> int:
    """The first file arrives."""
    session.step("Receive the first file", "ACME sends an order.")
    session.run("acme", call("order-1.txt"))
    seen = session.log("dmz", "smartproxy-server", "session.ended", most=0)
    session.log("inside", "smartproxy-client", "session.ended", most=0)
    time.sleep(2)
    session.say("The events that both daemons sent to the backend:")
    session.run("inside", "smartproxy events --partner ACME")
    return seen


def refusal(session: Session, seen: int) -> int:
    """Somebody is refused, and is told why."""
    session.step(
        "Explain a refusal",
        "ACME calls with an SSIDCODE of another company. It gets ESID 03, and the station never sees the call.",
    )
    session.run("acme", call("order-2.txt", "O0013000002BOLT"), status=1)
    seen = session.log("dmz", "smartproxy-server", "identity.refused", most=0, after=seen)
    time.sleep(2)
    session.say("ACME asks why. You can send the first part of the answer to ACME as it is:")
    session.run("inside", "smartproxy explain ACME")
    return session.log("dmz", "smartproxy-server", "identity.refused", most=0)


def level(session: Session, seen: int) -> None:
    """One partner is traced."""
    session.step(
        "Trace one partner", "From now on the log has every command of ACME's sessions, and of no other partner's:"
    )
    session.run("dmz", "smartproxy ctl level trace --partner ACME")
    session.run("acme", call("order-2.txt"))
    session.log("dmz", "smartproxy-server", "session.ended", most=24, after=seen + 1)
    session.say("Restore the level. A signal sets the level of the whole daemon: 22 is INFO.")
    session.run("dmz", "smartproxy ctl level configured --partner ACME")
    pid = session.path("dmz", f"{STATE}/smartproxy-server.pid").read_text().strip()
    os.kill(int(pid), 22)
    session.show("dmz", f"kill -22 $(cat {STATE}/smartproxy-server.pid)", [])
    session.log("dmz", "smartproxy-server", "level.changed.*signal 22", most=1)


def drain(session: Session) -> None:
    """The server ends; the session that runs may finish."""
    session.step(
        "Stop the server",
        "A large file is in transfer when the server has to stop. The session may finish; new connections are refused.",
    )
    seen = session.log("dmz", "smartproxy-server", "level.changed.*signal 22", most=0)
    partner = session.start("acme", call("drawing.dat"))
    session.log("dmz", "smartproxy-server", "file.started", most=0, after=seen)
    session.run("dmz", "smartproxy ctl sessions")
    answer = session.run("dmz", "smartproxy ctl drain --seconds 60")
    if re.search(r"\b0 sessions\b", answer):
        raise SystemExit(f"the large file was over before the server was stopped; make it larger:\n{answer}")
    said, _ = partner.communicate(timeout=PATIENCE)
    if partner.returncode:
        raise SystemExit(f"the drain broke the session:\n{said}")
    session.gone("dmz", "smartproxy-server")
    session.log("dmz", "smartproxy-server", "server.stopped|session.ended", most=8, after=seen)
    session.say("The output of the partner's program:")
    session.show("acme", "fg", said.splitlines()[-4:])
    session.say("The client dials its server again and again until you stop it, too. HUP drains, as TERM does.")
    for program in ("smartproxy-client", "smartproxy-backend"):
        pid = session.path("inside", f"{STATE}/{program}.pid").read_text().strip()
        session.show("inside", f"kill -HUP $(cat {STATE}/{program}.pid)", [])
        os.kill(int(pid), signal.SIGHUP)
        session.gone("inside", program)


def main() -> None:
    """Run the session and write the page."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".md"))
    folder = Path(tempfile.mkdtemp(prefix="sp-"))
    session = Session(folder)
    try:
        prepare(session)
        install(session)
        configure(session)
        start(session)
        level(session, refusal(session, first_file(session)))
        drain(session)
    finally:
        session.end()
        shutil.rmtree(folder, ignore_errors=True)
    page = session.page()
    if str(folder) in page or str(PROGRAMS) in page:
        raise SystemExit("a path of this machine is on the page")
    output.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{output}\n")


if __name__ == "__main__":
    main()
