"""Programs of Debian that tests and benchmarks run: where they are, what packages have them, and how they get here.

``make test`` runs this file before the environment is there, so it needs Python alone: ``install`` installs what is
missing where it may (root, or sudo without a password), ``missing`` says what is missing still. A test asks for its
program with :func:`program` and is skipped where that is missing; ``.ci/run`` takes no skipped test. ``make bench``
runs it with ``install bench`` and ``missing bench``.
"""

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from unittest import SkipTest

PACKAGES = {
    "chromium": "chromium",
    "haproxy": "haproxy",
    "initdb": "postgresql",
    "openssl": "openssl",
    "pg_isready": "postgresql",
    "postgres": "postgresql",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "systemd-analyze": "systemd",
}
"""The package of each program that tests run."""
COMPARED = {
    "gcc": "gcc libc6-dev libssl-dev",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "nginx": "nginx libnginx-mod-stream",
    "stunnel": "stunnel4",
}
"""The packages of each program that ``make bench`` needs."""
SERVICE_MANAGER = "/run/systemd/system"
"""There where packages of services start what they bring: such are not installed for a benchmark."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VERSIONED = "/usr/lib/postgresql/*/bin"
"""Where Debian has the programs of each version of PostgreSQL."""


def found(name: str) -> str | None:
    """The path of a program, looked for in the folders of administrators, too; ``None`` if it is missing."""
    folders = [os.environ.get("PATH", ""), PATH, *sorted(glob.glob(VERSIONED), reverse=True)]
    return shutil.which(name, path=":".join(folders))


def program(name: str) -> str:
    """The path of a program that a test needs.

    :raises unittest.SkipTest: if it is missing; the reason says which package has it.
    """
    path = found(name)
    if path is None:
        raise SkipTest(f"the program {name} is missing: apt install {PACKAGES[name]}")
    return path


def missing(packages: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """The programs that are missing, those of the tests if none are named, by the package that has them."""
    wanted: dict[str, list[str]] = {}
    for name, package in (PACKAGES if packages is None else packages).items():
        if found(name) is None:
            wanted.setdefault(package, []).append(name)
    return wanted


def install() -> None:
    """Install what tests miss, and Debian's module for virtual environments."""
    _install("tests", [*missing(), *([] if find_spec("ensurepip") else ["python3-venv"])])


def install_compared() -> None:
    """Install what the benchmark compares with, unless that would start services."""
    if not os.path.exists(SERVICE_MANAGER):
        _install("the benchmark", [package for packages in missing(COMPARED) for package in packages.split()])


def _install(whose: str, packages: Sequence[str]) -> None:
    """Install packages; says so, and never fails."""
    if not packages or shutil.which("apt-get", path=PATH) is None:
        return
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if become and (shutil.which("sudo") is None or _status(*become, "true")):
        return
    print(f"installing for {whose}: {' '.join(packages)}", flush=True)
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    _status(*apt, "update")
    installing = [*apt, "install", "-y", "--no-install-recommends"]
    # apt installs none of several where it cannot have one of them.
    if _status(*installing, *packages) and len(packages) > 1:
        for package in packages:
            _status(*installing, package)


def _status(*command: str) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode


def main() -> None:
    """Do one of these."""
    match sys.argv[1:]:
        case ["install"]:
            install()
        case ["install", "bench"]:
            install_compared()
        case ["missing", "bench"]:
            for packages, absent in missing(COMPARED).items():
                print(f"The benchmark goes without {', '.join(absent)}: apt install {packages}")
        case ["missing"]:
            if wanted := missing():
                names = ", ".join(name for found in wanted.values() for name in found)
                print(f"Some tests were skipped for want of {names}. To run them: apt install {' '.join(wanted)}")
        case _:
            sys.exit("usage: programs.py install|missing [bench]")


if __name__ == "__main__":
    main()
