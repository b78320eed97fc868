"""Habits that keep the program safe to read and to log, held by reading its source."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.source import ROOT, TESTS, Module, modules, outermost_name, parse

CHECKOUT = Path(__file__).resolve().parents[1]

LOG_METHODS = {"debug", "info", "warn", "warning", "error", "critical", "failure", "emit", "exception", "msg", "err"}
LOGS = re.compile(r"^_?(log|logger)$")
SECRET = re.compile(r"token|ticket|digest", re.IGNORECASE)
EMPTY_WORDS = re.compile(r"^(utils?|helpers?|common|misc|managers?|handlers?|processors?|engines?)$", re.IGNORECASE)
EMPTY_CLASSES = re.compile(r"(Util|Utils|Helper|Manager|Handler|Processor|Engine)$")
SILENCED = re.compile(r"#\s*(type: ignore|noqa)")
SILENCED_WITH_REASON = re.compile(r"# (type: ignore\[[a-z, -]+\]|noqa: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*)[ #-]+\w")
PAGE = "smartproxy.backend.page."
PARSE = {f"{PAGE}{name}" for name in ("differences", "dropped_certificates", "sent_forms")}
"""Modules of the page whose functions parse, in a thread."""
PARSERS = {
    *("read_certificates", "read_revocation_lists", "read_private_key", "read_pkcs12", "certificates_to_pem"),
    *("certificate_in", "certificates_in", "first_certificate_in", "list_in", "FormDataParser"),
}
PROOF_MAKER = "smartproxy.net.tls.verdict"
OWN_HOST_PORT = re.compile(
    "|".join(
        (
            r"""^f['"]\[\{[^{}]*\}\]:\{[^{}]*\}['"]$""",
            r"^f'\[\{.*\}\]' if ':' in ",
            r"^\w[\w.]*\.rpartition\(':'\)\[0\]\.strip\('\[\]'\)$",
        )
    )
)
"""What puts brackets around a host before its port, puts them there where it has a colon, or takes them off."""
ELSEWHERE = re.compile(r'^ *r?"""See :[a-z]+:', re.MULTILINE)
"""What a docstring begins with that says only where to read."""
A_MAN = re.compile(r"\b(he|him|his|himself)\b", re.IGNORECASE)
ADDRESSES = "smartproxy.policy.addresses"
DECODER = "smartproxy.policy.certificates.decoding"
READS = re.compile(
    r"^(load_(pem|der)_\w+|load_key_and_certificates|rfc4514_string|to_cryptography|verify_certificate_\w+)$"
)
PARTS = {
    "extensions",
    "get_attributes_for_oid",
    "is_signature_valid",
    "public_key",
    "signature_hash_algorithm",
    "verify_directly_issued_by",
}
"""Attributes of certificates, requests and lists that are read when they are asked for, and may be damaged."""
RAISED_BY_READING = {"DuplicateExtension", "InvalidVersion", "UnsupportedAlgorithm", "UnsupportedGeneralNameType"}
KEYS = re.compile(r"(^|_)key$|^generate_private_key$")
"""What private keys are called: nothing is read when one is asked for its public key."""
KEY_FILES = "smartproxy.backend.certificates"
"""Opens key files with passwords, for which the library raises an error of its own."""


def log_formats(everything: Mapping[str, Module]) -> list[str]:
    """Find logging whose format is not a literal: a peer's text used as a format looks up what it likes (T19)."""
    wrong = []
    for module in everything.values():
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Attribute(attr=method, value=log)) if method in LOG_METHODS and LOGS.match(
                    outermost_name(log)
                ):
                    place = 1 if method == "emit" else 0
                    words = node.args[place : place + 1] + [key.value for key in node.keywords if key.arg == "format"]
                    if not all(map(_is_literal, words)):
                        wrong.append(f"{module.at(node)} logs with a format that is not a literal")
    return wrong


