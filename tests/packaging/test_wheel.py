"""What is in the two wheels."""

import email
import re
import zipfile

from twisted.trial.unittest import TestCase

from tests.packaging.wheel import KIT, PRODUCT, ROOT, build, names, wheel
from tests.process.clock import LIMIT_SECONDS


def metadata(distribution: str) -> email.message.Message:
    """What a wheel says about itself."""
    with zipfile.ZipFile(wheel(distribution)) as archive:
        (name,) = (name for name in names(distribution) if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def required(distribution: str) -> list[str]:
    """The names of what a wheel asks for without an extra."""
    lines = metadata(distribution).get_all("Requires-Dist", [])
    return sorted(re.split(r"[ ;<>=!~\[]", line)[0].lower() for line in lines if "extra ==" not in line)


def modules(*, kit: bool) -> set[str]:
    """The modules of the checkout that belong to the test kit, or to the product."""
    checkout = (str(path.relative_to(ROOT)) for path in (ROOT / "smartproxy").rglob("*.py"))
    return {name for name in checkout if name.startswith("smartproxy/testing/") is kit}


class Wheel(TestCase):
    """The product's files and what it says about itself."""

    timeout = LIMIT_SECONDS

    def test_it_holds_every_module(self) -> None:
        """Every module of the checkout but the test kit's is in the wheel, and none that an earlier build left."""
        self.assertEqual(
            modules(kit=False), {name for name in names() if name.startswith("smartproxy/") and name.endswith(".py")}
        )
        self.assertGreater(len(modules(kit=False)), 100)

    def test_built_once(self) -> None:
        """As long as no source changes, make builds nothing again."""
        before = wheel().stat().st_mtime_ns
        build()
        self.assertEqual(before, wheel().stat().st_mtime_ns)

    def test_nothing_that_attacks(self) -> None:
        """No file of the test kit is in it, be it a module or not."""
        self.assertEqual([], [name for name in names() if "testing" in name])

    def test_plugins_without_a_package(self) -> None:
        """The twistd plugins are there, and no ``__init__.py`` that would hide Twisted's own plugins."""
        plugins = {name for name in names() if name.startswith("twisted/")}
        self.assertEqual(
            {
                f"twisted/plugins/smartproxy_{daemon}_plugin.py"
                for daemon in ("server", "client", "backend", "plain_server", "plain_client")
            },
            plugins,
        )

    def test_types_are_told(self) -> None:
        """``py.typed`` is there and the classifier says so: those who use the test kit get its types."""
        self.assertIn("smartproxy/py.typed", names())
        for distribution in (PRODUCT, KIT):
            self.assertIn("Typing :: Typed", metadata(distribution).get_all("Classifier", []))

    def test_migrations_are_there(self) -> None:
        """The migrations of the backend's database are in the wheel."""
        self.assertIn("smartproxy/backend/migrations/env.py", names())
        self.assertTrue([name for name in names() if name.startswith("smartproxy/backend/migrations/versions/v0001")])

    def test_nothing_else(self) -> None:
        """No tests, caches or other top-level folders."""
        tops = {name.split("/")[0] for name in names()}
        self.assertEqual({"smartproxy", "twisted"}, {top for top in tops if not top.endswith(".dist-info")})
        self.assertEqual([], [name for name in names() if "__pycache__" in name or name.endswith("dropin.cache")])

    def test_licence(self) -> None:
        """The licence's text is in the wheel and its name in the metadata."""
        self.assertTrue([name for name in names() if name.endswith("LICENSE")])
        said = metadata(PRODUCT)
        self.assertIn("Apache-2.0", (said["License-Expression"], said["License"]))
        self.assertEqual(said["Author"], "The SmartProxy authors")

    def test_requirements_of_the_dmz(self) -> None:
        """Without an extra, neither treq nor a web or database library is asked for."""
        self.assertEqual(
            [
                *("attrs", "constantly", "cryptography", "pyopenssl", "service_identity"),
                *("twisted", "typing_extensions", "zope.interface"),
            ],
            required(PRODUCT),
        )


class Kit(TestCase):
    """The test kit's wheel, built from the same checkout."""

    timeout = LIMIT_SECONDS

    def test_it_holds_the_kit(self) -> None:
        """Every module of the test kit is in it, nothing else, and no module that an earlier build left."""
        found = {name for name in names(KIT) if ".dist-info/" not in name}
        self.assertEqual(modules(kit=True), found)
        self.assertGreater(len(found), 20)

    def test_licence(self) -> None:
        """The licence's text is in it."""
        self.assertTrue([name for name in names(KIT) if name.endswith("LICENSE")])

    def test_it_goes_with_this_version(self) -> None:
        """Its version is the product's, and it asks for exactly that one."""
        self.assertEqual(metadata(KIT)["Version"], metadata(PRODUCT)["Version"])
        lines = metadata(KIT).get_all("Requires-Dist", [])
        asked = [line.partition(";")[0].strip() for line in lines if line.startswith("smartproxy")]
        version = metadata(PRODUCT)["Version"]
        self.assertEqual([f"smartproxy=={version}", f"smartproxy[backend,client]=={version}"], sorted(asked))
