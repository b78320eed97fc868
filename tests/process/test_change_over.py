"""A planned change-over with a real backend: its clients get the other certificate at the date, by themselves."""

import json
from datetime import UTC, datetime, timedelta

from smartproxy.testing.pki import self_signed
from tests.process.backends import BackendsCase


class ChangeOver(BackendsCase):
    """A backend that nobody speaks to but a client."""

    def pair(self, name: str) -> tuple[str, str]:
        """A file with a key and its certificate, and the certificate."""
        made = self_signed(name)
        path = self.folder / f"{name}.pem"
        path.write_bytes(made.certificate_pem + made.key_pem)
        return str(path), made.certificate_pem.decode()

    def test_at_its_date(self) -> None:
        """A client that waits for the next configuration gets it when the date has come."""
        (first, _), (second, wanted) = self.pair("first"), self.pair("second")
        backend = self.backend()
        began = datetime.now(UTC)
        self.command("identity", "import", "main", first)
        # The date is to come after the client asked: a busy machine needs longer for the next command, too. A date has
        # whole seconds.
        since = datetime.now(UTC) + timedelta(seconds=4) + 4 * (datetime.now(UTC) - began)
        since = since.replace(microsecond=0)
        self.command("identity", "import", "main", second, "--from", since.isoformat())
        _, etag, before = self.call(backend.port, "/configuration")
        status = 304
        while status == 304:
            status, _, after = self.call(backend.port, "/configuration?wait=60", etag=etag)
        self.assertEqual(status, 200)
        self.assertGreaterEqual(datetime.now(UTC), since)
        self.assertNotEqual(json.loads(before)["server"]["identities"][0]["certificate"], wanted)
        (identity,) = json.loads(after)["server"]["identities"]
        self.assertEqual(identity["certificate"], wanted)
