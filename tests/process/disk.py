"""Secrets as they would look on a disk, and where a process could have put them."""

import base64
import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from smartproxy.testing.programs import Program
from tests.process.memory import family

MOST_OCTETS = 64 << 20
_PEM_OCTETS = 48
"""Octets that one line of PEM holds."""

ANY_PRIVATE_KEY = {
    "a private key in PEM": b"PRIVATE KEY-----",
    "a P-256 key in DER (PKCS#8)": bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"),
    "a P-256 key in DER (SEC1)": bytes.fromhex("30770201010420"),
}


def key_needles(pem: bytes) -> dict[str, bytes]:
    """What of a private key would be found in a file, whatever form it was written in."""
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)
    needles = {"the key in DER or as it is": scalar, "the key in hex": scalar.hex().encode()}
    forms = {"PKCS#8": serialization.PrivateFormat.PKCS8, "SEC1": serialization.PrivateFormat.TraditionalOpenSSL}
    for form_name, form in forms.items():
        der = key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())
        start = der.index(scalar)
        for line in range(0, len(der), _PEM_OCTETS):
            first = max(line, start + -start % 3)
            last = min(line + _PEM_OCTETS, start + len(scalar))
            last -= last % 3
            if last - first >= 12:
                needles[f"line {line // _PEM_OCTETS} of the key in PEM ({form_name})"] = base64.b64encode(
                    der[first:last]
                )
    return needles


def findings(paths: Iterable[Path], needles: Mapping[str, bytes]) -> list[str]:
    """Which secret is in which file."""
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                octets = file.read(MOST_OCTETS)
        except OSError:
            continue
        found += [f"{path}: {name}" for name, needle in needles.items() if needle in octets]
    return found


def files_below(folder: Path, without: Iterable[Path] = (), since: float = 0.0) -> Iterator[Path]:
    """All regular files that were changed since then."""
    left_out = {str(path) for path in without}
    for place, names, files in os.walk(folder):
        names[:] = [name for name in names if os.path.join(place, name) not in left_out]
        for name in files:
            path = Path(place, name)
            try:
                changed = max(path.lstat().st_mtime, path.lstat().st_ctime)
            except OSError:
                continue
            if changed >= since and path.is_file() and not path.is_symlink() and str(path) not in left_out:
                yield path


def open_files(program: Program) -> list[Path] | None:
    """The regular files that a daemon has open, deleted ones too; ``None`` if it hides them from us.

    What it hands to its workers in memory has a descriptor, too, but no place on a disk (memfd_create(2)).
    """
    folders = [Path(f"/proc/{pid}/fd") for pid in family(program.pid)]
    try:
        return [
            path
            for folder in folders
            for path in folder.iterdir()
            if path.is_file() and not os.readlink(path).startswith("/memfd:")
        ]
    except PermissionError:
        return None


def mapped_files(program: Program) -> list[Path]:
    """The files that a daemon has mapped for writing."""
    try:
        text = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in family(program.pid))
    except PermissionError:
        return []
    return [Path(match) for match in re.findall(r"^\S+ .w\S* \S+ \S+ [1-9]\d* +(/.*)$", text, re.MULTILINE)]


def told_to(program: Program) -> bytes:
    """Command line and environment of a daemon's processes, as far as they can be read."""
    told = b""
    for pid in family(program.pid):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(PermissionError):
                told += Path(f"/proc/{pid}/{name}").read_bytes()
    return told
