"""What ``make`` and the checks stand on: the environment, programs of Debian, news fragments, tests side by side."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests import fragments, programs
from tests.mutants.__main__ import Mutation, failed_by_assertion, table
from tests.side_by_side import by_class

CHECKOUT = Path(__file__).resolve().parents[1]
WITHOUT_ENSUREPIP = f"""#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; esac
exec {sys.executable} "$@"
"""


def apart() -> dict[str, str]:
    """This environment without what a make that runs these tests tells other ones."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


class Environment(SynchronousTestCase):
    """``make environment``."""

    def test_no_way_to_make_it(self) -> None:
        """Where Python has no ``ensurepip`` it says which package to install, ends non-zero, and makes nothing."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        python = folder / "python"
        python.write_text(WITHOUT_ENSUREPIP, encoding="utf-8")
        python.chmod(0o755)
        done = subprocess.run(
            ["make", "-f", CHECKOUT / "Makefile", "environment", f"PYTHON={python}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(2, done.returncode, done.stdout + done.stderr)
        self.assertIn("apt install python3-venv", done.stderr)
        self.assertFalse((folder / ".venv").exists())

    def test_no_address_of_a_registry(self) -> None:
        """Where libraries come from is the machine's settings of pip, and no address stands in what builds."""
        found = []
        for name in ("Makefile", ".ci/run", "setup.cfg", "pyproject.toml", "packaging/testing/setup.cfg", "tox.ini"):
            found += re.findall(r"\w+://[\w.]+", (CHECKOUT / name).read_text(encoding="utf-8"))
        self.assertEqual({"https://smartproxy.example"}, set(found))
        self.assertNotIn("://", (CHECKOUT / "constraints.txt").read_text(encoding="utf-8"))


class Programs(SynchronousTestCase):
    """Programs that tests run."""

    def test_missing(self) -> None:
        """A test whose program is missing is skipped; the reason says which program and package."""
        self.patch(programs, "PACKAGES", {"no-such-program": "its-package"})
        with self.assertRaises(SkipTest) as skipped:
            programs.program("no-such-program")
        self.assertIn("no-such-program is missing: apt install its-package", str(skipped.exception))
        self.assertEqual({"its-package": ["no-such-program"]}, programs.missing())

    def test_there(self) -> None:
        """A program that is there is given by its path."""
        self.patch(programs, "PACKAGES", {"sh": "dash"})
        self.assertTrue(Path(programs.program("sh")).is_absolute())
        self.assertEqual({}, programs.missing())

    def does(self, *words: str) -> str:
        """What is printed when the file runs with these words."""
        printed = io.StringIO()
        self.patch(sys, "stdout", printed)
        self.patch(sys, "argv", ["programs.py", *words])
        programs.main()
        return printed.getvalue()

    def test_what_is_said(self) -> None:
        """``missing`` says which tests were skipped for want of what, and how to get it; nothing where all is there."""
        self.patch(programs, "PACKAGES", {"sh": "dash", "no-such-program": "its-package", "no-other": "other"})
        self.assertEqual(
            "Some tests were skipped for want of no-such-program, no-other. To run them: apt install its-package other",
            self.does("missing").strip(),
        )
        self.patch(programs, "PACKAGES", {"sh": "dash"})
        self.assertEqual("", self.does("missing"))


class Installing(SynchronousTestCase):
    """``programs.py install``, by programs that take notes."""

    def installed(
        self,
        user: int,
        sudo: int | None = None,
        *,
        apt: bool = True,
        packages: Mapping[str, str] | None = None,
        absent: str = "nothing",
    ) -> list[str]:
        """The commands that a user has run.

        :param sudo: the status of ``sudo -n true``; ``None`` if there is no sudo.
        :param apt: whether there is apt-get.
        :param packages: of each program that is missing.
        :param absent: a package that no source has.
        """
        ran: list[str] = []
        there = {"apt-get": apt, "sudo": sudo is not None}

        def status(*command: str) -> int:
            ran.append(" ".join(command))
            return 100 if absent in command else sudo or 0

        self.patch(programs, "PACKAGES", packages or {"no-such-program": "its-package"})
        self.patch(programs, "find_spec", lambda name: name)
        self.patch(programs, "_status", status)
        self.patch(os, "geteuid", lambda: user)
        self.patch(shutil, "which", lambda name, path=None: name if there.get(name) else None)
        self.patch(sys, "stdout", io.StringIO())
        self.patch(sys, "argv", ["programs.py", "install"])
        programs.main()
        return ran

    def test_root(self) -> None:
        """Root installs what is missing, asks nobody, and takes nothing along that is only recommended."""
        self.assertEqual(
            [
                "env DEBIAN_FRONTEND=noninteractive apt-get -qq update",
                "env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends its-package",
            ],
            self.installed(0),
        )

    def test_sudo(self) -> None:
        """Others do so with sudo, if that asks for no password."""
        ran = self.installed(1000, 0)
        self.assertEqual(("sudo -n true", 3), (ran[0], len(ran)))
        self.assertEqual([], [each for each in ran if not each.startswith("sudo -n ")])

    def test_password(self) -> None:
        """Where sudo would ask for a password, or is not there, nothing is installed, and nobody is asked."""
        self.assertEqual(["sudo -n true"], self.installed(1000, 1))
        self.assertEqual([], self.installed(1000))

    def test_package_that_is_nowhere(self) -> None:
        """A package that apt cannot have, as Chromium's in Ubuntu, keeps no other from being installed."""
        packages = {"no-such-browser": "a-browser", "no-such-shell": "a-shell", "no-such-proxy": "a-proxy"}
        installing = "env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends"
        ran = self.installed(0, packages=packages, absent="a-browser")[1:]
        together = f"{installing} a-browser a-shell a-proxy"
        alone = [f"{installing} {each}" for each in ("a-browser", "a-shell", "a-proxy")]
        self.assertEqual([together, *alone], ran)
        self.assertEqual([together], self.installed(0, packages=packages)[1:])

    def test_other_systems(self) -> None:
        """Where there is no apt-get, nothing is done."""
        self.assertEqual([], self.installed(0, apt=False))


