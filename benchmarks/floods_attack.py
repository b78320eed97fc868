"""What attackers and callers do in ``floods.py``, in a process of its own. Loopback only; bounded in number and time.

Standard library only, because it has to be faster than what it attacks. Prints one line of JSON at its end.
"""

import argparse
import contextlib
import itertools
import json
import socket
import ssl
import statistics
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

SOURCES: Final = 6_000
HELD_MOST: Final = 8_000
BIND_ADDRESS_NO_PORT: Final = 24
ABORT: Final = struct.pack("ii", 1, 0)


def source(number: int) -> str:
    """One of the loopback addresses, none of which a daemon of the site has."""
    return f"127.{100 + number // 62_500 % 100}.{number // 250 % 250}.{number % 250 + 1}"


def connect(port: int, host: str) -> socket.socket:
    """Begin to connect from an address."""
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    made.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
    made.bind((host, 0))
    made.connect_ex(("127.0.0.1", port))
    return made


def hello() -> bytes:
    """The first record of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    connection = context.wrap_bio(incoming, outgoing, server_hostname="oftp.muster.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def flood(port: int, seconds: float, rate: float, hosts: Iterator[str], octets: bytes) -> dict[str, object]:
    """Connect as fast as it goes, or at a rate; say the octets, and nothing more; hold what was connected."""
    held: deque[socket.socket] = deque()
    spoken: deque[socket.socket] = deque()
    begun = time.monotonic()
    made = failed = 0
    while (passed := time.monotonic() - begun) < seconds:
        if rate and made + failed > rate * passed:
            time.sleep(0.0005)
            continue
        try:
            held.append(connect(port, next(hosts)))
        except OSError:
            failed += 1
            continue
        made += 1
        if octets:
            spoken.append(held[-1])
            if len(spoken) > 8:
                say(spoken.popleft(), octets)
        if len(held) > HELD_MOST:
            held.popleft().close()
    return {"connections": made, "failed": failed, "rate": round(made / seconds)}


def say(to: socket.socket, octets: bytes) -> None:
    """Say something to whoever still listens."""
    with contextlib.suppress(OSError):
        to.send(octets)


def secured(port: int, host: str, context: ssl.SSLContext, name: str, seconds: float) -> ssl.SSLSocket:
    """Connect with TLS."""
    plain = socket.create_connection(("127.0.0.1", port), seconds, (host, 0))
    plain.settimeout(seconds)
    return context.wrap_socket(plain, server_hostname=name)


def buffer(line: ssl.SSLSocket) -> bytes:
    """The next Exchange Buffer."""
    header = exactly(line, 4)
    return exactly(line, int.from_bytes(header[1:], "big") - 4)


def exactly(line: ssl.SSLSocket, count: int) -> bytes:
    """So many octets."""
    got = b""
    while len(got) < count:
        more = line.recv(count - len(got))
        if not more:
            raise ConnectionError("closed")
        got += more
    return got


def session(port: int, host: str, context: ssl.SSLContext, opening: bytes, end: bytes, seconds: float) -> str:
    """Call as a partner; "in" if the station's SSID came, else why not."""
    try:
        with secured(port, host, context, "oftp.muster.example", seconds) as line:
            buffer(line)
            line.sendall(opening)
            answer = buffer(line)
            line.sendall(end)
            return "in" if answer[:1] == b"X" else f"refused: {answer[1:3].decode('ascii', 'replace')}"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return type(error).__name__


def sessions(options: argparse.Namespace) -> dict[str, object]:
    """So many partners' calls, spread evenly over the time, each from an address of its own."""
    context = ssl.create_default_context(cafile=options.ca)
    context.load_cert_chain(options.certificate, options.key)
    opening, end = bytes.fromhex(options.opening), bytes.fromhex(options.end)
    results: list[tuple[str, float]] = []

    def call(number: int) -> None:
        begun = time.monotonic()
        how = session(options.port, f"127.9.0.{number + 1}", context, opening, end, options.patience)
        results.append((how, time.monotonic() - begun))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(options.count)]
    for thread in threads:
        thread.start()
        time.sleep(options.seconds / options.count)
    for thread in threads:
        thread.join()
    spent = sorted(seconds for how, seconds in results if how == "in")
    hows = Counter(how for how, _ in results)
    return {
        "calls": len(results),
        "in": hows.pop("in", 0),
        "not": dict(hows),
        "median": round(statistics.median(spent), 2) if spent else None,
        "longest": round(spent[-1], 2) if spent else None,
    }


