"""What is required is what is imported, each in its place: the DMZ's install, the extras, the test kit."""

import configparser
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy import __version__
from tests.source import TESTS, Module, imports, modules, parse

CHECKOUT = Path(__file__).resolve().parents[1]
DMZ, CLIENT, BACKEND, KIT = "the DMZ's install", "the extra client", "the extra backend", "smartproxy-testing"
PLACES = {
    "smartproxy.client": CLIENT,
    "smartproxy.tap.client": CLIENT,
    "smartproxy.backend": BACKEND,
    "smartproxy.tap.backend": BACKEND,
    "smartproxy.tap.commands": BACKEND,
    "smartproxy.testing": KIT,
}
"""Whose requirements a module has beside those of the DMZ's install; all other modules have no others."""
LIBRARIES = {
    "argon2-cffi": "argon2",
    "openapi-spec-validator": "openapi_spec_validator",
    "pyopenssl": "OpenSSL",
    "service-identity": "service_identity",
    "typing-extensions": "typing_extensions",
    "zope-interface": "zope.interface",
}
"""What is imported of a requirement, where that is not its name."""
NAMESPACES = {"zope"}
RUN = {"coverage", "schemathesis"}
"""What is run, not imported."""


def place_of(name: str) -> str:
    """Where a module's requirements have to be declared."""
    for begin, place in PLACES.items():
        if name == begin or name.startswith(begin + "."):
            return place
    return DMZ


def third_parties(module: Module) -> set[str]:
    """The libraries of others that a module imports, inside functions and for types, too."""
    found = set()
    for each in imports(module):
        if each.library in sys.stdlib_module_names or each.library in {"smartproxy", "tests", "_typeshed"}:
            continue
        depth = 2 if each.library in NAMESPACES else 1
        found.add(".".join(each.full.split(".")[:depth]))
    return found


def imported(everything: Mapping[str, Module]) -> dict[str, set[str]]:
    """The libraries that each place's modules import."""
    found: dict[str, set[str]] = {place: set() for place in (DMZ, CLIENT, BACKEND, KIT)}
    for module in everything.values():
        found[place_of(module.name)] |= third_parties(module)
    return found


def settings(path: str) -> configparser.ConfigParser:
    """One of the two files that say what is built."""
    found = configparser.ConfigParser()
    found.read_string((CHECKOUT / path).read_text(encoding="utf-8"))
    return found