class Everything(SynchronousTestCase):
    """``make test``, whose parts are played."""

    def made(self, fails: str = "") -> tuple[int, list[str]]:
        """The status, and what was run.

        :param fails: the part that fails.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name in ("make", "python"):
            played = folder / name
            played.write_text(
                f'#!/bin/sh\necho "{name} $*" >> {folder}/ran\n'
                f'case " $* " in *" {fails or "nothing"} "*) exit 2 ;; esac\n',
                encoding="utf-8",
            )
            played.chmod(0o755)
        done = subprocess.run(
            ["make", "-f", CHECKOUT / "Makefile", "test", f"MAKE={folder}/make", f"PYTHON={folder}/python"],
            cwd=folder,
            env=apart(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, (folder / "ran").read_text("utf-8").splitlines()

    def test_every_part_runs(self) -> None:
        """Each part runs, also after another one has failed; then what tests missed is said, and the status tells."""
        status, ran = self.made()
        self.assertEqual(0, status)
        self.assertEqual(["python tests/programs.py install", "python tests/programs.py missing"], [ran[0], ran[-1]])
        parts = {word for line in ran if line.startswith("make ") for word in line.split() if not word.startswith("-")}
        self.assertEqual({"make", "fast-tests", "slow-tests", "types", "lint", "fragments"}, parts)
        for line in ran:
            if "lint" in line:
                self.assertIn(" --keep-going ", line)
        for part in sorted(parts - {"make"}):
            status, again = self.made(part)
            self.assertNotEqual(0, status, part)
            self.assertEqual(ran, again, part)


class OnANewMachine(SynchronousTestCase):
    """``.ci/run``, with a ``make test`` that is played."""

    def ran(self, *told: str, status: int = 0) -> tuple[int, str]:
        """Its status and its last line.

        :param told: what ``make test`` prints.
        :param status: of ``make test``.
        """
        folder = Path(self.mktemp()).absolute()
        (folder / ".ci").mkdir(parents=True)
        shutil.copy(CHECKOUT / ".ci/run", folder / ".ci/run")
        lines = [*(f'@echo "{each}"' for each in told), f"@exit {status}"]
        (folder / "Makefile").write_text("test:\n" + "".join(f"\t{each}\n" for each in lines), encoding="utf-8")
        # Nothing is installed for a test, whatever this machine lacks.
        apt = folder / "apt-get"
        apt.write_text("#!/bin/sh\n", encoding="utf-8")
        apt.chmod(0o755)
        environment = {**apart(), "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(
            [folder / ".ci/run"], env=environment, capture_output=True, text=True, check=False, cwd=folder
        )
        return done.returncode, done.stdout.splitlines()[-1]

    def test_skipped(self) -> None:
        """A skipped test fails it: on such a machine all of them run."""
        self.assertEqual((1, "2 passed, 0 failed, 1 skipped"), self.ran("PASSED (skips=1, successes=2)"))

    def test_counted(self) -> None:
        """The last line counts what all runs told; the status is that of everything."""
        passed = "PASSED (successes=2)", "PASSED (expectedFailures=1, successes=3)"
        self.assertEqual((0, "6 passed, 0 failed, 0 skipped"), self.ran(*passed))
        failed = "FAILED (failures=1, errors=1, successes=97)"
        self.assertEqual((1, "99 passed, 2 failed, 0 skipped"), self.ran(passed[0], failed, status=1))
        self.assertEqual((1, "2 passed, 0 failed, 0 skipped"), self.ran(passed[0], status=1))


class Fragments(SynchronousTestCase):
    """The names and texts of news fragments."""

    kinds = ("feature", "bugfix", "doc", "removal", "misc")

    def test_types(self) -> None:
        """The types are those of Twisted's own projects."""
        self.assertEqual(set(self.kinds), set(fragments.types()))

    def test_good(self) -> None:
        """An issue's number or a word, and a type; several of one issue are numbered."""
        for name in ("9.bugfix.md", "9.bugfix.1.md", "+faster-tests.misc.md"):
            self.assertEqual([], list(fragments.faults(name, "It works.\n", self.kinds)), name)

    def test_bad(self) -> None:
        """A type that there is not, another ending, a name without a number, and an empty text are told."""
        for name in ("9.fix.md", "9.bugfix", "9.bugfix.rst", "bugfix.md", "tests.bugfix.md"):
            self.assertEqual(1, len(list(fragments.faults(name, "It works.\n", self.kinds))), name)
        for text in ("", "\n", "no full stop", "x" * 2000 + "."):
            self.assertEqual(1, len(list(fragments.faults("9.bugfix.md", text, self.kinds))), text[:10])

    def test_ours(self) -> None:
        """Every fragment of this checkout is well named."""
        for path in fragments.FOLDER.glob("*.*.*"):
            text = path.read_text(encoding="utf-8")
            self.assertEqual([], list(fragments.faults(path.name, text, fragments.types())), path.name)