def bare() -> ssl.SSLContext:
    """TLS that checks nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def drip(options: argparse.Namespace) -> dict[str, object]:
    """So many https connections that send an octet of a header a second, and connect again when they are closed."""
    context, lines = bare(), dict[int, ssl.SSLSocket]()
    closed = refused = 0
    until = time.monotonic() + options.seconds
    hosts = addresses(options.sources)
    while time.monotonic() < until:
        turn = time.monotonic()
        for number in range(options.count):
            line = lines.get(number)
            try:
                if line is None:
                    lines[number] = line = secured(options.port, next(hosts), context, "127.0.0.1", 2.0)
                    line.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
                line.sendall(b"x")
            except OSError:
                refused, closed = refused + (line is None), closed + (line is not None)
                if line is not None:
                    line.close()
                lines.pop(number, None)
            if time.monotonic() > until:
                break
        time.sleep(max(0.0, min(turn + 1.0, until) - time.monotonic()))
    return {"connections": len(lines), "closed": closed, "not connected": refused}


def bodies(options: argparse.Namespace) -> dict[str, object]:
    """So many calls at once without a token, each with a body of a MiB."""
    context = bare()
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1048576\r\n\r\n"
    ends: Counter[str] = Counter()
    lines: list[ssl.SSLSocket] = []
    hosts = addresses(options.sources)
    for _ in range(options.count):
        try:
            lines.append(secured(options.port, next(hosts), context, "127.0.0.1", 2.0))
            lines[-1].sendall(head)
        except OSError as error:
            ends[type(error).__name__] += 1
    for _ in range(1023):
        for line in list(lines):
            try:
                line.sendall(b"x" * 1024)
            except OSError as error:
                ends[type(error).__name__] += 1
                lines.remove(line)
    time.sleep(options.seconds)
    return {"whole but for an octet": len(lines), "ended": dict(ends)}


def polls(options: argparse.Namespace) -> dict[str, object]:
    """A client's calls with its token, one a second, each on a connection of its own."""
    context = ssl.create_default_context(cafile=options.ca)
    context.check_hostname = False
    token = Path(options.token).read_text().strip()
    head = f"GET /api/v1/licences HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    head += f"SmartProxy-Version: {options.version}\r\nSmartProxy-Protocol: {options.protocol}\r\n\r\n"
    spent: list[float] = []
    failed: Counter[str] = Counter()
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        try:
            with secured(options.port, "127.0.0.1", context, "127.0.0.1", options.patience) as line:
                line.sendall(head.encode())
                answer = line.recv(64)
                if answer.startswith(b"HTTP/1.1 200"):
                    spent.append(time.monotonic() - begun)
                else:
                    failed[answer[:12].decode("ascii", "replace") or "closed"] += 1
        except OSError as error:
            failed[type(error).__name__] += 1
        time.sleep(max(0.0, begun + 1.0 - time.monotonic()))
    longest = round(max(spent), 2) if spent else None
    return {"answered": len(spent), "not": dict(failed), "longest": longest}


def idle(options: argparse.Namespace) -> dict[str, object]:
    """So many partners' connections that are verified and say no SSID, until standard input ends."""
    context = ssl.create_default_context(cafile=options.ca)
    context.load_cert_chain(options.certificate, options.key)
    lines: list[ssl.SSLSocket] = []
    for number in range(options.count):
        lines.append(secured(options.port, source(number), context, "oftp.muster.example", options.patience))
        buffer(lines[-1])
    print(json.dumps({"event": "Connected", "count": len(lines)}), flush=True)
    time.sleep(options.seconds)
    for line in lines:
        line.close()
    return {"connections": len(lines)}


def addresses(count: int) -> Iterator[str]:
    """So many addresses, over and over; none means the site's own."""
    return itertools.cycle([source(number) for number in range(count)] or ["127.0.0.1"])


def main(arguments: list[str]) -> None:
    """Do one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["silent", "hello", "garbage", "sessions", "drip", "bodies", "polls", "idle"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--sources", type=int, default=SOURCES)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--patience", type=float, default=20.0)
    for name in ("ca", "certificate", "key", "opening", "end", "token", "version", "protocol"):
        parser.add_argument(f"--{name}", default="")
    options = parser.parse_args(arguments)
    spoken: dict[str, Callable[[], bytes]] = {
        "silent": lambda: b"",
        "hello": hello,
        "garbage": lambda: b"GET / HTTP/1.0\r\n\r\n",
    }
    others: dict[str, Callable[[argparse.Namespace], dict[str, object]]] = {
        "sessions": sessions,
        "drip": drip,
        "bodies": bodies,
        "polls": polls,
        "idle": idle,
    }
    if options.what in spoken:
        hosts = addresses(options.sources)
        result = flood(options.port, options.seconds, options.rate, hosts, spoken[options.what]())
    else:
        result = others[options.what](options)
    print(json.dumps({"event": "Done", **result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
