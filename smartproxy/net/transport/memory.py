"""What the C library does with memory that was freed: it keeps pieces of a read's size, and gives back what lies free.

Duty: ask the C library for it where it can be asked; does nothing anywhere else.
"""

import contextlib
import ctypes
from functools import cache
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


@cache
def c_library() -> ctypes.CDLL:
    """The C library; that it is found once is of use to a process which is forked."""
    return ctypes.CDLL(None, use_errno=True)


def keep_memory() -> None:
    """Have the C library keep freed memory of a read's size for the next read.

    It would give such memory back to the kernel at once, and have it come again page by page with each read: several
    copies of up to 256 KiB are made for each. Does nothing where there is no ``mallopt(3)``.
    """
    with contextlib.suppress(AttributeError, OSError):
        c_library().mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        c_library().mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)


def trim() -> None:
    """Have the C library give free pages back; does nothing where there is no ``malloc_trim(3)``."""
    with contextlib.suppress(AttributeError, OSError):
        c_library().malloc_trim(0)
