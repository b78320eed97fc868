"""The credential file of a client that has no backend."""

import json

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.credential import FILE_OCTETS_MOST, PlainCredential, dump, read
from smartproxy.testing.pki import TestCa

PROXY_ID = "0123456789abcdef" * 4 + "px"
_ISSUED = TestCa.root("authority").issue("inside-1")
GOOD = PlainCredential(
    name="inside-1",
    certificate=_ISSUED.chain_pem.decode(),
    key=_ISSUED.key_pem.decode(),
    proxy_ids=(PROXY_ID,),
)


class CredentialTests(SynchronousTestCase):
    """What is in the file, and what is not taken for one."""

    def test_there_and_back(self) -> None:
        """What was written is read."""
        self.assertEqual(read(dump(GOOD)), GOOD)
        self.assertEqual(read("\ufeff" + dump(GOOD)), GOOD)

    def test_file(self) -> None:
        """It is one JSON object that tells what it is."""
        document = json.loads(dump(GOOD))
        self.assertEqual(set(document), {"credential"})
        self.assertEqual(set(document["credential"]), {"format", "name", "certificate", "key", "proxy_ids"})

    def test_key_is_not_shown(self) -> None:
        """The key does not stand in a representation."""
        self.assertNotIn("PRIVATE", repr(GOOD))

    def changed(self, **others: object) -> str:
        """The file with something else in it."""
        document = json.loads(dump(GOOD))
        document["credential"] |= others
        return json.dumps(document)

    def test_refused(self) -> None:
        """Whatever is not a credential is refused with its place, and its key is never quoted."""
        for place, text in (
            ("", "PRIVATE KEY"),
            ("", "{}"),
            ("", "x" * (FILE_OCTETS_MOST + 1)),
            ("format", self.changed(format=2)),
            ("proxy_ids", self.changed(proxy_ids=[])),
            ("proxy_ids[0]", self.changed(proxy_ids=["0123"])),
            ("key", self.changed(key=GOOD.certificate)),
            ("certificate", self.changed(certificate="none")),
            ("name", self.changed(name="")),
            ("more", self.changed(more=1)),
        ):
            error = self.assertRaises(ValueError, read, text)
            self.assertTrue(str(error).startswith("not a client's credential: "), error)
            self.assertIn(place, str(error))
            self.assertNotIn(GOOD.key[40:80], str(error))

    def test_without_a_key(self) -> None:
        """A file that lacks something is refused."""
        document = json.loads(dump(GOOD))
        del document["credential"]["key"]
        self.assertIn("key", str(self.assertRaises(ValueError, read, json.dumps(document))))

    def test_several_servers(self) -> None:
        """Several Proxy IDs are kept in their order."""
        other = "f" * 64 + "px"
        self.assertEqual(read(dump(attrs.evolve(GOOD, proxy_ids=(other, PROXY_ID)))).proxy_ids, (other, PROXY_ID))
