"""The DMZ holds keys in memory only: nothing that the server, or the client, can write to ever holds one."""

from pathlib import Path
from typing import ClassVar

from smartproxy.testing.programs import Program
from tests.process.disk import ANY_PRIVATE_KEY, files_below, findings, key_needles, mapped_files, open_files, told_to
from tests.process.sites import SiteCase

SHARED = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


class KeysOnDisk(SiteCase):
    """A session was held, and the configuration changed; then every file is searched."""

    server_switches: ClassVar[tuple[str, ...]] = ("--drain", "2", "--log-level", "trace")
    client_switches: ClassVar[tuple[str, ...]] = ("--drain", "2", "--log-level", "trace")

    async def begin(self) -> None:
        """Hold a session with the key in use."""
        await super().begin()
        session = await self.session(self.acme)
        await session.file()
        await session.end()
        await self.ended()
        self.token = (self.site.folder / "client" / "token").read_bytes().strip()

    def places(self, program: Program | None) -> list[Path]:
        """Every file of the site that a daemon has written, could have written, or holds open."""
        assert program is not None
        held = open_files(program)
        if held is None:
            program.read()
            self.assertIn("daemon.hardened", [record["name"] for record in program.records])
        return [*files_below(self.site.folder, self.others()), *mapped_files(program), *(held or [])]

    def others(self) -> list[Path]:
        """The operator's own files and the backend's, inside, are not the daemons'; the token's file is given."""
        return [self.site.certificates, self.site.state, self.site.folder / "client" / "token", self.made.folder]

    def shared_places(self) -> list[Path]:
        """Every file that anybody has written to a folder for all since the site began."""
        begun = self.site.licence.stat().st_ctime
        without = (*self.others(), self.site.folder, Path.cwd())
        return [path for folder in SHARED for path in files_below(folder, without, begun)]

    async def test_the_search_finds(self) -> None:
        """The search finds a key in each form, and the token, where they are."""
        key = (self.site.certificates / "muster.key").read_bytes()
        needles = key_needles(key)
        self.assertGreaterEqual(len(needles), 5)
        self.assertTrue(findings([self.site.certificates / "muster.key"], needles))
        self.assertTrue(findings([self.site.folder / "client" / "token"], {"token": self.token}))
        for name, needle in needles.items():
            planted = self.site.folder / "server" / "planted"
            planted.write_bytes(b"octets before" + needle + b"and after")
            self.assertEqual(findings(files_below(planted.parent), needles), [f"{planted}: {name}"])
            planted.unlink()
        for folder in SHARED:
            planted = folder / f"planted-{self.site.proxy_id}"
            self.addCleanup(planted.unlink)
            planted.touch()
            self.assertIn(planted, self.shared_places())

    async def test_server(self) -> None:
        """The key that partners are shown is nowhere; the identity key is the only one, in its one file, mode 0600."""
        key = (self.site.certificates / "muster.key").read_bytes()
        places = self.places(self.site.server)
        self.assertGreater(len(places), 3)
        secrets = {**key_needles(key), "the client's token": self.token}
        self.assertEqual(findings([*places, *self.shared_places()], secrets), [])
        assert self.site.server is not None
        for needle in (*key_needles(key).values(), self.token):
            self.assertNotIn(needle, told_to(self.site.server))
        identity = self.site.folder / "server" / "identity.key"
        self.assertEqual(findings(places, ANY_PRIVATE_KEY), [f"{identity}: a private key in PEM"])
        self.assertEqual(identity.stat().st_mode & 0o777, 0o600)
        self.assertEqual(
            sorted(path.name for path in (self.site.folder / "server").iterdir()),
            ["identity.key", "smartproxy-server.sock", "smartproxy.lic"],
        )

    async def test_backend(self) -> None:
        """The store's files hold no private key that can be read without the store's own, which has mode 0600."""
        key = (self.site.certificates / "muster.key").read_bytes()
        places = files_below(self.site.state)
        self.assertIn(self.site.state / "smartproxy.db", places)
        self.assertEqual(findings(places, {**ANY_PRIVATE_KEY, **key_needles(key), "a client's token": self.token}), [])
        self.assertEqual((self.site.state / "store.key").stat().st_mode & 0o777, 0o600)

    async def test_client(self) -> None:
        """The client writes no key that can be read without its token: neither its tunnel key nor the server's."""
        key = (self.site.certificates / "muster.key").read_bytes()
        identity = self.site.folder / "server" / "identity.key"
        places = [path for path in self.places(self.site.client) if path != identity]
        self.assertEqual(findings(places, {**ANY_PRIVATE_KEY, **key_needles(key), "its token": self.token}), [])
        assert self.site.client is not None
        self.assertNotIn(self.token, told_to(self.site.client))
        self.assertEqual(
            sorted(path.name for path in (self.site.folder / "client").iterdir()),
            ["configuration.copy", "smartproxy-client.sock", "token"],
        )
        self.assertEqual((self.site.folder / "client" / "configuration.copy").stat().st_mode & 0o777, 0o600)
