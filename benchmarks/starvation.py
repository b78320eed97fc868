"""What one hostile partner takes from another: latency and throughput beside each attack, and when the attack ends.

    python benchmarks/starvation.py [--seconds 8] [--only updates,unread,records,subrecords,commands]

Real daemons on loopback; one partner attacks, another one works. The attacks are those of a partner with a good
certificate: ``updates`` asks for a new key again and again and reads the answers, ``unread`` does not read them;
``records`` sends DATA in TLS records of one octet; ``subrecords`` sends Data Exchange Buffers of subrecords that hold
nothing or one octet; ``commands`` sends end responses as fast as they are answered. The attacker is a process of its
own, so that on two processors it takes a part of what the daemons would have: the row ``busy`` shows what a process
costs that only counts. An attack that the server ends is begun anew at once, unless it is refused.
"""

import argparse
import ctypes
import ctypes.util
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

sys.path.insert(0, str(Path(__file__).parent))

from daemons import PARTNER, STATION_CODE, BenchSite
from exchange import FixedPartner, FixedStation, said, ssid

from smartproxy.oftp2.commands import EERP
from smartproxy.oftp2.stream import frame
from smartproxy.testing.pki import self_signed

ATTACKS: Final = ("updates", "unread", "records", "subrecords", "commands")
BUFFER: Final = 2048
CREDIT: Final = 64
HOSTILE: Final = "O0013000002EVIL"
BULK_OCTETS: Final = 4_000_000


class Attacker(FixedPartner):
    """A partner that has offered a file and may send."""

    def offer(self) -> socket.socket:
        """Offer a file without an end; where its octets go."""
        self._ask(self._offer(10**9), b"2")
        return self._stream

    def flood(self, what: str) -> None:
        """Attack until the server ends it."""
        if what == "commands":
            named: dict[str, Any] = {
                "dsn": "FIXED",
                "date": 20261120,
                "time": 1200000001,
                "dest": STATION_CODE,
                "orig": HOSTILE,
            }
            while True:
                self._ask(EERP(**named, hsh=b"", sig=b""), b"P")
        stream = self.offer()
        if what == "records":
            buffer = frame(b"D" + (b"\x3f" + bytes(63)) * 31)
            while True:
                for _ in range(CREDIT):
                    for octet in buffer:
                        stream.send(bytes((octet,)))
                self._hear(b"C")
        buffer = frame(b"D" + b"\x00\x01\x00\x00\x01\x00\x00\x00\x01\x00"[:10] * 204)
        while True:
            stream.sendall(buffer * CREDIT)
            self._hear(b"C")


def flood_of_updates(port: int, certificate: str, key: str, *, reads: bool) -> None:
    """Ask for new keys until the server ends it; Python's own TLS cannot ask.

    :param reads: whether the answers are read.
    """
    library = ctypes.CDLL(ctypes.util.find_library("ssl"))
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
    library.SSL_CTX_use_certificate_chain_file(context, certificate.encode())
    library.SSL_CTX_use_PrivateKey_file(context, key.encode(), 1)
    tls = ctypes.c_void_p(library.SSL_new(context))
    plain = socket.create_connection(("127.0.0.1", port))
    library.SSL_set_fd(tls, plain.fileno())
    if library.SSL_connect(tls) != 1:
        raise SystemExit("the handshake failed")
    room = ctypes.create_string_buffer(65536)
    library.SSL_read(tls, room, 65536)
    greeting = said(ssid(HOSTILE, BUFFER, CREDIT))
    library.SSL_write(tls, greeting, len(greeting))
    library.SSL_read(tls, room, 65536)
    while not reads:
        library.SSL_key_update(tls, 1)
        if library.SSL_do_handshake(tls) != 1:
            return
    plain.setblocking(False)
    while True:
        library.SSL_key_update(tls, 1)
        while library.SSL_do_handshake(tls) != 1:
            library.SSL_read(tls, room, 65536)
            if library.SSL_get_shutdown(tls) or plain.fileno() < 0:
                return
        if library.SSL_read(tls, room, 65536) == 0 or library.SSL_get_shutdown(tls):
            return


