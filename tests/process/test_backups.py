"""A backup that is made while a backend runs, and the backend that is started on what was restored from it."""

import shutil

from tests.process.backends import BackendsCase


class Backups(BackendsCase):
    """A site on either database."""

    def test_there_and_back(self) -> None:
        """The restored site, in an SQLite file of another folder, serves the same client the same configuration."""
        backend = self.backend()
        event = {"name": "tunnel.down", "time": "2026-11-20T12:00:00Z", "source": "client", "sequence": 1, "cause": "x"}
        self.assertEqual(self.call(backend.port, "/events", {"events": [event]})[0], 200)
        found = self.call(backend.port, "/configuration")
        self.command("backup", str(self.folder / "site.backup"))
        backend.end()
        other = self.folder / "other"
        other.mkdir(mode=0o700)
        shutil.copy(self.state / "store.key", other / "store.key")
        self.environment["SMARTPROXY_DATABASE"] = f"sqlite:///{other}/smartproxy.db"
        self.command("restore", str(self.folder / "site.backup"), state=other)
        again = self.backend(other)
        self.assertEqual(self.call(again.port, "/configuration"), found)
        (told,) = self.command("events", "--name", "tunnel.down", "--json", state=other)
        self.assertEqual((told["client"], told["sequence"]), ("inner", 1))
        self.assertEqual(self.call(again.port, "/events", {"events": [event]})[0], 200)
        self.assertEqual(len(self.command("events", "--name", "tunnel.down", "--json", state=other)), 1)
