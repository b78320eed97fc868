"""Sets up what `make` works with: .venv, the libraries of constraints.txt, and the built wheel of this checkout in it.

Needs Python 3.11 or newer and nothing else: where Debian's python3-venv is missing, pip comes from PyPI and is checked
against the digest below. Does again only what a change makes necessary: libraries when setup.cfg or constraints.txt
changed, the wheel when a file that goes into it did. Run by the Makefile, from the checkout's folder.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
WHEELS = Path("build/wheel")
TESTS = Path("build/checks/tests")
EXTRAS = "client,backend,test,lint,docs"

REQUIREMENTS = ["setup.cfg", "pyproject.toml", "constraints.txt"]
SOURCES = ["smartproxy", "twisted", "MANIFEST.in", "README.md", "LICENSE", *REQUIREMENTS]
NOT_SOURCES = {"__pycache__", "dropin.cache"}

PIP = (
    "https://files.pythonhosted.org/packages/07/25/ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/"
    "pip-26.3-py3-none-any.whl"
)
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def say(words: str) -> None:
    """Tell the operator what takes time."""
    print(f"environment: {words}", flush=True)


def run(*command: str | Path) -> None:
    """Run a program and end with its status if it fails."""
    status = subprocess.run([str(word) for word in command], check=False).returncode
    if status:
        sys.exit(status)


def pip(*arguments: str | Path) -> None:
    """Run the environment's pip."""
    run(PYTHON, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments)


def digest(names: list[str]) -> str:
    """Sum up names and contents of files, and of all files below folders."""
    total = hashlib.sha256(sys.version.encode())
    for name in names:
        path = Path(name)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not NOT_SOURCES.intersection(file.parts):
                total.update(f"{file}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return total.hexdigest()


def make_venv() -> None:
    """Make the virtual environment, unless there is one whose Python runs."""
    if PYTHON.exists() and subprocess.run([str(PYTHON), "-c", ""], check=False).returncode == 0:
        return
    say(f"making {VENV} with Python {sys.version.split()[0]}")
    with_pip = importlib.util.find_spec("ensurepip") is not None
    venv.create(VENV, clear=True, symlinks=True, with_pip=with_pip)
    if not with_pip:
        fetch_pip()


def fetch_pip() -> None:
    """Put pip into the virtual environment without ensurepip, which Debian keeps in python3-venv."""
    say(f"python3-venv is not installed; fetching {PIP.rpartition('/')[2]} from PyPI")
    with urllib.request.urlopen(PIP, timeout=60) as answer:
        wheel = answer.read()
    if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
        shutil.rmtree(VENV)
        sys.exit(f"environment: {PIP} is not what it should be (SHA-256); nothing was installed")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / PIP.rpartition("/")[2]
        file.write_bytes(wheel)
        run(PYTHON, file / "pip", "--quiet", "install", "--no-index", file)


def install() -> None:
    """Build the wheel and install it, with its libraries if what it requires changed."""
    requirements = VENV / "requirements.sha256"
    sources = VENV / "sources.sha256"
    wanted, built = digest(REQUIREMENTS), digest(SOURCES)
    same_requirements = requirements.exists() and requirements.read_text() == wanted
    if same_requirements and sources.exists() and sources.read_text() == built:
        return
    sources.unlink(missing_ok=True)
    if not same_requirements:
        say("installing the build tools")
        pip("install", "--constraint", "constraints.txt", "setuptools")
    say("building the wheel")
    # setuptools puts what an earlier build left there, deleted modules included, into the wheel.
    for leftover in (WHEELS, Path("build/lib"), *Path("build").glob("bdist.*")):
        shutil.rmtree(leftover, ignore_errors=True)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", WHEELS, ".")
    (wheel,) = WHEELS.glob("smartproxy-*.whl")
    if not same_requirements:
        say("installing the libraries; the first time this takes a minute")
        pip("install", "--constraint", "constraints.txt", f"{wheel}[{EXTRAS}]")
    pip("install", "--no-deps", "--force-reinstall", wheel)
    run(PYTHON, "-P", "-c", "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))")
    requirements.write_text(wanted)
    sources.write_text(built)


def link_tests() -> None:
    """Give the tests a folder of their own to be run in, so that they import the installed wheel, not the checkout."""
    TESTS.parent.mkdir(parents=True, exist_ok=True)
    if not TESTS.is_symlink():
        TESTS.symlink_to(Path("../../tests"))
    program = "import smartproxy; print(smartproxy.__file__)"
    where = subprocess.run(
        [str(PYTHON.absolute()), "-c", program], cwd=TESTS.parent, capture_output=True, text=True, check=True
    ).stdout.strip()
    if "site-packages" not in where:
        sys.exit(f"environment: tests would run against {where}, not against the installed wheel")
    say(f"ready: {where.removesuffix('/__init__.py')}")


if __name__ == "__main__":
    make_venv()
    install()
    link_tests()