def attack(what: str, port: int, certificate: str, key: str) -> None:
    """Attack again and again, each time saying how long it lasted."""
    while True:
        begun = time.monotonic()
        try:
            if what == "busy":
                while True:
                    pass
            if what in ("updates", "unread"):
                flood_of_updates(port, certificate, key, reads=what == "updates")
            else:
                Attacker(
                    port,
                    code=HOSTILE,
                    station=STATION_CODE,
                    certificate=Path(certificate),
                    key=Path(key),
                    buffer_size=BUFFER,
                    credit=CREDIT,
                ).flood(what)
        except (OSError, RuntimeError):
            pass
        print(f"{time.monotonic() - begun:.1f}", flush=True)
        time.sleep(0.2)


def worked(partner: FixedPartner, seconds: float) -> tuple[float, float, float]:
    """What a partner reaches: the median and the 99th percentile of a small file in ms, and MB/s of a large one."""
    times, end = [], time.monotonic() + seconds / 2
    while time.monotonic() < end:
        begun = time.monotonic()
        partner.send(100)
        times.append(1000 * (time.monotonic() - begun))
    octets, begun = 0, time.monotonic()
    while time.monotonic() < begun + seconds / 2:
        partner.send(BULK_OCTETS)
        octets += BULK_OCTETS
    rate = octets / (time.monotonic() - begun) / 1e6
    return statistics.median(times), statistics.quantiles(times, n=100)[98], rate


async def measure(reactor: Any, arguments: argparse.Namespace) -> None:
    """Start a site, and let a partner work beside nothing and beside each attack."""
    station = FixedStation(STATION_CODE, BUFFER, CREDIT)
    with tempfile.TemporaryDirectory(prefix="starvation-") as folder:
        site = BenchSite(reactor, Path(folder), station.port)
        try:
            await site.open()
            hostile = self_signed("evil.example").write(site.certificates, "evil")
            names = ("--code", HOSTILE, "--certificate", str(hostile.certificate))
            await site.smartproxy("partner", "add", "EVIL", *names)
            print(f"{'beside':<12}{'p50 ms':>9}{'p99 ms':>9}{'MB/s':>9}{'of alone':>10}  attacks ended after s")
            alone = 0.0
            for what in ("nothing", "busy", *arguments.only.split(",")):
                program = None
                if what != "nothing":
                    argv = [sys.executable, __file__, "--attack", what, str(site.port)]
                    argv += [str(hostile.certificate), str(hostile.key)]
                    program = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
                try:
                    figures = await deferToThread(working, site, arguments.seconds, 1.0 if program else 0.0)
                    if program is not None and what != "busy":
                        await deferToThread(time.sleep, arguments.longer)
                finally:
                    told = ""
                    if program is not None:
                        program.kill()
                        told = " ".join(program.communicate()[0].split())
                median, late, rate = figures
                alone = alone or rate
                print(f"{what:<12}{median:>9.2f}{late:>9.2f}{rate:>9.1f}{rate / alone:>10.2f}  {told}", flush=True)
        finally:
            await site.stop()
            station.stop()


def working(site: BenchSite, seconds: float, begin: float) -> tuple[float, float, float]:
    """What the honest partner reaches, once the attack has begun."""
    partner = FixedPartner(
        site.port,
        code=PARTNER,
        station=STATION_CODE,
        certificate=site.files.certificate,
        key=site.files.key,
        buffer_size=BUFFER,
        credit=CREDIT,
    )
    time.sleep(begin)
    figures = worked(partner, seconds)
    partner.close()
    return figures


def main() -> None:
    """Read the arguments, and measure or attack."""
    if sys.argv[1:2] == ["--attack"]:
        attack(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="that the honest partner works each time [8]")
    parser.add_argument("--longer", type=float, default=6.0, help="that each attack goes on after that [6]")
    parser.add_argument("--only", default=",".join(ATTACKS), help=f"these attacks [{','.join(ATTACKS)}]")
    react(lambda reactor: Deferred.fromCoroutine(measure(reactor, parser.parse_args())), ())


if __name__ == "__main__":
    main()
