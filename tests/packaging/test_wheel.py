"""What is in the wheel."""

import email
import zipfile

from twisted.trial.unittest import TestCase

from tests.packaging.wheel import ROOT, names, wheel


class Wheel(TestCase):
    """The built wheel's files and what it says about itself."""

    timeout = 300

    def metadata(self) -> email.message.Message:
        """What the wheel says about itself."""
        with zipfile.ZipFile(wheel()) as archive:
            (name,) = (name for name in names() if name.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(archive.read(name))

    def test_it_holds_every_module(self) -> None:
        """Every module of the checkout is in the wheel, and no module that is not in the checkout."""
        checkout = {str(path.relative_to(ROOT)) for path in (ROOT / "smartproxy").rglob("*.py")}
        self.assertEqual(
            checkout, {name for name in names() if name.startswith("smartproxy/") and name.endswith(".py")}
        )

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
        """``py.typed`` is there: those who use the test kit get its types."""
        self.assertIn("smartproxy/py.typed", names())

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
        metadata = self.metadata()
        self.assertIn("Apache-2.0", (metadata["License-Expression"], metadata["License"]))

    def test_requirements_of_the_dmz(self) -> None:
        """Without an extra, neither treq nor a web or database library is asked for."""
        required = self.metadata().get_all("Requires-Dist", [])
        plain = sorted(line.split(">")[0].strip().lower() for line in required if "extra ==" not in line)
        self.assertEqual(
            ["attrs", "automat", "cryptography", "pyopenssl", "service_identity", "twisted", "zope.interface"], plain
        )
