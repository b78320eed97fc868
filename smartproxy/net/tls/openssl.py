"""What pyOpenSSL has no public call for.

Duty: read and write records in buffers of ours, without an object and an exception for each; let the verify callback
choose OpenSSL's error number, because the TLS alert that a refused peer sees is worded after it; let it see the path
that OpenSSL found before a signature of it is checked; put OpenSSL's error numbers into its own words; and have two
ends that share a secret prove themselves by it. This is the one module that uses private names of pyOpenSSL. It looks
them up when they are used and does without where they are missing: records then take the public calls, peers see
``internal_error``, a worthless path is refused at its end only, and no secret is used. :func:`is_complete`,
:func:`has_records` and :func:`has_secrets` say which of the two it is. Standards: RFC 5246 section 7.2.2, RFC 8446
sections 2.2, 4.2.11 and 6.2.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias, cast

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

_ALERT = SSL.SSL_CB_ALERT

_NEEDED_FOR_RECORDS = ("SSL_read", "SSL_write", "SSL_get_error", "BIO_read", "BIO_write", "SSL_ERROR_WANT_READ")

_NEEDED_FOR_SECRETS = (
    "Cryptography_SSL_SESSION_new",
    "SSL_CIPHER_find",
    "SSL_CTX_set1_curves_list",
    "SSL_CTX_set_psk_find_session_callback",
    "SSL_CTX_set_psk_use_session_callback",
    "SSL_SESSION_set1_master_key",
    "SSL_SESSION_set_cipher",
    "SSL_SESSION_set_protocol_version",
    "SSL_session_reused",
)

_USE_SECRET: Final = "int (*)(SSL *, const EVP_MD *, const unsigned char **, size_t *, SSL_SESSION **)"
_FIND_SECRET: Final = "int (*)(SSL *, const unsigned char *, size_t, SSL_SESSION **)"

SECRET_OCTETS: Final = 48
"""Octets of a secret: as many as the hash of :data:`_SECRETS_SUITE` has, SHA-384."""

_SECRETS_SUITE: Final = b"\x13\x02"
"""TLS_AES_256_GCM_SHA384 (RFC 8446 appendix B.4): the first that both ends of ours offer."""

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


def watch_alerts(context: SSL.Context, told: Callable[[SSL.Connection, int, int], None]) -> None:
    """Have a function told of alerts as ``set_info_callback`` would, and of other steps of a handshake if need be only.

    There are twenty of them, and pyOpenSSL looks the connection up for each before it asks anybody.

    :param context: has no connection yet.
    """
    ffi, lib = _private("ffi"), _private("lib")
    connections = getattr(SSL.Connection, "_reverse_mapping", None)
    if (
        ffi is None
        or connections is None
        or not hasattr(lib, "SSL_CTX_set_info_callback")
        or not hasattr(context, "_context")
    ):
        context.set_info_callback(told)
        return

    @ffi.callback("void (*)(const SSL *, int, int)")  # type: ignore[untyped-decorator]  # cffi has no types
    def look(ssl: Any, where: int, value: int) -> None:
        if where & _ALERT:
            told(connections[ssl], where, value)

    lib.SSL_CTX_set_info_callback(context._context, look)
    # The callback lives as long as the context.
    context._info_callback = look


def _path(store: Any) -> list[crypto.X509]:
    ffi, lib = _private("ffi"), _private("lib")
    stack = lib.X509_STORE_CTX_get1_chain(store)
    if stack == ffi.NULL:
        return []
    found = [lib.sk_X509_value(stack, number) for number in range(lib.sk_X509_num(stack))]
    # get1 counted a reference for each certificate already: each is given to its owner in Python.
    lib.sk_X509_free(stack)
    return [crypto.X509._from_raw_x509_ptr(each) for each in found]


@lru_cache(maxsize=64)
def error_text(code: int) -> str:
    """OpenSSL's words for an ``X509_V_ERR_...`` number."""
    if not is_complete():
        return f"OpenSSL error {code}"
    words: bytes = _private("ffi").string(_private("lib").X509_verify_cert_error_string(code))
    return words.decode("ascii", "replace")


