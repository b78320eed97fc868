"""Runs a program that dies with the process that started it, even if that is killed: ``python -m ... PID PROGRAM ...``.

Linux ends a process when its parent dies if it asked for that (prctl(2), PR_SET_PDEATHSIG); the wish outlives exec.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask to be killed with the parent, whose process id is the first argument, and become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # else it has died before it could be asked for
        os.execv(program[0], program)


if __name__ == "__main__":
    main()
