"""The folder of certificates to try SmartProxy with."""

import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.testing.__main__ import main
from smartproxy.testing.certificates import FolderNotEmpty, write_certificates


class Certificates(SynchronousTestCase):
    """What is written, and where."""

    def setUp(self) -> None:
        """A folder that does not exist."""
        self.folder = Path(self.mktemp()) / "certificates"

    def test_files(self) -> None:
        """Every file that is named is there; each key belongs to its certificate and is its owner's alone."""
        names = [name for name, _ in write_certificates(self.folder)]
        self.assertEqual(sorted(names), sorted(path.name for path in self.folder.iterdir()))
        for key in self.folder.glob("*.key"):
            self.assertEqual(0o600, stat.S_IMODE(key.stat().st_mode))
            certificate = x509.load_pem_x509_certificates(key.with_suffix(".crt").read_bytes())[0]
            loaded = load_pem_private_key(key.read_bytes(), None)
            self.assertEqual(loaded.public_key(), certificate.public_key())

    def test_the_list_revokes_one(self) -> None:
        """The partners' CA vouches for all of its partners and revokes one of them."""
        list(write_certificates(self.folder))
        crl = x509.load_pem_x509_crl((self.folder / "partner-ca.crl").read_bytes())
        ca = x509.load_pem_x509_certificate((self.folder / "partner-ca.crt").read_bytes())
        public_key = ca.public_key()
        self.assertTrue(crl.is_signature_valid(public_key))  # type: ignore[arg-type]  # made by the kit: always EC
        found = {}
        for name in ("partner", "revoked", "expired"):
            leaf = x509.load_pem_x509_certificates((self.folder / f"{name}.crt").read_bytes())[0]
            leaf.verify_directly_issued_by(ca)
            found[name] = crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
        self.assertEqual({"partner": False, "revoked": True, "expired": False}, found)

    def test_nothing_is_overwritten(self) -> None:
        """A folder that holds a file is refused, and the file stays as it is."""
        self.folder.mkdir(parents=True)
        (self.folder / "mine").write_text("mine")
        with self.assertRaises(FolderNotEmpty):
            list(write_certificates(self.folder))
        self.assertEqual(["mine"], [path.name for path in self.folder.iterdir()])

    def test_wrong_use_is_told(self) -> None:
        """A folder that cannot be used ends the command with status 2, in one line that names it."""
        self.folder.parent.mkdir(parents=True)
        self.folder.write_text("a file")
        with self.assertRaises(SystemExit) as ended:
            main(["certificates", str(self.folder)])
        self.assertEqual(2, ended.exception.code)
