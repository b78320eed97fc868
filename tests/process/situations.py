"""Programs in wrong situations, many of them in one go.

A process imports everything once and forks for each situation. The fork has files of its own as standard output and
error, becomes another user where that is wanted, and runs the program's entry point as its script does. A program that
must not find a library is run as a process of its own. Trusts the table; ends a program that does not end by itself.
"""

import contextlib
import importlib
import os
import pickle
import pkgutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

NOBODY = 65534
SECONDS_MOST = 60
"""How long a program may take in a wrong situation before it is killed; it counts as a failure then."""
AT_ONCE = 4
OUTPUTS = ("out", "err")
STORE_BUSY = "the store is busy"

ENTRIES = {
    "smartproxy": ("smartproxy.tap.command", "main"),
    "smartproxy-server": ("smartproxy.tap.console", "server_main"),
    "smartproxy-client": ("smartproxy.tap.console", "client_main"),
    "smartproxy-backend": ("smartproxy.tap.console", "backend_main"),
    "smartproxy-plain-server": ("smartproxy.tap.console", "plain_server_main"),
    "smartproxy-plain-client": ("smartproxy.tap.console", "plain_client_main"),
    "smartproxy.testing": ("smartproxy.testing.__main__", "main"),
    "twistd": ("twisted.scripts.twistd", "run"),
}
"""The programs: module and function."""


_NEEDED_LATER = (
    "encodings.idna",
    "sqlalchemy.dialects.sqlite",
    "twisted.internet.epollreactor",
    "twisted.scripts.twistd",
)
"""What the programs import when they run."""


@attrs.frozen
class Situation:
    """Somebody runs a program, and something is wrong.

    :ivar words: the program and its arguments.
    :ivar status: the exit status that is right.
    :ivar says: what the lines on standard error have to name.
    :ivar nobody: whether another user runs it.
    :ivar out: standard output: a path, empty for a file that is read afterwards; ``-`` for closed.
    :ivar stdin: what is typed.
    :ivar encoding: of standard output.
    :ivar without: a library that is not installed.
    :ivar environment: variables beside the usual ones.
    :ivar lines: how many lines are said at most.
    """

    words: tuple[str, ...]
    status: int
    says: tuple[str, ...]
    nobody: bool = False
    out: str = ""
    stdin: bytes = b""
    encoding: str = ""
    without: str = ""
    environment: Mapping[str, str] = attrs.field(factory=dict)
    lines: int = 2

    def __str__(self) -> str:
        named = ("nobody", "out", "stdin", "encoding", "without", "environment")
        return " ".join([*self.words, *(f"{name}={getattr(self, name)}" for name in named if getattr(self, name))])


@attrs.frozen
class Told:
    """What a program left: exit status, negative for a signal, and what it printed."""

    status: int
    out: str
    err: str


def run(situations: Sequence[Situation], folder: Path) -> list[Told]:
    """Run all of them in a folder; what each left.

    They use one store. One that others kept locked for too long on a busy machine is run again when they have ended,
    as its line says.
    """
    told = _run_all(situations, folder)
    late = [number for number, each in enumerate(told) if STORE_BUSY in each.err]
    if late:
        for number, again in zip(late, _run_all([situations[each] for each in late], folder), strict=True):
            told[number] = again
    return told


def _run_all(situations: Sequence[Situation], folder: Path) -> list[Told]:
    words = [sys.executable, "-c", "from tests.process.situations import serve; serve()", str(folder)]
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    done = subprocess.run(
        words,
        input=pickle.dumps(list(situations)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )
    told: list[Told] = pickle.loads(done.stdout)
    return told


def serve() -> None:
    """Be the process that forks."""
    folder = Path(sys.argv[1])
    situations = pickle.loads(sys.stdin.buffer.read())
    _import_everything()
    told: list[Told | None] = [None] * len(situations)
    running: dict[int, int] = {}
    waiting = list(enumerate(situations))[::-1]
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number, situation = waiting.pop()
            running[_begin(situation, folder, number)] = number
        pid, status = os.wait()
        number = running.pop(pid)
        texts = [(folder / f"{number}.{name}").read_text("utf-8", "backslashreplace") for name in OUTPUTS]
        told[number] = Told(os.waitstatus_to_exitcode(status), *texts)
    sys.stdout.buffer.write(pickle.dumps(told))


def _import_everything() -> None:
    """What another user could not import from the folders of this one."""
    import smartproxy

    for module in pkgutil.walk_packages(smartproxy.__path__, "smartproxy."):
        if ".migrations." not in module.name:
            importlib.import_module(module.name)
    for name in (
        "twisted.scripts.twistd",
        "twisted.internet.epollreactor",
        "encodings.idna",
        "sqlalchemy.dialects.sqlite",
    ):
        importlib.import_module(name)
    # Forks would share its epoll descriptor: each makes a reactor of its own.
    del sys.modules["twisted.internet.reactor"], sys.modules["twisted.internet"].reactor


def _begin(situation: Situation, folder: Path, number: int) -> int:
    """Run the program of a situation; the number of its process."""
    out, err = folder / f"{number}.out", folder / f"{number}.err"
    out.touch()
    read, write = os.pipe()
    os.write(write, situation.stdin)
    os.close(write)
    pid = os.fork()
    if pid:
        os.close(read)
        return pid
    status = 70
    signal.alarm(SECONDS_MOST)
    try:
        os.dup2(read, 0)
        os.dup2(os.open(situation.out if situation.out not in ("", "-") else out, os.O_WRONLY), 1)
        os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        os.closerange(3, 50)
        if situation.out == "-":
            os.close(1)
        os.environ.clear()
        os.environ.update({"PATH": "/usr/bin:/bin", "HOME": str(folder), "SMARTPROXY_STATE_DIR": str(folder / "state")})
        os.environ.update(situation.environment)
        os.chdir(folder)
        status = _run(situation)
    finally:
        os._exit(status)


def _run(situation: Situation) -> int:
    program, *words = situation.words
    module, function = ENTRIES[program]
    if situation.without:
        text = (
            f"import sys; sys.modules[{situation.without!r}] = None; sys.argv[0] = {program!r}\n"
            f"from {module} import {function}; sys.exit({function}())"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execv(sys.executable, [sys.executable, "-c", text, *words])
    _open(situation)
    sys.argv = [program, *words]
    if situation.nobody:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        status = getattr(importlib.import_module(module), function)()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
        status = 1 if isinstance(end.code, str) else end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    return status or 0


def _open(situation: Situation) -> None:
    """Have the standard files as the interpreter would open them."""
    streams = {
        "stdin": os.fdopen(0, encoding="utf-8", closefd=False),
        "stdout": None
        if situation.out == "-"
        else os.fdopen(1, "w", encoding=situation.encoding or "utf-8", closefd=False),
        "stderr": os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False),
    }
    for name, stream in streams.items():
        vars(sys)[name] = vars(sys)[f"__{name}__"] = stream