def _is_literal(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.Name(id=name):
            return name.isupper()
    return False


def timed_comparisons(everything: Mapping[str, Module]) -> list[str]:
    """Find secrets compared with an operator whose duration tells how much of them was right (T21)."""
    wrong = []
    for module in everything.values():
        queries = set(_in_queries(module))
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Compare) or node in queries:
                continue
            sides = [node.left, *node.comparators]
            equal = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
            if equal and any(SECRET.search(outermost_name(side)) for side in sides):
                wrong.append(f"{module.at(node)} compares {ast.unparse(node)}: use hmac.compare_digest")
    return wrong


def _in_queries(module: Module) -> list[ast.AST]:
    """What stands in a condition of a database query: columns compared there make SQL, and compare nothing here."""
    conditions = [
        argument
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call) and outermost_name(call.func) in {"where", "filter", "having", "join"}
        for argument in call.args
    ]
    return [node for condition in conditions for node in ast.walk(condition)]


def proofs_made(everything: Mapping[str, Module]) -> list[str]:
    """Find where a ``VerifiedPartner`` is made: only the TLS verifier may."""
    return [
        f"{module.at(node)} makes a VerifiedPartner"
        for module in everything.values()
        if module.name != PROOF_MAKER
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and outermost_name(node.func) == "VerifiedPartner"
    ]


def direct_decoding(everything: Mapping[str, Module]) -> list[str]:
    """Find where octets of certificates, lists and keys are read and errors of the library can get past."""
    wrong = []
    for module in everything.values():
        if module.name == DECODER or module.name.startswith("smartproxy.testing"):
            continue
        guarded = set(_in_decoding(module))
        keys = {"load_pem_private_key", "load_der_private_key", "UnsupportedAlgorithm"}
        allowed = keys if module.name == KEY_FILES else set()
        for node in ast.walk(module.tree):
            if node in guarded or not _reads(node):
                continue
            if (name := outermost_name(node)) not in allowed:  # type: ignore[arg-type]  # what reads has a name
                wrong.append(f"{module.at(node)} uses {name} outside decoding()")
    return wrong


def _in_decoding(module: Module) -> list[ast.AST]:
    return [
        inner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.With) and any(outermost_name(each.context_expr) == "decoding" for each in node.items)
        for inner in ast.walk(node)
    ]


def _reads(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="public_key", value=holder):
            return not KEYS.search(outermost_name(holder)) and not _builds(holder)
        case ast.Attribute(attr=name) if name in PARTS:
            return True
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in RAISED_BY_READING or READS.match(name) is not None
    return False


def _builds(node: ast.expr) -> bool:
    """Whether a chain of calls begins with a builder, which is given the key."""
    while isinstance(node, ast.Call | ast.Attribute):
        if outermost_name(node).endswith("Builder"):
            return True
        node = node.func if isinstance(node, ast.Call) else node.value
    return outermost_name(node).endswith("builder")


def empty_names(everything: Mapping[str, Module]) -> list[str]:
    """Find modules and classes whose names say nothing about what they are."""
    wrong = [name for name in everything if any(EMPTY_WORDS.match(part) for part in name.split("."))]
    for module in everything.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and EMPTY_CLASSES.search(node.name):
                wrong.append(f"{module.at(node)} {node.name}")
    return wrong


def parsed_on_the_reactor(everything: Mapping[str, Module]) -> list[str]:
    """Find modules of the page that parse what somebody sent in the reactor's own thread, which everybody waits for.

    A module that parses is called in a thread as a whole; all others hand its functions to :class:`Runner`.
    """
    page = {name: module for name, module in everything.items() if name.startswith(PAGE)}
    parsers = set(PARSERS)
    for name, module in page.items():
        functions = [each for each in module.tree.body if isinstance(each, ast.FunctionDef)]
        while name in PARSE and (more := {each.name for each in functions if _calls(each, parsers)} - parsers):
            parsers |= more
    public = {each for each in parsers if not each.startswith("_")}
    return [
        f"{module.at(node)} calls {outermost_name(node.func)}: hand it to the runner"
        for name, module in page.items()
        if name not in PARSE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and outermost_name(node.func) in (public if isinstance(node.func, ast.Name) else PARSERS)
    ]


