"""The encryption of what is secret in the store: private keys, and the documents that hold them.

AES-256-GCM under a key that is not in the database. Each value says which key it is under, and belongs to its column:
put into another one it is refused. The key comes from a file, a systemd credential or a command; without any of them
one is made beside the store, and that protects copies of the database and its backups, but not against who can read the
folder. A file may hold several keys, so that a store can be given another one (:mod:`smartproxy.backend.rekeying`).
Never shows a key.
"""

import base64
import binascii
import hashlib
import os
import re
import secrets
import shlex
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Dialect, LargeBinary, TypeDecorator

from smartproxy.backend.errors import StoreUnavailable
from smartproxy.net import files
from smartproxy.policy.places import STORE_KEY_CREDENTIAL, STORE_KEY_NAME, STORE_KEY_VARIABLE

COMMAND: Final = "command:"
"""How a place begins that is a command, which prints the key."""
KEY_OCTETS: Final = 32
NONCE_OCTETS: Final = 12
COMMAND_SECONDS: Final = 30.0
KEYS_MOST: Final = 16
_ID_OCTETS = 4
_FILE_OCTETS_MOST = 16 * 1024
_HEX = re.compile(r"[0-9a-fA-F]{64}")


class StoreSealed(StoreUnavailable):
    """A secret of the store cannot be read: its key is not there, or it was changed in the database."""


@attrs.frozen
class StoreKey:
    """A key.

    :ivar id: what it is called; says nothing of the key.
    """

    octets: bytes = attrs.field(repr=False)
    id: str = attrs.field(init=False)

    @id.default
    def _id(self) -> str:
        return hashlib.sha256(b"smartproxy store key\0" + self.octets).hexdigest()[: 2 * _ID_OCTETS]

    @classmethod
    def new(cls) -> "StoreKey":
        """Make a key."""
        return cls(secrets.token_bytes(KEY_OCTETS))


