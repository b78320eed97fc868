"""The file name of a UNIX socket, however long its folder's name is.

The kernel takes 107 octets; a folder can be named through an open descriptor of it instead.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

NAME_OCTETS_MOST = 107


@contextlib.contextmanager
def named(path: Path) -> Iterator[str]:
    """A name that a socket can have, good for as long as the context is entered.

    :raises OSError: when the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= NAME_OCTETS_MOST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