def _calls(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(each, ast.Call) and outermost_name(each.func) in names for each in ast.walk(node))


def idle_tests(everything: Mapping[str, Module]) -> list[str]:
    """Find tests that wait for time to pass, and tests that are not run.

    The one reason for which a test is left out is a program of Debian that is missing: :mod:`tests.programs` tells it,
    and ``.ci/run`` fails on it.
    """
    wrong = []
    for module in everything.values():
        if module.name == "tests.programs":
            continue
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr="sleep")):
                    wrong.append(f"{module.at(node)} sleeps")
                case ast.Call(func=func) if outermost_name(func) in {"SkipTest", "skipIf", "skipUnless", "skip"}:
                    wrong.append(f"{module.at(node)} skips")
                case ast.Attribute(attr="skip" | "todo", ctx=ast.Store()):
                    wrong.append(f"{module.at(node)} skips")
                case ast.Module(body=body) | ast.ClassDef(body=body):
                    wrong += [f"{module.at(line)} skips" for line in body if _is_skip(line)]
    return wrong


def _is_skip(line: ast.stmt) -> bool:
    return isinstance(line, ast.Assign) and any(outermost_name(target) in {"skip", "todo"} for target in line.targets)


def silenced(everything: Mapping[str, Module]) -> list[str]:
    """Find warnings of mypy and ruff that are switched off without saying which one, and why."""
    wrong = []
    for module in everything.values():
        for number, line in enumerate(module.text.splitlines(), 1):
            if SILENCED.search(line) and not SILENCED_WITH_REASON.search(line):
                wrong.append(f"{module.name}:{number} switches a warning off without a reason")
    return wrong


def cut_years(everything: Mapping[str, Module]) -> list[str]:
    """Find moments for people that are not written by ``minute``: ``%Y`` cuts the zeros of a certificate's year 1."""
    return [
        f"{module.at(node)} writes a moment by itself"
        for module in everything.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.JoinedStr) and " %H:%M}" in ast.unparse(node)
    ]


def written() -> Mapping[str, str]:
    """The texts that are no modules, by their place: the documents, and what the page is made of."""
    places = [
        *CHECKOUT.glob("*.md"),
        *(path for folder in ("docs", "newsfragments") for path in (CHECKOUT / folder).rglob("*.md")),
        *(CHECKOUT / "docs").rglob("*.rst"),
        *(path for suffix in ("html", "po") for path in (ROOT / "backend" / "page").rglob(f"*.{suffix}")),
    ]
    return {f"{path.parent.name}/{path.name}": path.read_text(encoding="utf-8") for path in sorted(places)}


def persons(texts: Mapping[str, str]) -> list[str]:
    """Find words for a man where a partner, a peer or an operator is meant.

    :param texts: by the name of their place.
    """
    return [
        f"{place}:{number} speaks of a man: {line.strip()}"
        for place, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if A_MAN.search(line)
    ]


def referring(everything: Mapping[str, Module]) -> list[str]:
    """Find docstrings that send the reader elsewhere for what they are to say."""
    return [
        f"{module.name}:{number} sends the reader elsewhere: {line.strip()}"
        for module in everything.values()
        for number, line in enumerate(module.text.splitlines(), 1)
        if ELSEWHERE.search(line)
    ]


def own_host_ports(everything: Mapping[str, Module]) -> list[str]:
    """Find a host and port that are put together, or taken apart, without ``HostPort``: IPv6 needs brackets."""
    return [
        f"{module.at(node)} writes or reads a host and port by itself"
        for module in everything.values()
        if module.name != ADDRESSES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.JoinedStr | ast.IfExp | ast.Call) and OWN_HOST_PORT.search(ast.unparse(node))
    ]


