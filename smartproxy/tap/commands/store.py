"""``smartproxy store``: where the store is, and the key that its secrets are encrypted with."""

from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.console import Console, listing, when


def register(subparsers: Subparsers) -> None:
    """Declare the commands."""
    actions = subject(
        subparsers,
        "store",
        "The store: where it is, and the key that the private keys in it are encrypted with.",
        "  smartproxy store status\n  smartproxy store rekey",
    )
    action(actions, "status", "Say where the store is, and what its secrets are encrypted with.", status)
    action(
        actions,
        "rekey",
        "Encrypt all secrets in the store with another key, while backends run: a new one where the key lies beside "
        "the store; else the first one at the place that SMARTPROXY_STORE_KEY names, behind which the present one "
        "still stands.",
        rekey,
    )


def status(console: Console) -> None:
    """Show how the secrets of the store are encrypted."""
    from smartproxy.backend.rekeying import status

    with console.store() as store:
        found = status(store)
    document = {
        "store": found.store,
        "key": found.key,
        "key_since": found.since,
        "key_place": str(found.place),
        "key_beside_store": found.place.own,
        "secrets": found.secrets,
    }
    shown = {
        "store": found.store,
        "secrets": found.secrets,
        "encrypted with": f"AES-256-GCM, key {found.key or 'not made yet'}",
        "since": when(found.since),
        "key at": f"{found.place}; {found.place.worth}",
    }
    console.answer(document, listing(shown))


def rekey(console: Console) -> None:
    """Give the store another key."""
    from smartproxy.backend.rekeying import rekey

    with console.store() as store:
        done = rekey(store, console.now())
    if done.left is not None:
        console.warn(f"what was encrypted with the old key is still in the database's files; {done.left}")
    console.answer(
        {"before": done.before, "after": done.after, "secrets": done.secrets, "left": done.left},
        f"{done.secrets} secrets are encrypted with the key {done.after} instead of {done.before}."
        + ("" if done.place.own else f" The old key may be removed from {done.place}; keep it for old backups."),
    )
