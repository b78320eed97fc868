"""What ``make`` and the checks stand on: the environment, programs of Debian, news fragments, tests side by side."""

import re
import subprocess
import sys
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
        """Each row's text stands in its file exactly once, and the tests that it names are there."""
        sources = {each: (CHECKOUT / each.file).read_text(encoding="utf-8") for each in table()}
        self.assertEqual([str(each) for each, source in sources.items() if each.applied(source) is None], [])
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
