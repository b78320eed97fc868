"""What may import what. Imports point downwards only, and the DMZ never gets to see the libraries of the inside."""

import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from twisted.trial.unittest import SynchronousTestCase

from tests.source import Import, Module, imports, modules, parse

LAYERS = {
    "oftp2": 0,
    "policy": 1,
    "relay": 2,
    "net": 3,
    "tunnel": 3,
    "logs": 3,
    "ctl": 3,
    "workers": 3,
    "server": 4,
    "client": 4,
    "backend": 4,
    "plain": 4,
    "tap": 5,
    "testing": 5,
}
LOWER_PARTS = ("smartproxy.net.tls", "smartproxy.net.transport", "smartproxy.tap.commands")
"""Sub-packages that import nothing of their parents, which import them; any other counts as part of its parent."""
TOP = {"smartproxy", "smartproxy._version"}
"""What everyone may import."""

SIDEWAYS = {
    ("net", "logs"): ("smartproxy.logs",),
    ("tunnel", "logs"): ("smartproxy.logs",),
    ("tunnel", "ctl"): ("smartproxy.ctl.statuses",),
    ("ctl", "logs"): ("smartproxy.logs",),
    ("workers", "ctl"): ("smartproxy.ctl.statuses",),
    ("workers", "logs"): ("smartproxy.logs",),
    ("workers", "net"): ("smartproxy.net",),
    ("workers", "tunnel"): ("smartproxy.tunnel",),
    ("ctl", "net"): ("smartproxy.net.deadline",),
    ("tunnel", "net"): (
        "smartproxy.net.leg",
        "smartproxy.net.deadline",
        "smartproxy.net.hello",
        "smartproxy.net.handshakes",
        "smartproxy.net.files",
        "smartproxy.net.tls",
        "smartproxy.net.listeners",
        "smartproxy.net.transport",
    ),
}
"""The imports between packages of one layer that are allowed, and what of the other package."""

PURE_LIBRARIES = {"attrs", "typing_extensions"}
"""What layers 0 to 2 may use beside the standard library."""
PURE_EXCEPTIONS = {
    "smartproxy.policy.licence": {"cryptography"},
    "smartproxy.policy.certificates.decoding": {"cryptography"},
}
IMPURE_STANDARD = frozenset(
    [
        "asyncio",
        "http",
        "logging",
        "multiprocessing",
        "os",
        "random",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "urllib",
    ]
)
"""Parts of the standard library that reach out of a function: layers 0 to 2 use none."""

DMZ = (
    "smartproxy.server",
    "smartproxy.plain",
    "smartproxy.tap.server",
    "smartproxy.tap.plain_server",
    "smartproxy.tap.plain_client",
)
INSIDE_LIBRARIES = {"treq", "klein", "sqlalchemy", "alembic", "jinja2", "werkzeug"}
"""What nothing that runs in the DMZ may load."""
OPAQUE_LIBRARIES = {"zlib", "gzip", "bz2", "lzma", "zipfile", "tarfile", "asn1crypto", "pyasn1", "email"}
"""What nothing that runs in the DMZ may use: content is opaque there (threat T30).

Python's own library loads some of them, for archives that nobody opens."""
OPAQUE_PARTS = (
    "cryptography.hazmat.primitives.serialization.pkcs7",
    "cryptography.hazmat.primitives.serialization.pkcs12",
)
"""Parts of libraries for which the same goes."""
DYNAMIC = {"importlib", "pkgutil", "runpy"}
"""Ways of importing that this test cannot follow: nothing that runs in the DMZ uses one."""


def layer(name: str) -> int | None:
    """The layer of a module, by its dotted name; ``None`` for the top, which is below all."""
    parts = name.split(".")
    return None if name in TOP or len(parts) < 2 else LAYERS[parts[1]]


def own_target(found: Import, everything: Mapping[str, Module]) -> str | None:
    """The module of ours that an import names, or ``None``: ``from package import module`` names the module."""
    if found.library != "smartproxy":
        return None
    return found.full if found.full in everything else found.module


def upward_imports(everything: Mapping[str, Module]) -> list[str]:
    """Find imports that point upwards, or sideways where that is not allowed."""
    wrong = []
    for module in everything.values():
        for found in imports(module):
            target = own_target(found, everything)
            if target is None or target in TOP:
                continue
            ours, theirs = layer(module.name), layer(target)
            part, other = module.name.split(".")[1:2], target.split(".")[1]
            if ours is None or theirs is None or theirs > ours:
                wrong.append(f"{module.at(found.node)} imports {target}, which lies above it")
            elif theirs == ours and [other] != part:
                allowed = SIDEWAYS.get((part[0], other), ())
                if not any(target == each or target.startswith(each + ".") for each in allowed):
                    wrong.append(f"{module.at(found.node)} imports {target}, which lies beside it")
    return wrong


