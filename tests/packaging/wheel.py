"""The wheel of this checkout and virtual environments with nothing but it, each made once for all tests that ask."""

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
"""The checkout. Tests of the wheel are tests of what is built from it, not of what is installed."""

INPUTS = ("smartproxy", "twisted", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program and give back what it printed; what went wrong is the error's text."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
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
def wheel() -> Path:
    """Build the wheel from a copy of the checkout, so that nothing that earlier builds left behind gets into it."""
    copy = Path(tempfile.mkdtemp(prefix="source-", dir=folder()))
    ignore = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")
    for name in INPUTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignore)
        else:
            shutil.copy(source, copy / name)
    run(sys.executable, "-m", "pip", "-qq", "wheel", "--no-deps", "--wheel-dir", folder() / "wheel", copy, cwd=folder())
    (built,) = (folder() / "wheel").glob("*.whl")
    return built


@functools.cache
def names() -> frozenset[str]:
    """The names of the files in the wheel."""
    with zipfile.ZipFile(wheel()) as archive:
        return frozenset(archive.namelist())


@functools.cache
def environment(extras: str = "") -> Path:
    """Install the wheel, with extras, into a new virtual environment; gives back the folder of its programs.

    pip is this process's own: Debian without python3-venv cannot put one into a new environment.
    """
    place = folder() / f"environment-{extras.replace(',', '-') or 'server'}"
    venv.create(place, symlinks=True, with_pip=False)
    install = ("-m", "pip", "-qq", "--python", place / "bin" / "python", "install")
    requirement = f"{wheel()}[{extras}]" if extras else str(wheel())
    run(sys.executable, *install, "--constraint", ROOT / "constraints.txt", requirement, cwd=folder())
    return place / "bin"


@functools.cache
def elsewhere() -> Path:
    """A folder with nothing in it, to run programs in."""
    place = folder() / "elsewhere"
    place.mkdir()
    return place
