"""What a daemon needs beside the libraries that are always there: said in one line where it is missing.

A daemon's module is imported only when it is run, because each needs other libraries, which another machine of the site
need not have.
"""

import sys
from typing import Any, NoReturn

from twisted.application.service import ServiceMaker

from smartproxy.tap.launch import NOT_STARTED, fill_standard_files


def end_without(error: ModuleNotFoundError, program: str) -> NoReturn:
    """End a program whose library is missing.

    :raises ModuleNotFoundError: the same again, if the missing module is one of ours.
    """
    if error.name is None or error.name.startswith("smartproxy"):
        raise error
    extra = program.removeprefix("smartproxy-")
    sys.stderr.write(
        f"{program}: {error.name.partition('.')[0]} is not installed; on the machine where this program is to run, "
        f"install the extra {extra!r}: pip install 'smartproxy[{extra}]'\n"
    )
    raise SystemExit(NOT_STARTED) from None


class DaemonMaker(ServiceMaker):
    """A daemon as twistd's plugin."""

    @property
    def options(self) -> Any:
        """The class of its switches."""
        fill_standard_files()
        try:
            return super().options
        except ModuleNotFoundError as error:
            end_without(error, self.tapname)