def _private(name: str) -> Any:
    """What pyOpenSSL's private module has by this name; ``None`` if there is no such module or name."""
    return getattr(getattr(OpenSSL, "_util", None), name, None)


def forget_errors() -> None:
    """Empty OpenSSL's queue of errors, which all connections of a thread share.

    A certificate whose signature does not count, since the verify callback accepted it, leaves its errors there. The
    next connection that meets an error would take them for its own; with OpenSSL 3 it would take them for one.
    """
    clear = getattr(_private("lib"), "ERR_clear_error", None)
    if clear is not None:
        clear()


def drop_bios(connection: SSL.Connection) -> bool:
    """Take away a connection's memory BIOs, which it needs only while octets come or go.

    They keep the size of the largest piece that went through them. Nothing is read or written before :func:`make_bios`.

    :return: whether they are gone: not if there are octets in them, or pyOpenSSL lacks a name for it.
    """
    ffi, lib, ours = _private("ffi"), _private("lib"), cast(Any, connection)
    try:
        held, exchange, _, _ = lib.BIO_get_mem_data, lib.SSL_set_bio, lib.BIO_new, lib.BIO_s_mem
        ssl, into, out, null = ours._ssl, ours._into_ssl, ours._from_ssl, ffi.NULL
    except AttributeError:
        return False
    if held(into, null) or held(out, null):
        return False
    # OpenSSL frees them here.
    exchange(ssl, null, null)
    ours._into_ssl = ours._from_ssl = None
    return True


def make_bios(connection: SSL.Connection) -> None:
    """Give a connection memory BIOs in the place of those that :func:`drop_bios` took.

    :raises MemoryError: if there is no memory for them.
    """
    lib, ours = _private("lib"), cast(Any, connection)
    into, out = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
    if not (into and out):
        raise MemoryError("no memory for the octets of a connection")
    # OpenSSL frees them with the connection.
    lib.SSL_set_bio(ours._ssl, into, out)
    ours._into_ssl, ours._from_ssl = into, out


def has_secrets() -> bool:
    """Whether this pyOpenSSL has the private names that :func:`show_secret` and :func:`know_secrets` use."""
    lib = _private("lib")
    return (
        _private("ffi") is not None
        and all(hasattr(lib, name) for name in _NEEDED_FOR_SECRETS)
        and hasattr(SSL.Connection, "_reverse_mapping")
    )


def show_secret(context: SSL.Context, find: Callable[[SSL.Connection], tuple[bytes, bytes] | None]) -> None:
    """Have a client prove itself by a secret that the server knows; by its certificate to a server that does not.

    The keys of a connection are made of the secret and of an exchange by X25519. The secret keeps what is said safe
    from somebody who can break that exchange one day: there is no need for an exchange by ML-KEM, whose keys OpenSSL
    would hold as long as the connection.

    :param context: offers TLS 1.3 alone, and has no connection yet; :func:`has_secrets` is true.
    :param find: what the secret of a connection is called, which can be read on the way, and the secret,
        :data:`SECRET_OCTETS` of them; ``None`` if it has none. It never raises.
    """
    ffi, lib = _private("ffi"), _private("lib")
    connections = SSL.Connection._reverse_mapping
    shown: list[Any] = []

    @ffi.callback(_USE_SECRET)  # type: ignore[untyped-decorator]  # cffi has no types
    def use(ssl: Any, digest: Any, names: Any, octets: Any, sessions: Any) -> int:
        found = find(connections[ssl])
        if found is not None:
            # OpenSSL makes a copy of the name as soon as this has returned.
            shown[:] = [ffi.new("unsigned char[]", found[0])]
            names[0], octets[0] = shown[0], len(found[0])
        sessions[0] = ffi.NULL if found is None else _session_of(ssl, found[1])
        return 1

    lib.SSL_CTX_set_psk_use_session_callback(context._context, use)
    lib.SSL_CTX_set1_curves_list(context._context, b"X25519")
    # The callback lives as long as the context.
    vars(context)["_secret"] = use