def names_twice(everything: Mapping[str, Module]) -> list[str]:
    """Find public classes that share their name with one of another module.

    A reader who meets a name knows what it is, wherever it stands. The options of the twistd plugins have the one name
    that Twisted's ServiceMaker looks for.
    """
    places: dict[str, list[str]] = {}
    for module in everything.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name != "Options":
                places.setdefault(node.name, []).append(module.at(node))
    return [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


class Conventions(SynchronousTestCase):
    """The package as it is."""

    def setUp(self) -> None:
        """Parse every module."""
        self.modules = modules()

    def test_peer_text_is_never_a_format(self) -> None:
        """Everything that is logged is logged with a literal format."""
        self.assertEqual([], log_formats(self.modules))

    def test_secrets_are_compared_in_constant_time(self) -> None:
        """Tokens, tickets and digests are never compared with ``==`` or ``!=``."""
        self.assertEqual([], timed_comparisons(self.modules))

    def test_only_the_verifier_proves_a_partner(self) -> None:
        """No other module constructs the object without which no session starts."""
        self.assertEqual([], proofs_made(self.modules))

    def test_certificates_are_read_in_one_place(self) -> None:
        """Whatever the library raises for octets that it cannot read becomes one error of ours."""
        self.assertEqual([], direct_decoding(self.modules))

    def test_the_page_parses_in_threads(self) -> None:
        """No page parses a certificate or a form where everybody waits for it."""
        self.assertEqual([], parsed_on_the_reactor(self.modules))

    def test_names_say_something(self) -> None:
        """There is no ``utils``, ``helpers``, ``common``, ``manager`` or ``handler``."""
        self.assertEqual([], empty_names(self.modules))

    def test_moments_are_written_in_one_way(self) -> None:
        """Whoever tells people a moment writes it as ``minute`` does."""
        self.assertEqual([], cut_years(self.modules))

    def test_persons(self) -> None:
        """A partner is a company, and an operator may be anybody: no text speaks of a man."""
        self.assertEqual([], persons({module.name: module.text for module in self.modules.values()}))
        self.assertEqual([], persons(written()))

    def test_docstrings_say_it_themselves(self) -> None:
        """No docstring says only where another one is."""
        self.assertEqual([], referring(self.modules))

    def test_hosts_and_ports_are_written_in_one_place(self) -> None:
        """Nobody but the module of addresses puts brackets around a host, or takes them off."""
        self.assertEqual([], own_host_ports(self.modules))

    def test_every_class_has_a_name_of_its_own(self) -> None:
        """No two public classes have one name."""
        self.assertEqual([], names_twice(self.modules))

    def test_every_test_runs_at_once(self) -> None:
        """No test sleeps, and none is skipped."""
        self.assertEqual([], idle_tests(modules(TESTS)))

    def test_silenced_warnings_have_a_reason(self) -> None:
        """Wherever a warning of mypy or ruff is switched off, it is one by name, and the line says why."""
        everything = {name: module for name, module in modules(TESTS).items() if name != "tests.test_conventions"}
        self.assertEqual([], silenced({**self.modules, **everything}))


class Planted(SynchronousTestCase):
    """Each check finds what it is for, and nothing else."""

    def judge(self, text: str, name: str = "smartproxy.net.x") -> dict[str, Module]:
        """A package of one module."""
        return {name: parse(name, text)}

    def test_formats(self) -> None:
        """A variable, an f-string, a sum or a call as format is found; literals and constants are not."""
        for text in (
            "log.info(text)",
            "self.log.error(f'{peer}')",
            "self._log.warn('a' + text)",
            "logger.debug(str(error))",
            "log.emit(level, text)",
            "log.failure(text, failure)",
            "log.info(format=text)",
        ):
            self.assertEqual(1, len(log_formats(self.judge(text))), text)
        for text in (
            "log.info('x {peer}', peer=peer)",
            "log.emit(level, FORMAT, a=1)",
            "events.emit(name)",
            "log(text)",
        ):
            self.assertEqual([], log_formats(self.judge(text)), text)

    def test_names_twice(self) -> None:
        """Two public classes of one name are found; private ones, nested ones and the plugins' Options are not."""
        text = "class Step: pass\nclass _Part: pass\nclass Options: pass\nclass Whole:\n    class Inner: pass"
        everything = {name: parse(name, text) for name in ("smartproxy.net.x", "smartproxy.net.y")}
        self.assertEqual(
            [
                "Step: smartproxy.net.x:1, smartproxy.net.y:1",
                "Whole: smartproxy.net.x:4, smartproxy.net.y:4",
            ],
            names_twice(everything),
        )

    def test_host_ports(self) -> None:
        """Brackets around a host before its port, or where it has a colon, are found; others are not."""
        for text in (
            "f'[{host}]:{port}'",
            "f'[{name}]' if ':' in name else name",
            "peer.rpartition(':')[0].strip('[]')",
        ):
            self.assertEqual(1, len(own_host_ports(self.judge(text))), text)
        for text in ("f'{place}[{index}]'", "f'{host}:{port}'", "f'[{default}]'", "str(HostPort(host, port))"):
            self.assertEqual([], own_host_ports(self.judge(text)), text)
        self.assertEqual([], own_host_ports(self.judge("f'[{host}]:{port}'", ADDRESSES)))

    def test_moments(self) -> None:
        """A moment in UTC with a format of its own is found; a day, one for a form, and one by ``minute`` are not."""
        for text in ("f'until {end:%Y-%m-%d %H:%M} UTC'", "until = f'{end:%Y-%m-%d %H:%M}'"):
            self.assertEqual(1, len(cut_years(self.judge(text))), text)
        self.assertEqual([], cut_years(self.judge("f'until {minute(end)}, {day:%Y-%m-%d}, {end:%Y-%m-%dT%H:%M}'")))

    def test_persons(self) -> None:
        """Such a word is found in any text, and within no other word."""
        for text in ("'He is let in'", "x = 1  # his own", "'ask him'"):
            self.assertEqual(1, len(persons({"a": text})), text)
        self.assertEqual([], persons({"a": "the history, this, she, it"}))

    def test_written(self) -> None:
        """Documents, news, templates and translations are among the texts."""
        found = written()
        for place in ("docs/trust.rst", "docs/transcript.md", "templates/partners.html", "locale/de.po", "said/en.po"):
            self.assertIn(place, found)
        self.assertTrue(any(place.endswith("/README.md") for place in found))
        self.assertTrue(any(place.startswith("newsfragments/") for place in found))

    def test_docstrings_say_it_themselves(self) -> None:
        """A docstring that begins with another place is found; one that names it after what it says is not."""
        for text in ('"""See :meth:`a.b`."""', 'def f():\n    """See :func:`c`: there is none."""'):
            self.assertEqual(1, len(referring(self.judge(text))), text)
        self.assertEqual([], referring(self.judge('"""Call it; see :func:`c`."""')))

    def test_comparisons(self) -> None:
        """Names with token, ticket or digest on either side of ``==`` are found; lengths and queries are not."""
        for text in (
            "token == given",
            "given != self.token_digest",
            "hash.hexdigest() == x",
            "tickets[n] == x",
            "1 == Ticket",
        ):
            self.assertEqual(1, len(timed_comparisons(self.judge(text))), text)
        for text in (
            "len(ticket) == 32",
            "token is None",
            "compare_digest(a, b)",
            "select(x).where(C.token_digest == d)",
        ):
            self.assertEqual([], timed_comparisons(self.judge(text)), text)

    def test_proofs(self) -> None:
        """A proof made anywhere but in the verifier is found."""
        for text in ("VerifiedPartner(partner=p)", "identity.VerifiedPartner()"):
            self.assertEqual(1, len(proofs_made(self.judge(text))), text)
            self.assertEqual([], proofs_made(self.judge(text, PROOF_MAKER)))

    def test_decoding(self) -> None:
        """Reading octets, asking for a part that may be damaged, and catching what the library raises are found."""
        for text in (
            "x509.load_der_x509_certificate(octets)",
            "load_pem_private_key(octets, None)",
            "pkcs12.load_key_and_certificates(octets, None)",
            "name.rfc4514_string()",
            "shown.to_cryptography()",
            "certificate.public_key()",
            "leaf().extensions",
            "try: pass\nexcept x509.InvalidVersion: pass",
            "try: pass\nexcept UnsupportedAlgorithm: pass",
        ):
            self.assertEqual(1, len(direct_decoding(self.judge(text))), text)
            self.assertEqual([], direct_decoding(self.judge(text, DECODER)), text)
        for text in (
            "with decoding():\n    shown.to_cryptography()",
            "self.https_key.public_key()",
            "x509.CertificateBuilder().issuer_name(name).public_key(of)",
            "public_key(certificate)",
        ):
            self.assertEqual([], direct_decoding(self.judge(text)), text)
        text = "load_pem_private_key(octets, None)"
        self.assertEqual([], direct_decoding(self.judge(text, KEY_FILES)))

    def test_parsing(self) -> None:
        """A parser that a page calls is found, and what calls one in a module of its own; one that is handed on not."""
        apart = {f"{PAGE}differences": "def rows_of(a): return _in(a)\ndef _in(a): return read_certificates(a, '')"}
        for text in ("read_certificates(a, b)", "certificate_in(a)", "rows_of(a)"):
            texts = {**apart, f"{PAGE}x": text}
            self.assertEqual(1, len(parsed_on_the_reactor({name: parse(name, each) for name, each in texts.items()})))
        for text in ("await runner.run(rows_of, a)", "await visit.rows(a)"):
            texts = {**apart, f"{PAGE}x": f"async def f(): {text}"}
            self.assertEqual([], parsed_on_the_reactor({name: parse(name, each) for name, each in texts.items()}))
        self.assertEqual([], parsed_on_the_reactor(self.judge("read_certificates(a, b)")))

    def test_names(self) -> None:
        """Modules and classes with an empty name are found; parts of longer words are not."""
        self.assertEqual(1, len(empty_names(self.judge("", "smartproxy.net.utils"))))
        self.assertEqual(1, len(empty_names(self.judge("", "smartproxy.common.x"))))
        self.assertEqual(1, len(empty_names(self.judge("class SessionManager: pass"))))
        self.assertEqual([], empty_names(self.judge("class Common: pass", "smartproxy.net.commonality")))

    def test_idle_tests(self) -> None:
        """Sleeping and each way of skipping are found."""
        for text in (
            "time.sleep(1)",
            "@skipIf(x, 'y')\ndef f(): pass",
            "raise SkipTest('x')",
            "def f(): g.skip = 'x'",
            "class T:\n    todo = 'x'",
        ):
            self.assertEqual(1, len(idle_tests(self.judge(text))), text)
        self.assertEqual([], idle_tests(self.judge("clock.sleep(1); skipped = 1\ndef f(): skip = 1")))

    def test_silenced(self) -> None:
        """A silenced warning without its name or without a reason is found; one that has both is not."""
        for text in (
            "x = 1  # type: ignore",
            "x = 1  # type: ignore[arg-type]",
            "x = 1  # type: ignore[arg-type]  #",
            "x = 1  # type: ignore  # because",
            "x = 1  # noqa",
            "x = 1  # noqa: E501",
            "x = 1  #type: ignore",
        ):
            self.assertEqual(1, len(silenced(self.judge(text))), text)
        for text in ("x = 1  # type: ignore[arg-type, misc]  # by name", "x = 1  # noqa: S101  # a test", "x = 1"):
            self.assertEqual([], silenced(self.judge(text)), text)
