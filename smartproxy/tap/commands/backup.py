"""``smartproxy backup`` and ``restore``: everything in the store as one file, and back."""

import contextlib
from typing import TYPE_CHECKING

from smartproxy.net import files
from smartproxy.tap.commands.arguments import Subparsers, action, writes
from smartproxy.tap.commands.console import CommandFailed, Console, when

if TYPE_CHECKING:
    from smartproxy.backend.backup import BackupFacts


def register(subparsers: Subparsers) -> None:
    """Declare the commands."""
    out = action(
        subparsers,
        "backup",
        "Write everything that is in the store to a file, while backends run: configuration, keys, licences, "
        "history, events. Private keys in it are encrypted; the store's key is not in it.",
        backup,
        "  smartproxy backup site-2026-11-27.backup",
    )
    writes(out, "file", again=True, help="the file")
    into = action(
        subparsers,
        "restore",
        "Put a backup into an empty state folder or an empty database, of either kind, and compare. The store's key "
        "has to be at its place.",
        restore,
        "  cp store.key /var/lib/smartproxy/ && smartproxy restore site-2026-11-27.backup",
    )
    into.add_argument("file", metavar="FILE")


def backup(console: Console) -> None:
    """Write the file."""
    from smartproxy.backend.backup import write

    path = console.arguments.file
    found: list[BackupFacts] = []
    with console.store() as store:
        console.write(path, lambda out: found.append(write(store, console.now(), out)), private=True)
        place = store.ring.place
    facts = found[0]
    told = f"Wrote {path}: {_told(facts)}."
    if facts.key is not None:
        told += f"\nIts private keys are encrypted with the key {facts.key}, which is not in it: keep {place}, too."
    console.answer(_document(facts), told)


def restore(console: Console) -> None:
    """Read the file."""
    from smartproxy.backend.backup import examined, restore
    from smartproxy.backend.errors import Unusable

    path = console.arguments.file
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(files.opened(path))
        except OSError as error:
            raise CommandFailed(f"cannot read {path or repr('')}: {error.strerror}") from error
        # What is no whole backup leaves no store behind.
        try:
            backup = examined(source)
        except Unusable as unusable:
            raise CommandFailed(f"{path}: {unusable}") from unusable
        facts = restore(stack.enter_context(console.store(make=True)), backup)
    console.answer(_document(facts), f"Restored {path}, and compared: {_told(facts)}.")


def _told(facts: "BackupFacts") -> str:
    return (
        f"{facts.site or 'no site'}, generation {facts.generation}, {sum(facts.rows.values())} rows, "
        f"as of {when(facts.made)}"
    )


def _document(facts: "BackupFacts") -> dict[str, object]:
    return {
        "made": facts.made,
        "version": facts.version,
        "site": facts.site,
        "generation": facts.generation,
        "key": facts.key,
        "rows": dict(facts.rows),
    }