def know_secrets(context: SSL.Context, find: Callable[[SSL.Connection, bytes], bytes | None]) -> None:
    """Have a server take clients that prove themselves by a secret, beside those that show a certificate.

    :param context: offers TLS 1.3 alone, and has no connection yet; :func:`has_secrets` is true.
    :param find: given the name of a secret that somebody claims to know; the secret, ``None`` if there is no such. It
        never raises. That the other end knows the secret is proved at the end of the handshake, not before.
    """
    ffi, lib = _private("ffi"), _private("lib")
    connections = SSL.Connection._reverse_mapping

    @ffi.callback(_FIND_SECRET)  # type: ignore[untyped-decorator]  # cffi has no types
    def look(ssl: Any, name: Any, octets: int, sessions: Any) -> int:
        secret = find(connections[ssl], bytes(ffi.buffer(name, octets)))
        sessions[0] = ffi.NULL if secret is None else _session_of(ssl, secret)
        return 1

    # OpenSSL wants to know for what a session is good before it takes one, also if it is not one that was saved.
    context.set_session_id(b"secrets")
    lib.SSL_CTX_set_psk_find_session_callback(context._context, look)
    vars(context)["_secrets"] = look


def proved_by_secret(connection: SSL.Connection) -> bool:
    """Whether the two ends of a connection proved themselves by a secret, once its handshake is over."""
    return has_secrets() and bool(_private("lib").SSL_session_reused(vars(connection)["_ssl"]))


def _session_of(ssl: Any, secret: bytes) -> Any:
    """A session that OpenSSL takes for the secret, and frees; ``NULL`` if it cannot."""
    ffi, lib = _private("ffi"), _private("lib")
    suite = lib.SSL_CIPHER_find(ssl, ffi.new("unsigned char[]", _SECRETS_SUITE))
    session = lib.Cryptography_SSL_SESSION_new()
    if suite != ffi.NULL and session != ffi.NULL:
        lib.SSL_SESSION_set1_master_key(session, ffi.from_buffer(secret), len(secret))
        lib.SSL_SESSION_set_cipher(session, suite)
        lib.SSL_SESSION_set_protocol_version(session, SSL.TLS1_3_VERSION)
    return session


def has_records() -> bool:
    """Whether this pyOpenSSL has the private names that :class:`DirectRecords` uses."""
    lib = _private("lib")
    attributes = ("_ssl", "_from_ssl", "_into_ssl", "_raise_ssl_error")
    try:
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    except Exception:
        return False
    return (
        _private("ffi") is not None
        and all(hasattr(lib, name) for name in _NEEDED_FOR_RECORDS)
        and all(name in vars(connection) or hasattr(type(connection), name) for name in attributes)
    )


_NOTHING: Final = memoryview(b"")