class SideBySide(SynchronousTestCase):
    """Tests dealt out to processes."""

    def test_by_class(self) -> None:
        """The tests of a class stay together in their order; what is named first comes first, and once."""
        first, second = Programs("test_there"), Programs("test_missing")
        other = Fragments("test_types")
        dealt = list(by_class([other, first, Fragments("test_types"), second, Programs("test_there")]))
        self.assertEqual([[other], [first, second]], dealt)


REPORT = """
===============================================================================
[FAIL]
Traceback (most recent call last):
twisted.trial.unittest.FailTest: 1 != 2

tests.unit.test_x.Some.test_one
tests.unit.test_x.Some.test_two
===============================================================================
[ERROR]
Traceback (most recent call last):
builtins.AssertionError: no

tests.unit.test_y.Other.test_three
===============================================================================
[ERROR]
Traceback (most recent call last):
builtins.ModuleNotFoundError: No module named 'smartproxy.x'

tests.unit.test_z
-------------------------------------------------------------------------------
"""


class Mutants(SynchronousTestCase):
    """``make mutants``."""

    def caught(self, *catchers: str) -> bool:
        """Whether a mutation with these catchers is caught in the run that was reported."""
        mutation = Mutation("T0", "x.py", "a", "b", catchers)
        return mutation.caught(failed_by_assertion(REPORT))

    def test_what_is_caught(self) -> None:
        """Each named test, or a test of each named module, fails by an assertion; one that cannot be run does not."""
        self.assertTrue(self.caught("tests.unit.test_x.Some.test_one", "tests.unit.test_y"))
        self.assertFalse(self.caught("tests.unit.test_x", "tests.unit.test_z"))
        self.assertFalse(self.caught("tests.unit.test_x.Some.test_one_more"))
        self.assertFalse(self.caught("tests.unit.test_x.Some.test_on"))

    def test_several_places(self) -> None:
        """A mutation breaks all of its places, or is none if one of them is not there exactly once."""
        mutation = Mutation("T0", "x.py", "a = 1 && b = 2", "a = 3 && ", ())
        self.assertEqual(mutation.applied("a = 1; b = 2"), "a = 3; ")
        self.assertIsNone(mutation.applied("a = 1"))
        self.assertIsNone(mutation.applied("a = 1; b = 2; a = 1"))

    def test_table(self) -> None:
        """Each row's text stands in its file exactly once, Python can read the file then, and the tests are there."""
        sources = {each: (CHECKOUT / each.file).read_text(encoding="utf-8") for each in table()}
        self.assertEqual([str(each) for each, source in sources.items() if each.applied(source) is None], [])
        for mutation, source in sources.items():
            if mutation.file.endswith(".py"):
                ast.parse(mutation.applied(source) or "", mutation.file)
        for mutation in sources:
            for catcher in mutation.catchers:
                module, _, name = catcher.partition(".test_")[2].partition(".")
                path = CHECKOUT / f"{catcher.partition('.test_')[0].replace('.', '/')}/test_{module}.py"
                text = path.read_text(encoding="utf-8")
                for word in name.split("."):
                    self.assertRegex(text, rf"\b{word}\b", catcher)

    def test_every_threat(self) -> None:
        """Each threat has a protection that is broken on purpose, and no row is of a threat that there is not."""
        self.assertEqual({f"T{number}" for number in range(1, 37)}, {each.threat for each in table()})