@attrs.frozen
class KeyPlace:
    """Where the keys are.

    :ivar source: the path of a file, or ``command:`` and a command line.
    :ivar own: whether it is the file beside the store that is made where there is none.
    """

    source: str
    own: bool = False

    @classmethod
    def of(cls, directory: Path, environment: Mapping[str, str]) -> "KeyPlace":
        """What the environment says, else the service's credential, else the file beside the store."""
        told = environment.get(STORE_KEY_VARIABLE)
        if told:
            return cls(told)
        credential = Path(environment.get("CREDENTIALS_DIRECTORY") or "/nonexistent") / STORE_KEY_CREDENTIAL
        if credential.exists():
            return cls(str(credential))
        return cls(str(directory / STORE_KEY_NAME), own=True)

    def __str__(self) -> str:
        """The place for people; of a command only the program, because its arguments may be secret."""
        if self.source.startswith(COMMAND):
            return f"the command {(self._command() or ['?'])[0]}"
        return self.source

    @property
    def worth(self) -> str:
        """What the encryption protects with a key at this place."""
        if self.own:
            return (
                "it lies in the same folder as the store: it protects copies and backups of the database that do not "
                "contain it, but not against anybody who can read this folder"
            )
        return "it is kept apart from the store"

    def read(self) -> list[StoreKey]:
        """The keys there, in their order; none where the file beside the store is not there.

        :raises StoreUnavailable: when they cannot be read.
        """
        if self.source.startswith(COMMAND):
            return _keys(self._output(), str(self))
        path = Path(self.source)
        try:
            mode = path.stat().st_mode
            octets = files.read(path, _FILE_OCTETS_MOST)
        except FileNotFoundError:
            if self.own:
                return []
            raise StoreUnavailable(f"the store's key {path} is not there; {_HOW}") from None
        except OSError as error:
            raise StoreUnavailable(f"cannot read the store's key {path}: {error.strerror}") from error
        if stat.S_ISREG(mode) and mode & 0o007:
            raise StoreUnavailable(
                f"everybody can read the store's key {path} (mode {stat.S_IMODE(mode):04o}); run: chmod o= {path}"
            )
        return _keys(octets, str(path))

    def write(self, keys: list[StoreKey]) -> None:
        """Have these keys in the file beside the store, readable by its owner only.

        :raises StoreUnavailable: when it cannot be written.
        """
        path = Path(self.source)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(path, "".join(f"{key.octets.hex()}\n" for key in keys).encode("ascii"), private=True)
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.chown(path, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise StoreUnavailable(f"cannot write the store's key {path}: {error.strerror}") from error

    def _command(self) -> list[str]:
        """The command's words; none where its quotation marks do not match."""
        try:
            return shlex.split(self.source.removeprefix(COMMAND))
        except ValueError:
            return []

    def _output(self) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603  The operator's program, without a shell.
                self._command(), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise StoreUnavailable(f"{self} printed no key within {COMMAND_SECONDS:.0f} seconds") from None
        except (OSError, ValueError, IndexError) as error:
            raise StoreUnavailable(f"cannot run {self}: {getattr(error, 'strerror', None) or error}") from None
        if done.returncode:
            raise StoreUnavailable(f"{self} ended with {done.returncode} and printed no key for the store")
        return done.stdout


_HOW = "a key is a line of 64 hexadecimal digits; make one with: openssl rand -hex 32"


def _keys(octets: bytes, place: str) -> list[StoreKey]:
    lines = octets.decode("ascii", "replace").split("\n")
    found = []
    for line in (each.strip() for each in lines):
        if not line or line.startswith("#"):
            continue
        try:
            key = bytes.fromhex(line) if _HEX.fullmatch(line) else base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_OCTETS:
            raise StoreUnavailable(f"{place} holds something else than keys of a store; {_HOW}")
        found.append(StoreKey(key))
    if not 0 < len(found) <= KEYS_MOST:
        raise StoreUnavailable(f"{place} holds {len(found)} keys of a store; {_HOW}")
    return found


class KeyRing:
    """The keys of one open store.

    :ivar place: where they come from.
    :ivar made: whether this program made the file beside the store.
    """

    def __init__(self, place: KeyPlace) -> None:
        self.place = place
        self.made = False
        self.current = ""
        self._keys: dict[str, StoreKey] = {}

    def load(self) -> list[StoreKey]:
        """Read the keys anew; all of them, in the order of their place."""
        found = self.place.read()
        self._keys = {**self._keys, **{key.id: key for key in found}}
        return found

    def use(self, name: str) -> None:
        """Seal with this key from now on.

        :raises StoreSealed: when it is not there.
        """
        self._key(name)
        self.current = name

    def first(self) -> str:
        """The key that a store without secrets begins with; made where there is none yet."""
        found = self.load()
        if not found:
            found = [StoreKey.new()]
            self.place.write(found)
            self.made = True
            self.load()
        return found[0].id

    def seal(self, column: str, octets: bytes) -> bytes:
        """Encrypt what a column holds."""
        key = self._key(self.current)
        nonce = secrets.token_bytes(NONCE_OCTETS)
        return bytes.fromhex(key.id) + nonce + AESGCM(key.octets).encrypt(nonce, octets, column.encode("ascii"))

    def unseal(self, column: str, sealed: bytes) -> bytes:
        """Decrypt what a column holds.

        :raises StoreSealed: when its key is not there, or it was changed.
        """
        key = self._key(sealed[:_ID_OCTETS].hex())
        nonce, rest = sealed[_ID_OCTETS : _ID_OCTETS + NONCE_OCTETS], sealed[_ID_OCTETS + NONCE_OCTETS :]
        try:
            return AESGCM(key.octets).decrypt(nonce, rest, column.encode("ascii"))
        except (InvalidTag, ValueError):
            raise StoreSealed(f"{column} was changed in the database; restore the store from a backup") from None

    def _key(self, name: str) -> StoreKey:
        key = self._keys.get(name)
        if key is None:
            # Another program may have given the store another key.
            self.load()
            key = self._keys.get(name)
        if key is None:
            raise StoreSealed(
                f"the store's secrets are encrypted with the key {name or '?'}, which is not at {self.place}; "
                f"put it there, or say where it is with {STORE_KEY_VARIABLE}"
            )
        return key


class Sealed(TypeDecorator[Any]):
    """A value that is encrypted in the database.

    :param column: the table and the column that it belongs to.
    :param write: makes octets of a value.
    :param read: makes a value of octets.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, column: str, write: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> None:
        super().__init__()
        self.column = column
        self.write = write
        self.read = read

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Encrypt."""
        return None if value is None else _ring_of(dialect).seal(self.column, self.write(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Decrypt."""
        return None if value is None else self.read(_ring_of(dialect).unseal(self.column, bytes(value)))


def give(dialect: Dialect, ring: KeyRing) -> None:
    """Have a store's columns encrypted with its keys; SQLAlchemy hands their types nothing else of the store."""
    vars(dialect)[_RING] = ring


def _ring_of(dialect: Dialect) -> KeyRing:
    ring = vars(dialect)[_RING]
    assert isinstance(ring, KeyRing)
    return ring


_RING = "smartproxy_keys"
