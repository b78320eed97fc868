"""How many whole sessions with one small file one core judges in a second, in each profile.

Run by ``make bench-parts``. The session monitor alone, command by command; the best of three.
"""

import time

from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.commands import CD, EFID, EFPA, ESID, SFID, SFPA, SSID, Command
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.oftp2.subrecords import pack

SESSIONS = 1000
CONTENT = b"x" * 100
PARTNER, STATION = "O0099PARTNER", "O0013STATION"
INITIATOR, RESPONDER = Role.INITIATOR, Role.RESPONDER


def ssid(code: str) -> SSID:
    """A Start Session command."""
    return SSID(lev=5, code=code, pswd="", sdeb=4096, sr="B", cmpr="Y", rest="Y", spec="N", cred=64, auth="N")


def session() -> list[tuple[Role, bytes]]:
    """A session from the greeting to its normal end."""
    offer = SFID(
        dsn="BENCHMARK",
        date=20261120,
        time=1200000001,
        dest=STATION,
        orig=PARTNER,
        fmt="U",
        lrecl=0,
        fsiz=1,
        osiz=1,
        rest=0,
        sec=0,
        ciph=0,
        comp=0,
        env=0,
        sign="N",
        desc="",
    )
    commands: list[tuple[Role, Command]] = [
        (INITIATOR, ssid(PARTNER)),
        (RESPONDER, ssid(STATION)),
        (INITIATOR, offer),
        (RESPONDER, SFPA(acnt=0)),
        (INITIATOR, EFID(rcnt=0, ucnt=len(CONTENT))),
        (RESPONDER, EFPA(cd="N")),
        (INITIATOR, CD()),
        (RESPONDER, ESID(reas=0, reast="")),
    ]
    said = [(RESPONDER, SSRM_BUFFER), *((sender, frame(encode(command))) for sender, command in commands)]
    said[5:5] = [(INITIATOR, frame(buffer)) for buffer in pack(CONTENT, 4096)]
    return said


def judge(conversation: list[tuple[Role, bytes]], profile: Profile) -> None:
    """Run a conversation through a new monitor; it has to be right."""
    monitor = Monitor(profile)
    for sender, octets in conversation:
        judgement = monitor.judge(sender, octets)
        if judgement.error is not None:
            raise judgement.error


def rate(profile: Profile) -> float:
    """Sessions a second."""
    conversation = session()
    shortest = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(SESSIONS):
            judge(conversation, profile)
        shortest = min(shortest, time.perf_counter() - began)
    return SESSIONS / shortest


if __name__ == "__main__":
    for profile in Profile:
        print(f"short sessions a second, {profile.value:10}{rate(profile):6.0f}")
