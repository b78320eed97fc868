"""Programs of Debian that tests run: where they are, what package has them, and how they come onto this machine.

``make test`` runs this file before the environment is there, so it needs Python alone: ``install`` installs what is
missing where it may (root, or sudo without a password), ``missing`` says what is missing still. A test asks for its
program with :func:`program` and is skipped where that is missing; ``.ci/run`` takes no skipped test.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from unittest import SkipTest

PACKAGES = {
    "openssl": "openssl",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "systemd-analyze": "systemd",
}
"""The package of each program."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def found(name: str) -> str | None:
    """The path of a program, looked for in the folders of administrators, too; ``None`` if it is missing."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PATH}")


def program(name: str) -> str:
    """The path of a program that a test needs.

    :raises unittest.SkipTest: if it is missing; the reason says which package has it.
    """
    path = found(name)
    if path is None:
        raise SkipTest(f"the program {name} is missing: apt install {PACKAGES[name]}")
    return path


def missing() -> dict[str, list[str]]:
    """The programs that are missing, by the package that has them."""
    wanted: dict[str, list[str]] = {}
    for name, package in PACKAGES.items():
        if found(name) is None:
            wanted.setdefault(package, []).append(name)
    return wanted


def install() -> None:
    """Install what is missing, and Debian's module for virtual environments; says so, and never fails."""
    packages = [*missing(), *([] if find_spec("ensurepip") else ["python3-venv"])]
    if not packages or shutil.which("apt-get", path=PATH) is None:
        return
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if become and (shutil.which("sudo") is None or _status(*become, "true")):
        return
    print(f"installing what tests need: {' '.join(packages)}", flush=True)
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    _status(*apt, "update")
    _status(*apt, "install", "-y", "--no-install-recommends", *packages)


def _status(*command: str) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode


def main() -> None:
    """Do one of the two."""
    if sys.argv[1:] == ["install"]:
        install()
    elif wanted := missing():
        names = ", ".join(name for names in wanted.values() for name in names)
        print(f"Some tests were skipped for want of {names}. To run them: apt install {' '.join(wanted)}")


if __name__ == "__main__":
    main()