def distributions(text: str) -> list[str]:
    """The names in a list of requirements, as pip compares them (PEP 503)."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [re.sub(r"[-_.]+", "-", re.split(r"[ <>=!~;\[]", line.strip())[0]).lower() for line in lines]


def libraries(names: Iterable[str]) -> set[str]:
    """What is imported of some requirements."""
    return {LIBRARIES.get(name, name) for name in names}


def declared() -> dict[str, set[str]]:
    """The libraries that are required in each place."""
    product, kit = settings("setup.cfg"), settings("packaging/testing/setup.cfg")
    return {
        DMZ: libraries(distributions(product["options"]["install_requires"])),
        CLIENT: libraries(distributions(product["options.extras_require"]["client"])),
        BACKEND: libraries(distributions(product["options.extras_require"]["backend"])),
        KIT: libraries(distributions(kit["options"]["install_requires"])) - {"smartproxy"},
    }


def undeclared(used: Mapping[str, set[str]], required: Mapping[str, set[str]]) -> list[str]:
    """Find libraries that are imported and not required there; the kit declares all of its own."""
    wrong = []
    for place, names in used.items():
        there = required[place] | (set() if place == KIT else required[DMZ])
        wrong += [f"{name} is imported and not required by {place}" for name in sorted(names - there)]
    return wrong


def unused(used: Mapping[str, set[str]], required: Mapping[str, set[str]]) -> list[str]:
    """Find libraries that are required and not imported there, or twice required."""
    wrong = []
    for place, names in required.items():
        wrong += [f"{name} is required by {place} and not imported" for name in sorted(names - used[place])]
        if place in {CLIENT, BACKEND}:
            wrong += [f"{name} is required by {place} and everywhere" for name in sorted(names & required[DMZ])]
    return wrong


def _least(wanted: str) -> tuple[int, ...]:
    """The oldest Python that a distribution runs on, of what it says in ``Requires-Python``."""
    found = re.search(r">=\s*(\d+)\.(\d+)(?:\.(\d+))?", wanted)
    return tuple(int(each or 0) for each in found.groups()) if found else ()


class Requirements(SynchronousTestCase):
    """Both distributions of this repository."""

    def test_imported_is_required(self) -> None:
        """Every library that a module imports is required where that module is installed."""
        self.assertEqual([], undeclared(imported(modules()), declared()))

    def test_required_is_imported(self) -> None:
        """Every library that is required is imported by a module of that place."""
        self.assertEqual([], unused(imported(modules()), declared()))

    def test_tests(self) -> None:
        """What the tests import is required by a distribution or an extra for it; that of ``test`` is all used."""
        found = {name for module in modules(TESTS).values() for name in third_parties(module)}
        extras = settings("setup.cfg")["options.extras_require"]
        extra, database = (libraries(distributions(extras[name])) for name in ("test", "postgresql"))
        self.assertEqual(set(), found - extra - database - set().union(*declared().values()))
        self.assertEqual(set(), extra - RUN - found)

    def test_versions_are_pinned(self) -> None:
        """Every requirement, those of the extras too, has the one version that the checks run with."""
        pinned = set(distributions((CHECKOUT / "constraints.txt").read_text(encoding="utf-8")))
        product, kit = settings("setup.cfg"), settings("packaging/testing/setup.cfg")
        lists = [each["options"]["install_requires"] for each in (product, kit)]
        lists += product["options.extras_require"].values()
        named = {name for each in lists for name in distributions(each)} - {"smartproxy"}
        self.assertEqual(set(), named - pinned)

    def test_pinned_versions_run_on_every_python(self) -> None:
        """Each pinned version that is installed here runs on the oldest Python that is promised, not on this alone."""
        oldest = _least(settings("setup.cfg")["options"]["python_requires"])
        asked = {
            f"{each} {importlib.metadata.version(each)}": " ".join(
                importlib.metadata.metadata(each).get_all("Requires-Python", [])
            )
            for each in distributions((CHECKOUT / "constraints.txt").read_text(encoding="utf-8"))
            if list(importlib.metadata.distributions(name=each))
        }
        self.assertGreater(len(asked), 50)
        self.assertEqual((3, 11, 0), oldest)
        self.assertEqual({}, {name: wanted for name, wanted in asked.items() if _least(wanted) > oldest})

    def test_the_kit_goes_with_this_version(self) -> None:
        """The test kit requires exactly the version that it is built with."""
        kit = settings("packaging/testing/setup.cfg")
        asked = kit["options"]["install_requires"].splitlines() + kit["options.extras_require"]["demo"].splitlines()
        versions = [line.partition("==")[2].strip() for line in asked if line.startswith("smartproxy")]
        self.assertEqual([__version__, __version__], versions)


class Finding(SynchronousTestCase):
    """That these tests find something."""

    def test_undeclared(self) -> None:
        """An import inside a function counts; what the extra of the client has is nothing that the server has."""
        module = parse("smartproxy.server.x", "def f():\n    import treq.client\n")
        required = {DMZ: {"attrs"}, CLIENT: {"treq"}, BACKEND: set[str](), KIT: set[str]()}
        used = imported({module.name: module})
        self.assertEqual([f"treq is imported and not required by {DMZ}"], undeclared(used, required))
        self.assertEqual(2, len(unused(used, required)))

    def test_the_kit_declares_its_own(self) -> None:
        """The test kit requires what it imports itself, though the product brings it."""
        module = parse("smartproxy.testing.x", "from zope.interface import implementer\n")
        required = {DMZ: {"zope.interface"}, CLIENT: set[str](), BACKEND: set[str](), KIT: set[str]()}
        self.assertEqual(
            [f"zope.interface is imported and not required by {KIT}"],
            undeclared(imported({module.name: module}), required),
        )
