"""The server's identity in its file."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.licence import is_proxy_id
from smartproxy.tunnel.identity import IdentityUnusable, load_or_make
from tests.unit.odd_files import block


class IdentityTests(SynchronousTestCase):
    """First start, later starts, and files that will not do."""

    def setUp(self) -> None:
        """A folder of our own."""
        self.path = Path(self.mktemp()) / "state" / "identity.key"

    def put(self, octets: bytes, mode: int = 0o600) -> None:
        """Put something where the key belongs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(octets)
        self.path.chmod(mode)

    def refused(self) -> IdentityUnusable:
        """Why there is no identity; path, cause and advice stand in the text."""
        refusal = self.assertRaises(IdentityUnusable, load_or_make, self.path)
        assert isinstance(refusal, IdentityUnusable)
        self.assertIn(str(self.path), str(refusal))
        self.assertIn(refusal.advice, str(refusal))
        return refusal

    def test_first_start_makes_a_key(self) -> None:
        """A missing file is made with its folder: P-256, for the owner only, and nothing else is left there."""
        identity = load_or_make(self.path)
        self.assertTrue(identity.made)
        self.assertIsInstance(identity.key.curve, ec.SECP256R1)
        self.assertEqual(self.path.stat().st_mode & 0o7777, 0o600)
        self.assertEqual(self.path.parent.stat().st_mode & 0o7777, 0o700)
        self.assertEqual(os.listdir(self.path.parent), [self.path.name])

    def test_whatever_the_umask(self) -> None:
        """A generous umask opens nothing."""
        before = os.umask(0)
        try:
            load_or_make(self.path)
        finally:
            os.umask(before)
        self.assertEqual(self.path.stat().st_mode & 0o7777, 0o600)

    def test_later_starts_keep_it(self) -> None:
        """The identity is the same at each start."""
        first, second = load_or_make(self.path), load_or_make(self.path)
        self.assertEqual(first.proxy_id, second.proxy_id)
        self.assertFalse(second.made)

    def test_proxy_id(self) -> None:
        """The Proxy ID is the SHA-256 of the public key in hex and ``px``: 66 characters."""
        identity = load_or_make(self.path)
        public = identity.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(identity.proxy_id, hashlib.sha256(public).hexdigest() + "px")
        self.assertEqual(len(identity.proxy_id), 66)
        self.assertTrue(is_proxy_id(identity.proxy_id))

    def test_certificate(self) -> None:
        """The certificate is the key's own, signed by itself, and is never written."""
        identity = load_or_make(self.path)
        identity.certificate.verify_directly_issued_by(identity.certificate)
        self.assertEqual(identity.certificate.public_key(), identity.key.public_key())
        self.assertNotIn(b"CERTIFICATE", self.path.read_bytes())

    def test_key_is_not_shown(self) -> None:
        """Printing an identity shows its Proxy ID and no key."""
        self.assertNotIn("key=", repr(load_or_make(self.path)))

    def test_others_may_read(self) -> None:
        """A key that others can read is refused: the mode is told, and what to do."""
        load_or_make(self.path)
        for mode in (0o640, 0o604, 0o660, 0o620):
            self.path.chmod(mode)
            refusal = self.refused()
            self.assertIn(f"{mode:04o}", refusal.cause)
            self.assertIn("chmod 600", refusal.advice)

    def test_no_key(self) -> None:
        """Octets that are no key are refused and stay as they are."""
        good = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        unknown_curve = good.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f"))
        for octets in (
            b"",
            b"nonsense",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            block("PRIVATE KEY", unknown_curve),
        ):
            self.put(octets)
            self.refused()
            self.assertEqual(self.path.read_bytes(), octets)

    def test_other_kinds_of_keys(self) -> None:
        """Another curve, another algorithm, and a key with a password are refused."""
        plain, locked = NoEncryption(), BestAvailableEncryption(b"password")
        for key, encryption in (
            (ec.generate_private_key(ec.SECP384R1()), plain),
            (rsa.generate_private_key(65537, 2048), plain),
            (ec.generate_private_key(ec.SECP256R1()), locked),
        ):
            self.put(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
            self.refused()

    def test_link(self) -> None:
        """A link in the key's place is not followed."""
        self.put(b"")
        self.path.unlink()
        other = self.path.with_name("other")
        load_or_make(other)
        self.path.symlink_to(other)
        self.refused()

    def test_folder_and_pipe(self) -> None:
        """Neither a folder nor a pipe is a key, and the pipe does not hold up the start."""
        self.path.mkdir(parents=True)
        self.refused()
        self.path.rmdir()
        os.mkfifo(self.path, 0o600)
        self.refused()

    def test_folder_that_cannot_be_written(self) -> None:
        """A folder that is a file is told of in one sentence."""
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.write_bytes(b"")
        self.assertIn("--state-dir", self.refused().advice)

    def test_two_first_starts_at_once(self) -> None:
        """Processes that start at the same time end up with one identity, and one of them made it."""
        with ThreadPoolExecutor(8) as threads:
            identities = list(threads.map(lambda _: load_or_make(self.path), range(8)))
        self.assertEqual(len({identity.proxy_id for identity in identities}), 1)
        self.assertEqual([identity.made for identity in identities].count(True), 1)
        self.assertEqual(os.listdir(self.path.parent), [self.path.name])
