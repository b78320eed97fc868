"""The licence file: what is wrong with it is said exactly, and it is never half written."""

import os
import secrets
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.files import replace
from smartproxy.policy.causes import Cause
from smartproxy.policy.licence import LicenceRefused
from smartproxy.policy.limits import LICENCE_OCTETS_MOST
from smartproxy.tunnel.licence import load
from tests.unit.test_licence import NOW, PROXY_ID, SITE


class LicenceFiles(SynchronousTestCase):
    """Reading and replacing."""

    def setUp(self) -> None:
        """A place for the file."""
        self.path = Path(self.mktemp())

    def cause(self) -> Cause:
        """Why the file is refused."""
        refused: LicenceRefused = self.assertRaises(LicenceRefused, load, self.path, PROXY_ID, NOW)
        return refused.cause

    def test_good_file(self) -> None:
        """A licence that was written is the licence that is read."""
        replace(self.path, SITE.text().encode())
        self.assertEqual(load(self.path, PROXY_ID, NOW), SITE.licence())

    def test_each_fault_has_its_cause(self) -> None:
        """Missing, unreadable, too large and not text are told apart from each other."""
        self.assertIs(self.cause(), Cause.LICENCE_MISSING)
        self.path.mkdir()
        self.assertIs(self.cause(), Cause.LICENCE_UNREADABLE)
        self.path.rmdir()
        self.path.write_bytes(b" " * LICENCE_OCTETS_MOST + SITE.text().encode())
        self.assertIs(self.cause(), Cause.LICENCE_DAMAGED)
        self.path.write_bytes(b"\xff\xfe")
        self.assertIs(self.cause(), Cause.LICENCE_DAMAGED)

    def test_failed_write_leaves_the_old_one(self) -> None:
        """When the folder takes no new file the old licence stays as it is, and no draft is left."""
        replace(self.path, b"old")
        self.assertRaises(OSError, replace, self.path / "inside", b"new")
        self.assertEqual(self.path.read_text(), "old")
        self.assertEqual(list(self.path.parent.glob(f".{self.path.name}*")), [])

    def test_link_in_the_way(self) -> None:
        """A link with the name of the draft is not written through, whatever name an attacker can foresee or guess."""
        victim = self.path.with_name("victim")
        victim.write_text("precious")
        self.path.with_name(f".{self.path.name}.{os.getpid()}").symlink_to("victim")
        replace(self.path, b"new")
        self.assertEqual((self.path.read_text(), victim.read_text()), ("new", "precious"))
        self.patch(secrets, "token_hex", lambda octets: "guessed")
        self.path.with_name(f".{self.path.name}.guessed").symlink_to("victim")
        self.assertRaises(FileExistsError, replace, self.path, b"newer")
        self.assertEqual((self.path.read_text(), victim.read_text()), ("new", "precious"))

    def test_link_in_the_place_of_the_licence(self) -> None:
        """A link that stands where the licence belongs is replaced; what it points to stays as it is."""
        victim = self.path.with_name("victim")
        victim.write_text("precious")
        self.path.symlink_to("victim")
        replace(self.path, b"new")
        self.assertFalse(self.path.is_symlink())
        self.assertEqual((self.path.read_text(), victim.read_text()), ("new", "precious"))
