"""The wheels of this checkout and virtual environments with nothing but them, each made once for all tests that ask."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout. Tests of the wheels are tests of what is built from it, not of what is installed."""

INPUTS = ("smartproxy", "twisted", "packaging", "Makefile", "setup.cfg", "pyproject.toml", "constraints.txt")
TEXTS = ("MANIFEST.in", "README.md", "LICENSE")
PRODUCT, KIT = "smartproxy", "smartproxy_testing"
"""The two distributions, as the files' names begin."""

GHOST = "ghost"
"""What an earlier build left behind is called so: a module that is deleted since, and a module of the test kit."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program and give back what it printed; what went wrong is the error's text."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MAKE"))}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@functools.cache
def folder() -> Path:
    """A folder for all of this, gone when the process ends."""
    holder = tempfile.TemporaryDirectory(prefix="smartproxy-packaging-")
    _HELD.append(holder)
    return Path(holder.name)


_HELD: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def wheels() -> Path:
    """Build both wheels with ``make`` in a copy of the checkout in which earlier builds left something behind.

    :returns: the folder with the wheels.
    """
    copy = Path(tempfile.mkdtemp(prefix="source-", dir=folder()))
    ignore = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info", "build")
    for name in (*INPUTS, *TEXTS):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignore)
        else:
            shutil.copy(source, copy / name)
    _haunt(copy)
    _make_wheels(copy)
    return copy / "build" / "wheel"


def build() -> None:
    """Ask ``make`` for the wheels once more."""
    _make_wheels(wheels().parents[1])


def _make_wheels(copy: Path) -> None:
    run("make", "--old-file=.venv/tools", f"BIN={Path(sys.executable).parent}", "wheels", cwd=copy)


def _haunt(copy: Path) -> None:
    """Leave behind what setuptools leaves: its copies of modules, and its list of files."""
    for place in (copy, copy / "packaging" / "testing"):
        left = place / "build" / "lib" / "smartproxy" / "testing" / f"{GHOST}.py"
        left.parent.mkdir(parents=True)
        left.touch()
    old = copy / "build" / "wheel" / "smartproxy-0.0.1-py3-none-any.whl"
    old.parent.mkdir()
    old.touch()
    listed = copy / "smartproxy.egg-info" / "SOURCES.txt"
    listed.parent.mkdir()
    listed.write_text("smartproxy/testing/__init__.py\nsmartproxy/testing/hostile.py\n", encoding="utf-8")


@functools.cache
def wheel(distribution: str = PRODUCT) -> Path:
    """The wheel of one distribution."""
    (built,) = wheels().glob(f"{distribution}-*.whl")
    return built


@functools.cache
def names(distribution: str = PRODUCT) -> frozenset[str]:
    """The names of the files in a wheel."""
    with zipfile.ZipFile(wheel(distribution)) as archive:
        return frozenset(archive.namelist())


@functools.cache
def environment(extras: str = "", *, kit: bool = False) -> Path:
    """Install the wheel, with extras, into a new virtual environment; gives back the folder of its programs.

    pip is this process's own: Debian without python3-venv cannot put one into a new environment.

    :param kit: install the test kit beside it.
    """
    place = folder() / f"environment-{extras.replace(',', '-') or 'server'}{'-kit' if kit else ''}"
    venv.create(place, symlinks=True, with_pip=False)
    install = ("-m", "pip", "-qq", "--python", place / "bin" / "python", "install")
    requirements = [f"{wheel()}[{extras}]" if extras else str(wheel()), *([str(wheel(KIT))] if kit else [])]
    run(sys.executable, *install, "--constraint", ROOT / "constraints.txt", *requirements, cwd=folder())
    return place / "bin"


@functools.cache
def elsewhere() -> Path:
    """A folder with nothing in it, to run programs in."""
    place = folder() / "elsewhere"
    place.mkdir()
    return place