class DirectRecords:
    """Decrypts into one buffer and encrypts into another one, which all connections share.

    OpenSSL writes into these buffers itself. How much it may write is bounded here, and nowhere else: by what is left
    of the buffer behind the position that it is given.

    :param plain: where records are decrypted to.
    :param sealed: where they are encrypted to.
    :param record: octets of the largest record.
    :param piece: octets that OpenSSL is given at a time.
    :raises AttributeError: unless :func:`has_records`.
    """

    def __init__(
        self, plain: bytearray | memoryview, sealed: bytearray | memoryview, *, record: int, piece: int
    ) -> None:
        ffi, lib = _private("ffi"), _private("lib")
        self._from_buffer = ffi.from_buffer
        # The views hold the buffers, so that these keep their size and place.
        self._plain, self._plain_octets = ffi.from_buffer("char[]", plain), len(plain)
        self._sealed, self._sealed_octets = ffi.from_buffer("char[]", sealed), len(sealed)
        self._record, self._piece = record, piece
        self._ssl_read, self._ssl_write = lib.SSL_read, lib.SSL_write
        self._bio_read, self._bio_write = lib.BIO_read, lib.BIO_write
        self._get_error, self._want_read = lib.SSL_get_error, lib.SSL_ERROR_WANT_READ

    def unseal(self, connection: Any, octets: memoryview, start: int, end: int) -> tuple[int, int, SSL.Error | None]:
        """Give OpenSSL what the peer sent after the handshake, a piece at a time, and decrypt it.

        :param start: the first octet that it is not given yet.
        :param end: how many octets of the buffer are taken.
        :return: the first octet that it is not given now, and as :meth:`decrypt`.
        :raises MemoryError: if it cannot keep all of a piece.
        """
        ssl, into, most = connection._ssl, connection._into_ssl, self._plain_octets - self._record
        read, plain, record = self._ssl_read, self._plain, self._record
        with self._from_buffer(octets) as given:
            length = len(given)
            if not 0 <= start <= length or end < 0:
                raise ValueError("a position outside of the octets")
            while end <= most:
                if start < length:
                    piece = min(self._piece, length - start)
                    if self._bio_write(into, given + start, piece) != piece:
                        raise MemoryError("OpenSSL cannot keep the octets of a peer")
                    start += piece
                while end <= most:
                    count = read(ssl, plain + end, record)
                    if count <= 0:
                        if self._get_error(ssl, count) != self._want_read:
                            return start, end, self._error(connection, count)
                        break
                    end += count
                if start == length:
                    break
        return start, end, None

    def decrypt(self, connection: Any, end: int) -> tuple[int, SSL.Error | None]:
        """Decrypt what there is, behind the octets that are there already.

        :param end: how many octets of the buffer are taken.
        :return: how many are taken now, and why OpenSSL stopped: ``None`` if it waits for octets of the peer or the
            buffer has no room for another record.
        """
        _, end, error = self.unseal(connection, _NOTHING, 0, end)
        return end, error

    def encrypt(self, connection: Any, data: Any, start: int) -> tuple[int, int, SSL.Error | None]:
        """Encrypt octets, as far as the buffer has room.

        :param start: the first octet of *data* that is not encrypted yet.
        :return: the first one that is not encrypted now, how many octets of the buffer are taken, and why OpenSSL
            stopped, ``None`` if it did not.
        """
        ssl, write = connection._ssl, self._ssl_write
        room, filled = self._sealed_octets, 0
        error: SSL.Error | None = None
        with self._from_buffer(data) as octets:
            length = len(octets)
            if not 0 <= start <= length:
                raise ValueError("a position outside of the octets")
            # Twice the piece: what it grows by, and what OpenSSL has to say of itself.
            while start < length and room - filled >= 2 * self._piece:
                count = write(ssl, octets + start, min(self._piece, length - start))
                if count <= 0:
                    error = self._error(connection, count) or SSL.WantReadError()
                    break
                start += count
                filled += max(0, self._bio_read(connection._from_ssl, self._sealed + filled, room - filled))
        return start, self.take(connection, filled) if error or not filled else filled, error

    def take(self, connection: Any, filled: int = 0) -> int:
        """Take what OpenSSL wants to be sent, as far as the buffer has room.

        :param filled: how many octets of the buffer are taken already.
        :return: how many are taken now.
        """
        if not 0 <= filled <= self._sealed_octets:
            raise ValueError("a position outside of the buffer")
        # One call takes all, or all that there is room for.
        count: int = self._bio_read(connection._from_ssl, self._sealed + filled, self._sealed_octets - filled)
        return filled + max(0, count)

    def _error(self, connection: Any, count: int) -> SSL.Error | None:
        if self._get_error(connection._ssl, count) == self._want_read:
            return None
        try:
            connection._raise_ssl_error(connection._ssl, count)
        except SSL.Error as error:
            # Its frames would keep buffers alive until the garbage is collected.
            return error.with_traceback(None)
        return SSL.Error([])