def circle(everything: Mapping[str, Module]) -> list[str]:
    """Find modules that import each other, directly or by way of others; what only type checkers import counts, too."""
    graph = {
        name: {target for found in imports(module) if (target := own_target(found, everything)) not in {None, name}}
        for name, module in everything.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def parents_imported(everything: Mapping[str, Module]) -> list[str]:
    """Find modules of a sub-package that knows nothing of its parent, and that import one of the parent's."""
    wrong = []
    for name, module in everything.items():
        package = ".".join(name.split(".")[:3])
        parent = package.rpartition(".")[0]
        if package not in LOWER_PARTS or name == parent:
            continue
        for found in imports(module):
            target = own_target(found, everything) or ""
            if target.startswith(parent + ".") and not target.startswith(tuple(LOWER_PARTS)):
                wrong.append(f"{module.at(found.node)} imports {target} of the package that it is a part of")
    return wrong


def unknown_packages(everything: Mapping[str, Module]) -> list[str]:
    """Find modules that are in no layer."""
    return [name for name in everything if name not in TOP and name.split(".")[1] not in LAYERS]


def impure_imports(everything: Mapping[str, Module]) -> list[str]:
    """Find what layers 0 to 2 import beside the plain standard library and what they are allowed."""
    wrong = []
    for module in everything.values():
        height = layer(module.name)
        if height is None or height > 2:
            continue
        allowed = PURE_LIBRARIES | PURE_EXCEPTIONS.get(module.name, set()) | {"smartproxy"}
        for found in imports(module):
            standard = found.library in sys.stdlib_module_names and found.library not in IMPURE_STANDARD
            if not standard and found.library not in allowed:
                wrong.append(f"{module.at(found.node)} imports {found.full} in layer {height}")
    return wrong


def reachable(roots: tuple[str, ...], everything: Mapping[str, Module]) -> dict[str, str]:
    """Follow imports, also those inside functions: every module of ours that is loaded, and who asked for it first."""
    waiting = [(name, "") for name in everything if name in roots or name.startswith(tuple(f"{r}." for r in roots))]
    seen: dict[str, str] = {}
    while waiting:
        name, asker = waiting.pop()
        if name in seen or name not in everything:
            continue
        seen[name] = asker
        package = name.rpartition(".")[0]
        targets = [own_target(found, everything) for found in imports(everything[name])]
        waiting += [(target, name) for target in (package, *targets) if target]
    return seen


def loaded_in_the_dmz(everything: Mapping[str, Module]) -> list[str]:
    """Find libraries of the inside that the server could load, and imports that nobody can follow."""
    wrong = []
    for name in sorted(reachable(DMZ, everything)):
        for found in imports(everything[name]):
            if found.library in INSIDE_LIBRARIES | DYNAMIC:
                wrong.append(f"{everything[name].at(found.node)} imports {found.library}, and the server reaches it")
    return wrong


def openers_in_the_dmz(everything: Mapping[str, Module]) -> list[str]:
    """Find what unpacks or parses content, in modules of ours that the server could load."""
    wrong = []
    for name in sorted(reachable(DMZ, everything)):
        for found in imports(everything[name]):
            if found.library in OPAQUE_LIBRARIES or found.full.startswith(OPAQUE_PARTS):
                wrong.append(f"{everything[name].at(found.node)} imports {found.full}, and the server reaches it")
    return wrong


def global_reactors(everything: Mapping[str, Module]) -> list[str]:
    """Find imports of the reactor: at module level nowhere, inside functions on the uppermost layer only."""
    wrong = []
    for module in everything.values():
        height = layer(module.name)
        for found in imports(module):
            if found.full.startswith("twisted.internet.reactor") and (found.top or height is None or height <= 4):
                wrong.append(f"{module.at(found.node)} imports the reactor")
    return wrong


class Layers(SynchronousTestCase):
    """The package as it is."""

    def setUp(self) -> None:
        """Parse every module."""
        self.modules = modules()

    def test_there_is_something_to_judge(self) -> None:
        """The modules are found, from every layer."""
        self.assertEqual(set(range(6)), {height for name in self.modules if (height := layer(name)) is not None})

    def test_every_module_has_a_layer(self) -> None:
        """Each package below ``smartproxy`` stands in the table of layers."""
        self.assertEqual([], unknown_packages(self.modules))

    def test_imports_point_downwards(self) -> None:
        """No module imports one of a higher layer, or of another package beside it."""
        self.assertEqual([], upward_imports(self.modules))

    def test_no_circles(self) -> None:
        """No modules import each other, in whatever way."""
        self.assertEqual([], circle(self.modules))

    def test_parts_know_nothing_of_their_parents(self) -> None:
        """Transports import nothing of ``net``, and commands nothing of ``tap``."""
        self.assertEqual([], parents_imported(self.modules))

    def test_the_lower_layers_are_pure(self) -> None:
        """Below layer 3 there is no Twisted, no OpenSSL, no clock, no file: attrs and harmless standard modules."""
        self.assertEqual([], impure_imports(self.modules))

    def test_the_server_loads_nothing_of_the_inside(self) -> None:
        """No import, wherever it stands, leads from the server to treq or to a web or database library."""
        self.assertEqual([], loaded_in_the_dmz(self.modules))

    def test_the_server_opens_no_content(self) -> None:
        """Nothing that the server could load unpacks archives or parses CMS: content stays opaque (threat T30)."""
        self.assertEqual([], openers_in_the_dmz(self.modules))

    def test_the_reactor_is_a_parameter(self) -> None:
        """Nobody imports the reactor at module level; below the command line nobody imports it at all."""
        self.assertEqual([], global_reactors(self.modules))


class Planted(SynchronousTestCase):
    """Each check finds what it is for."""

    def judge(self, name: str, text: str, **others: str) -> dict[str, Module]:
        """A package of two modules and a few more."""
        texts = {"smartproxy": "", "smartproxy.tap": "", "smartproxy.server": "", "smartproxy.net": "", name: text}
        texts |= {other.replace("__", "."): other_text for other, other_text in others.items()}
        packages = {"smartproxy", "smartproxy.tap", "smartproxy.server", "smartproxy.net"}
        return {key: parse(key, value, package=key in packages) for key, value in texts.items()}

    def test_upward(self) -> None:
        """An upward import is found in every form."""
        for text in (
            "import smartproxy.net.leg",
            "from smartproxy.net import leg",
            "from smartproxy.net.leg import ILeg",
            "def f():\n    from smartproxy.net.leg import ILeg",
            "from ..net.leg import ILeg",
        ):
            found = upward_imports(self.judge("smartproxy.relay.session", text, smartproxy__net__leg=""))
            self.assertEqual(1, len(found), text)
            self.assertIn("smartproxy.net.leg, which lies above it", found[0])

    def test_sideways(self) -> None:
        """The tunnel may import legs, deadlines and TLS of the network package, and nothing else; the log none."""
        legs = {
            "smartproxy__net__leg": "",
            "smartproxy__net__deadline": "",
            "smartproxy__net__tls__context": "",
            "smartproxy__net__driver": "",
            "smartproxy__logs__emit": "",
        }
        for text in (
            "from smartproxy.net.leg import ILeg",
            "from smartproxy.net.deadline import Deadline",
            "from smartproxy.net.tls.context import new_context",
            "from smartproxy.logs import emit",
        ):
            self.assertEqual([], upward_imports(self.judge("smartproxy.tunnel.client", text, **legs)), text)
        self.assertEqual(
            ["smartproxy.tunnel.client:1 imports smartproxy.net.driver, which lies beside it"],
            upward_imports(self.judge("smartproxy.tunnel.client", "import smartproxy.net.driver", **legs)),
        )
        self.assertEqual(1, len(upward_imports(self.judge("smartproxy.logs.x", "import smartproxy.net.leg", **legs))))

    def test_parents(self) -> None:
        """An import of the parent's module is found in a part that is lower, and in no other."""
        for name, count in (("smartproxy.net.tls.a", 1), ("smartproxy.server.dial.a", 0), ("smartproxy.net.a", 0)):
            for text in ("import smartproxy.net.b", "def f():\n    from smartproxy.net import b"):
                found = parents_imported(self.judge(name, text, smartproxy__net__b=""))
                self.assertEqual(count, len(found), (name, text))
        beside = self.judge("smartproxy.net.transport.a", "import smartproxy.net.tls.b", smartproxy__net__tls__b="")
        self.assertEqual([], parents_imported(beside))

    def test_circles(self) -> None:
        """A circle is found in every form: of two, of three, for type checkers only, inside functions."""
        for text, other in (
            ("from smartproxy.net.b import f", "from smartproxy.net import a"),
            ("from smartproxy.net import b", "def f():\n    import smartproxy.net.a"),
            ("import smartproxy.net.b", "if TYPE_CHECKING:\n    import smartproxy.net.a"),
        ):
            found = circle(self.judge("smartproxy.net.a", text, smartproxy__net__b=other))
            self.assertEqual({"smartproxy.net.a", "smartproxy.net.b"}, set(found), text)
        chain = {"smartproxy__net__b": "import smartproxy.net.c", "smartproxy__net__c": "import smartproxy.net.a"}
        self.assertEqual(4, len(circle(self.judge("smartproxy.net.a", "import smartproxy.net.b", **chain))))
        chain["smartproxy__net__c"] = "import smartproxy.net.leg"
        self.assertEqual([], circle(self.judge("smartproxy.net.a", "import smartproxy.net.b", **chain)))

    def test_unknown(self) -> None:
        """A package that no layer names is found."""
        self.assertEqual(["smartproxy.misc.x"], unknown_packages(self.judge("smartproxy.misc.x", "")))

    def test_impure(self) -> None:
        """Twisted, OpenSSL, zope, sockets and clocks are found below layer 3, cryptography outside its two modules."""
        for text in (
            "from twisted.internet import defer",
            "import OpenSSL.SSL",
            "from zope.interface import implementer",
            "import socket",
            "def f():\n    import time",
            "from cryptography import x509",
        ):
            for name in ("smartproxy.oftp2.codec", "smartproxy.policy.identity", "smartproxy.relay.session"):
                self.assertEqual(1, len(impure_imports(self.judge(name, text))), (name, text))
        text = "import attrs, json, datetime\nfrom cryptography import x509"
        self.assertEqual([], impure_imports(self.judge("smartproxy.policy.licence", text)))
        self.assertEqual([], impure_imports(self.judge("smartproxy.net.x", "import twisted, socket, cryptography")))

    def test_the_inside_in_the_dmz(self) -> None:
        """A library of the inside is found however far away and however deep in a function its import stands."""
        chain = {
            "smartproxy__net__a": "def f():\n    from smartproxy.net import b",
            "smartproxy__net__b": "class C:\n    def f(self):\n        import sqlalchemy.orm",
        }
        for name in ("smartproxy.server.daemon", "smartproxy.tap.server"):
            found = loaded_in_the_dmz(self.judge(name, "import smartproxy.net.a", **chain))
            self.assertEqual(["smartproxy.net.b:3 imports sqlalchemy, and the server reaches it"], found)
        self.assertEqual([], loaded_in_the_dmz(self.judge("smartproxy.tap.client", "import smartproxy.net.a", **chain)))

    def test_a_package_s_own_imports_in_the_dmz(self) -> None:
        """Importing a module loads the packages around it, and what they import."""
        everything = self.judge("smartproxy.server.daemon", "import smartproxy.net.a", smartproxy__net__a="")
        everything["smartproxy.net"] = parse("smartproxy.net", "import treq", package=True)
        self.assertEqual(["smartproxy.net:1 imports treq, and the server reaches it"], loaded_in_the_dmz(everything))

    def test_openers_in_the_dmz(self) -> None:
        """What unpacks or parses content is found however far away, by its library or its part of one."""
        for text in (
            "def f():\n    import zlib",
            "from gzip import decompress",
            "from cryptography.hazmat.primitives.serialization import pkcs7",
        ):
            far = self.judge("smartproxy.server.daemon", "import smartproxy.net.a", smartproxy__net__a=text)
            self.assertEqual(1, len(openers_in_the_dmz(far)), text)
            inside = self.judge("smartproxy.backend.x", text)
            self.assertEqual([], openers_in_the_dmz(inside), text)

    def test_dynamic_imports_in_the_dmz(self) -> None:
        """An import that nobody can follow is found."""
        self.assertEqual(1, len(loaded_in_the_dmz(self.judge("smartproxy.server.daemon", "import importlib"))))

    def test_reactors(self) -> None:
        """A reactor imported at module level is found on every layer, one imported in a function below the fifth."""
        inside = "def f():\n    from twisted.internet import reactor"
        for name, text, count in (
            ("smartproxy.tap.server", "from twisted.internet import reactor", 1),
            ("smartproxy.net.x", "from twisted.internet import reactor", 1),
            ("smartproxy.net.x", "import twisted.internet.reactor", 1),
            ("smartproxy.net.x", inside, 1),
            ("smartproxy.tap.server", inside, 0),
        ):
            self.assertEqual(count, len(global_reactors(self.judge(name, text))), (name, text))
