"""A partner and a station that say always the same, on blocking sockets: fixed input for what is counted.

The partner sends files in one session and waits for each answer; DATA goes out in windows of credit, each as one piece.
Both say what is right and nothing else. The station takes what comes.
"""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Final

from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.commands import CDT, DATA, EFID, EFPA, ESID, RTR, SFID, SFPA, SSID, Command
from smartproxy.oftp2.roles import Level
from smartproxy.oftp2.stream import HEADER_LENGTH, SSRM_BUFFER, frame
from smartproxy.oftp2.subrecords import pack

PATIENCE: Final = 120.0
DATA_OCTET: Final = DATA.OCTET[0]


def said(command: Command) -> bytes:
    """A command as it goes over the wire."""
    return frame(encode(command))


def ssid(code: str, buffer_size: int, credit: int) -> SSID:
    """What either side offers."""
    return SSID(
        lev=5, code=code, pswd="", sdeb=buffer_size, sr="B", cmpr="N", rest="N", spec="N", cred=credit, auth="N"
    )


class Units:
    """Stream Transmission Buffers of a socket, one after the other."""

    def __init__(self, stream: socket.socket) -> None:
        self._file = stream.makefile("rb", 256 * 1024)

    def next(self) -> bytes | None:
        """The next Exchange Buffer; ``None`` at the end of the stream."""
        header = self._file.read(HEADER_LENGTH)
        if len(header) < HEADER_LENGTH:
            return None
        buffer: bytes = self._file.read(int.from_bytes(header[1:]) - HEADER_LENGTH)
        return buffer


class FixedStation:
    """Accepts sessions and files until it is stopped.

    :ivar port: where it listens.
    """

    def __init__(self, code: str, buffer_size: int, credit: int) -> None:
        self._ssid = said(ssid(code, buffer_size, credit))
        self._credit = credit
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Accept nothing more."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = {b"X": self._ssid, b"H": said(SFPA(acnt=0)), b"T": said(EFPA(cd="N")), b"E": said(RTR())}
        units, left = Units(stream), self._credit
        with contextlib.suppress(OSError), stream:
            stream.sendall(SSRM_BUFFER)
            while (buffer := units.next()) is not None:
                if buffer[0] == DATA_OCTET:
                    left -= 1
                    if not left:
                        left = self._credit
                        stream.sendall(said(CDT()))
                    continue
                if buffer[:1] == b"F":
                    return
                left = self._credit
                if buffer[:1] in answers:
                    stream.sendall(answers[buffer[:1]])


class FixedPartner:
    """Calls, and sends files.

    :param code: its SSIDCODE.
    :param station: the station's SSIDCODE.
    """

    def __init__(
        self, port: int, *, code: str, station: str, certificate: Path, key: Path, buffer_size: int, credit: int
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(certificate, key)
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = context.wrap_socket(plain)
        self._units = Units(self._stream)
        self._code, self._station = code, station
        self._buffer_size, self._credit, self._number = buffer_size, credit, 0
        self._hear(b"I")
        self._ask(ssid(code, buffer_size, credit), b"X")

    def send(self, octets: int, times: int = 1) -> None:
        """Send files of this size, one after the other."""
        buffers = [frame(buffer) for buffer in pack(bytes(octets), self._buffer_size)]
        end = said(EFID(rcnt=0, ucnt=octets))
        for _ in range(times):
            self._ask(self._offer(octets), b"2")
            for start in range(0, len(buffers), self._credit):
                window = buffers[start : start + self._credit]
                last = start + len(window) == len(buffers)
                self._stream.sendall(b"".join(window) + (end if last else b""))
                if len(window) == self._credit:
                    self._hear(b"C")
            self._hear(b"4")

    def close(self) -> None:
        """End the session."""
        self._stream.sendall(said(ESID(reas=0, reast="")))
        with contextlib.suppress(OSError):
            self._units.next()
        self._stream.close()

    def _offer(self, octets: int) -> SFID:
        self._number += 1
        blocks = (octets + 1023) // 1024
        return SFID(
            dsn=f"FIXED{self._number}",
            date=20261120,
            time=1200000001,
            dest=self._station,
            orig=self._code,
            fmt="U",
            lrecl=0,
            fsiz=blocks,
            osiz=blocks,
            rest=0,
            sec=0,
            ciph=0,
            comp=0,
            env=0,
            sign="N",
            desc="",
        )

    def _ask(self, command: Command, answer: bytes) -> None:
        self._stream.sendall(said(command))
        self._hear(answer)

    def _hear(self, wanted: bytes) -> None:
        buffer = self._units.next()
        if buffer is None or buffer[:1] != wanted:
            heard = "the end" if buffer is None else decode(buffer, Level.OFTP_2_0)
            raise RuntimeError(f"{heard} instead of {wanted!r}")
