"""What pyOpenSSL has no public call for.

Duty: let the verify callback choose OpenSSL's error number, because the TLS alert that a refused peer sees is worded
after it; let it see the path that OpenSSL found before a signature of it is checked; and put OpenSSL's error numbers
into its own words. This is the one module that uses private names of pyOpenSSL. It looks them up at each call and does
without where they are missing: peers then see ``internal_error``, and a worthless path is refused at its end only.
:func:`is_complete` says at start which of the two it is. Standards: RFC 5246 section 7.2.2, RFC 8446 section 6.2.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import OpenSSL
from OpenSSL import SSL, crypto

_NEEDED = (
    "SSL_CTX_set_verify",
    "X509_STORE_CTX_set_error",
    "X509_STORE_CTX_get1_chain",
    "X509_verify_cert_error_string",
    "sk_X509_free",
    "sk_X509_num",
    "sk_X509_value",
)

GetPath: TypeAlias = Callable[[], list[crypto.X509]]
"""Gives the path as OpenSSL has built it so far, the peer's own certificate first; empty if there is none."""


def is_complete() -> bool:
    """Whether this pyOpenSSL has the private names that are used here."""
    lib = _private("lib")
    return _private("ffi") is not None and all(hasattr(lib, name) for name in _NEEDED)


def choose_errors(
    context: SSL.Context, mode: int, chosen: Callable[[], int], look: Callable[[GetPath], object] = lambda path: None
) -> None:
    """Make OpenSSL believe that the error it met is ``chosen()`` whenever the context's verify callback refuses.

    :param context: has its verify callback already, and no connection yet.
    :param mode: the mode given to ``set_verify``.
    :param chosen: called right after the callback refused; returns an ``X509_V_ERR_...`` number.
    :param look: called right before the callback, with what gives the path; that may be called until the callback
        returns, and never after.
    """
    if not is_complete() or not hasattr(context, "_verify_callback") or not hasattr(context, "_context"):
        return
    verify: Any = context._verify_callback
    ffi, lib = _private("ffi"), _private("lib")

    @ffi.callback("int (*)(int, X509_STORE_CTX *)")  # type: ignore[untyped-decorator]  # cffi has no types
    def choose(ok: int, store: Any) -> int:
        look(partial(_path, store))
        accepted: int = verify(ok, store)
        look(list)
        if not accepted:
            lib.X509_STORE_CTX_set_error(store, chosen())
        return accepted

    lib.SSL_CTX_set_verify(context._context, mode, choose)
    # Connections take a reference to this attribute, so that the callback lives as long as they do.
    context._verify_callback = choose


def _path(store: Any) -> list[crypto.X509]:
    ffi, lib = _private("ffi"), _private("lib")
    stack = lib.X509_STORE_CTX_get1_chain(store)
    if stack == ffi.NULL:
        return []
    found = [lib.sk_X509_value(stack, number) for number in range(lib.sk_X509_num(stack))]
    # get1 counted a reference for each certificate already: each is given to its owner in Python.
    lib.sk_X509_free(stack)
    return [crypto.X509._from_raw_x509_ptr(each) for each in found]


def error_text(code: int) -> str:
    """OpenSSL's words for an ``X509_V_ERR_...`` number."""
    if not is_complete():
        return f"OpenSSL error {code}"
    words: bytes = _private("ffi").string(_private("lib").X509_verify_cert_error_string(code))
    return words.decode("ascii", "replace")


def _private(name: str) -> Any:
    """What pyOpenSSL's private module has by this name; ``None`` if there is no such module or name."""
    return getattr(getattr(OpenSSL, "_util", None), name, None)
