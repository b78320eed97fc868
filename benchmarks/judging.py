"""How fast one core judges: files in both profiles at several buffer sizes, and whole short sessions.

Run by ``make bench``. Each figure is the best of three; a gigabyte is 10**9 octets. What is measured is the session
monitor alone, fed as a daemon feeds it: pieces of 64 KiB, cut anywhere.
"""

import random
import time
from collections.abc import Callable, Iterator

from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.commands import CDT, EFID, EFPA, ESID, SFID, SFPA, SSID, Command
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.oftp2.subrecords import pack

FILE = 32_000_000
PIECE = 65_536
CREDIT = 999
INITIATOR, RESPONDER = Role.INITIATOR, Role.RESPONDER
Said = tuple[Role, bytes]


def ssid(code: str, size: int) -> SSID:
    """A Start Session command."""
    return SSID(lev=5, code=code, pswd="", sdeb=size, sr="B", cmpr="Y", rest="Y", spec="N", cred=CREDIT, auth="N")


def said(sender: Role, command: Command) -> Said:
    """A command, framed."""
    return sender, frame(encode(command))


def opening(size: int) -> list[Said]:
    """From the greeting to the accepted offer of a file."""
    offer = SFID(
        dsn="BENCHMARK",
        date=20261120,
        time=1200000001,
        dest="O0013STATION",
        orig="O0099PARTNER",
        fmt="U",
        lrecl=0,
        fsiz=FILE // 1024,
        osiz=FILE // 1024,
        rest=0,
        sec=0,
        ciph=0,
        comp=0,
        env=0,
        sign="N",
        desc="",
    )
    return [
        (RESPONDER, SSRM_BUFFER),
        said(INITIATOR, ssid("O0099PARTNER", size)),
        said(RESPONDER, ssid("O0013STATION", size)),
        said(INITIATOR, offer),
        said(RESPONDER, SFPA(acnt=0)),
    ]


def transfer(data: bytes, size: int, *, compress: bool) -> Iterator[Said]:
    """A file as the two ends send it: credit by credit, each in pieces."""
    buffers = [frame(buffer) for buffer in pack(data, size, compress=compress)]
    for first in range(0, len(buffers), CREDIT):
        window = b"".join(buffers[first : first + CREDIT])
        for start in range(0, len(window), PIECE):
            yield INITIATOR, window[start : start + PIECE]
        if len(buffers) - first >= CREDIT:
            yield said(RESPONDER, CDT())
    yield said(INITIATOR, EFID(rcnt=0, ucnt=len(data)))


def judge(conversation: list[Said], profile: Profile) -> None:
    """Run a conversation through a new monitor; it has to be right."""
    monitor = Monitor(profile)
    for sender, octets in conversation:
        judgement = monitor.judge(sender, octets)
        if judgement.error is not None:
            raise judgement.error


def best(measured: Callable[[], None]) -> float:
    """The shortest of three runs."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        measured()
        times.append(time.perf_counter() - began)
    return min(times)


def files() -> None:
    """Files at several buffer sizes."""
    source = random.Random(5024)
    noise = source.randbytes(FILE)
    text = b"".join(b"%016d;part %d;%s\r\n" % (n, n % 97, b" " * (n % 40)) for n in range(FILE // 50))[:FILE]
    print(f"{'judged, MB/s':28}" + "".join(f"{size:>9}" for size in (1024, 4096, 32768, 99999)))
    for title, data, compress in (("as it is", noise, False), ("compressed by subrecords", text, True)):
        for profile in Profile:
            line = f"{title}, {profile.value}"
            rates = []
            for size in (1024, 4096, 32768, 99999):
                conversation = [*opening(size), *transfer(data, size, compress=compress)]
                octets = sum(len(octets) for _, octets in conversation)
                rates.append(octets / best(lambda: judge(conversation, profile)) / 1e6)  # noqa: B023 - called at once
            print(f"{line:28}" + "".join(f"{rate:9.0f}" for rate in rates), flush=True)


def sessions() -> None:
    """Whole sessions with one small file."""
    conversation = [
        *opening(4096),
        *transfer(b"x" * 100, 4096, compress=False),
        said(RESPONDER, EFPA(cd="N")),
        said(INITIATOR, ESID(reas=8, reast="")),
    ]
    count = 1000

    def run() -> None:
        for _ in range(count):
            judge(conversation, Profile.DEFAULT)

    print(f"{'short sessions a second':28}{count / best(run):9.0f}")


if __name__ == "__main__":
    files()
    sessions()
