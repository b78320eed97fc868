"""The one module that uses private names of pyOpenSSL, and a pyOpenSSL that has none of them."""

import ast
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.process.clock import PATIENCE_SECONDS
from tests.source import ROOT, Module, imports, modules, parse

_KEEPER = "smartproxy.net.tls.openssl"

_PROGRAM = """
import importlib, sys, types
import OpenSSL, OpenSSL.SSL, OpenSSL.crypto
# Libraries that use private names themselves are loaded with them.
import twisted.internet.ssl, twisted.protocols.tls

for name in ("SSL", "crypto"):
    real = sys.modules["OpenSSL." + name]
    public = types.ModuleType(real.__name__)
    vars(public).update({each: value for each, value in vars(real).items() if not each.startswith("_")})
    sys.modules["OpenSSL." + name] = public
    setattr(OpenSSL, name, public)
sys.modules["OpenSSL._util"] = None
del OpenSSL._util
for name in sys.argv[1:]:
    importlib.import_module(name)
from smartproxy.net.tls.openssl import error_text, is_complete
print(is_complete(), error_text(10))
"""


def private_uses(module: Module) -> list[str]:
    """Find imports of pyOpenSSL's private modules and names, and mentions of ``SSL._name`` and ``crypto._name``."""
    found = [
        f"{module.at(each.node)} imports {each.full}"
        for each in imports(module)
        if each.full.startswith("OpenSSL.") and any(part.startswith("_") for part in each.full.split("."))
    ]
    found += [
        f"{module.at(node)} mentions {ast.unparse(node)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and ast.unparse(node.value) in {"SSL", "crypto"}
    ]
    return found


class PrivateNames(SynchronousTestCase):
    """Everything private of pyOpenSSL stands behind one module."""

    def test_one_module_alone(self) -> None:
        """No other module imports or mentions a private name of pyOpenSSL."""
        others = [module for name, module in modules().items() if name != _KEEPER]
        self.assertEqual([], [each for module in others for each in private_uses(module)])

    def test_uses_are_found(self) -> None:
        """Each form of use is found."""
        for text in (
            "from OpenSSL._util import lib",
            "import OpenSSL._util",
            "from OpenSSL.SSL import _lib",
            "def f() -> SSL._NoOverlappingProtocols: ...",
        ):
            self.assertNotEqual([], private_uses(parse("smartproxy.net.x", text)), text)
        self.assertEqual([], private_uses(parse("smartproxy.net.x", "from OpenSSL import SSL, crypto\nSSL.Context")))

    def test_everything_imports_without_them(self) -> None:
        """A pyOpenSSL without one private name keeps no module from being imported."""
        names = [name for name in modules() if "migrations" not in name and not name.endswith("__main__")]
        made = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *names],
            env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        self.assertEqual("", made.stderr)
        self.assertEqual("False OpenSSL error 10\n", made.stdout)
