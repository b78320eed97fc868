"""Two ODETTE-FTP entities as sections 9.8 to 9.12 of RFC 5024 describe them, with random users.

The second opinion for the session monitor: an entity looks its reaction up in the tables that the RFC prints, and no
line comes from the witness table. The octets are built here too, so that an error in the codec cannot hide itself.
Nothing of ``smartproxy`` is imported. Where the RFC leaves a gap that live traffic fills,
:data:`tests.conformance.state_tables.SUPPLEMENTS` says what was added and why.
"""

from collections.abc import Callable
from random import Random

from tests.conformance.filling import filled
from tests.conformance.state_tables import REACTIONS, REFUSALS, TAKEN
from tests.conformance.wire import NOISE, OCTETS, SIZES, TEXTS, WINDOWS, Wire, binary_field, framed


class SimulationFault(AssertionError):
    """One entity got what its own tables forbid: the simulator is wrong, or somebody changed the octets."""


class Entity:
    """One ODETTE-FTP entity and its random user.

    ``state`` and the variables carry the RFC's names (sections 9.3, 9.6, 9.7). ``sent`` collects what goes out.
    """

    def __init__(self, rng: Random, *, caller: bool, authentication: bool) -> None:
        self.rng = rng
        self.caller = caller
        self.state = "IDLE"
        self.sent = bytearray()
        self.received = bytearray()
        self.released = False
        self.aborted = False
        # C.: what this entity can do
        self.level = rng.choice((5, 5, 5, 5, 5, 5, 4, 2, 1))
        if authentication:
            self.level = 5
        self.buf_size = rng.choice(SIZES) if rng.random() < 0.8 else rng.randint(128, 99999)
        self.window = rng.choice(WINDOWS) if rng.random() < 0.7 else rng.randint(1, 999)
        self.compression = rng.random() < 0.5
        self.restart = rng.random() < 0.5
        self.authentication = authentication
        self.mode = rng.choice("BBBBSR")
        self.may_send = False
        self.wire = Wire(self.level)
        # V.: the session's variables
        self.credit_s = 0
        self.credit_l = 0
        self.restart_pos = 0
        self.req_buf: Callable[[], None] = self.speaker_D
        self.credit_owed = False
        self.credit_crossing = False
        # the file that is on its way
        self.form = "U"
        self.number = rng.randint(1, 9000)
        self.units = 0
        self.records = 0
        self.buffers_left = 0
        self.prompt = rng.random() < 0.7
        self.big = rng.random() < 0.04

    def send(self, buffer: bytes) -> None:
        """Hand one Exchange Buffer to the Network Service."""
        self.sent += framed(buffer)

    def abort(self, reason: int) -> None:
        """9.10 Q: F_RELEASE_RQ with an error, or a refusal."""
        self.send(self.wire.esid(reason, self.rng.choice(TEXTS)))
        self.state = "WF_NDISC"
        self.aborted = True

    def receive(self, octets: bytes) -> None:
        """Take octets of the stream and act on each complete Exchange Buffer."""
        received = self.received
        received += octets
        start = 0
        while len(received) - start >= 4:
            end = start + (int.from_bytes(received[start : start + 4], "big") & 0xFFFFFF)
            if len(received) < end:
                break
            self.take(bytes(received[start + 4 : end]))
            start = end
        del received[:start]

    def judgement(self, command: str, *, restart: int = 0) -> bool:
        """Whether the tables let this entity take the command now (without taking it)."""
        if command == "ESID":
            return self.state not in ("IDLE", "WF_NDISC")
        if command == "CDT" and self.state == "CLOP":
            return self.credit_crossing
        table, letter = REACTIONS[command, self.state]
        if letter in ("X", "U", "") or (table, letter) in REFUSALS:
            return False
        if (table, letter) == ("9.8", "D"):
            return not self.authentication  # P8: the buffer of ``Wire.any`` asks for none
        if (table, letter) == ("9.12", "A"):
            return not ((restart > 0 and not self.restart) or self.mode == "S" or not self.peer_may_send)
        if (table, letter) == ("9.12", "I"):
            return self.credit_l >= 1
        return True

    def take(self, buffer: bytes) -> None:
        """One Exchange Buffer is here: find the transition and make it."""
        command = OCTETS[buffer[:1]]
        if self.state == "WF_NDISC":
            return
        if command == "ESID":
            self.released = self.state == "IDLELICD" and buffer[1:3] == b"00"
            self.state = "IDLE"
            return
        if command == "CDT" and self.state == "CLOP" and self.credit_crossing:
            self.credit_crossing = False
            return
        table, letter = REACTIONS[command, self.state]
        make = TAKEN.get((table, letter))
        if make is None:
            raise SimulationFault(f"{command} in {self.state}: {table} {letter}")
        getattr(self, make)(buffer)

    def connect(self) -> None:
        """9.8 A and C for the caller, B for the called."""
        if self.caller:
            self.state = "I_WF_RM"
        else:
            self.send(b"IODETTE FTP READY " + self.rng.choice((b"\r", b"\r", b"\x8d")))
            self.state = "A_NC_ONLY"

    def _send_ssid(self) -> None:
        flags = ("Y" if self.compression else "N") + ("Y" if self.restart else "N")
        code = "O0099PARTNER" if self.caller else "O0013STATION"
        self.send(self.wire.ssid(code, self.buf_size, self.mode, flags, self.window, self.authentication))

    def connection_H(self, buffer: bytes) -> None:
        """SSRM is in."""
        self._send_ssid()
        self.state = "I_WF_SSID"

    def connection_E(self, buffer: bytes) -> None:
        """The Initiator's SSID is in; the user is asked."""
        self.offer = buffer
        self.state = "A_WF_CONRS"

    def _agree(self, mine: bytes, yours: bytes) -> None:
        """Action 5: take the variables from both SSIDs."""
        self.level = min(int(mine[1:2]), int(yours[1:2]))
        if self.level == 1:
            self.level = 2
        self.wire = Wire(self.level)
        self.buf_size = min(int(mine[35:40]), int(yours[35:40]))
        self.compression = mine[41:42] == yours[41:42] == b"Y"
        self.restart = mine[42:43] == yours[42:43] == b"Y"
        self.window = min(int(mine[44:47]), int(yours[44:47]))
        self.may_send = mine[40:41] in b"SB" and yours[40:41] in b"RB"
        self.peer_may_send = yours[40:41] in b"SB" and mine[40:41] in b"RB"

    def connect_response(self) -> None:
        """9.8 G: F_CONNECT_RS, or the user's refusal."""
        rng, offer = self.rng, self.offer
        offered = int(offer[1:2])
        if rng.random() < 0.03:
            self.wire = Wire(rng.choice((5, offered)))
            self.abort(rng.choice((3, 4, 8, 10, 12)))
            return
        self.level = min(self.level, offered)
        if self.level < 4 and offered == 1 and rng.random() < 0.5:
            self.level = 2
        self.wire = Wire(self.level)
        self.window = min(self.window, int(offer[44:47]))
        if rng.random() < 0.7:
            self.buf_size = min(self.buf_size, int(offer[35:40]))
        self.mode = {"S": "RRRB", "R": "SSSB", "B": "BBRS"}[offer[40:41].decode()][rng.randrange(4)]
        mark = len(self.sent)
        self._send_ssid()
        self._agree(bytes(self.sent[mark + 4 :]), offer)
        self.state = "WF_SECD" if self.authentication else "IDLELI"

    def connection_D(self, buffer: bytes) -> None:
        """The Responder's SSID is in."""
        flags = ("Y" if self.compression else "N") + ("Y" if self.restart else "N")
        mine = self.wire.ssid("", self.buf_size, self.mode, flags, self.window, self.authentication)
        self._agree(mine, buffer)
        if self.rng.random() < 0.02:
            self.abort(self.rng.choice((3, 4, 10, 99)))
        elif self.authentication:
            self.send(b"J")
            self.state = "WF_AUCH"
        else:
            self.state = "IDLESP"

    def connection_I(self, buffer: bytes) -> None:
        """AUCH is in: prove the identity."""
        self.send(b"S" + NOISE[self.number : self.number + 20])
        self.state = "WF_SECD" if self.caller else "IDLELI"

    def connection_J(self, buffer: bytes) -> None:
        """SECD is in: challenge the peer."""
        self.send(b"A" + binary_field(NOISE[: self.rng.randint(1, 700)]))
        self.state = "WF_AURP"

    def connection_K(self, buffer: bytes) -> None:
        """AURP is in: P6, P7 or the refusal."""
        if self.rng.random() < 0.03:
            self.abort(11)
        elif self.caller:
            self.state = "IDLESP"
        else:
            self.send(b"J")
            self.state = "WF_AUCH"

    def _identify(self) -> int:
        self.number = self.number % 9000 + 1
        return self.number

    def _proof(self) -> tuple[bytes, bytes]:
        if self.rng.random() < 0.6:
            return b"", b""
        return NOISE[:20], NOISE[: self.rng.randint(1, 900)]

    def speaker_A(self) -> None:
        """F_EERP_RQ (also R: the stored one)."""
        self.send(self.wire.eerp(self._identify(), *self._proof()))
        self.state = "WF_RTR"

    def speaker_Y(self) -> None:
        """F_NERP_RQ (also Z1: the stored one)."""
        self.send(
            self.wire.nerp(
                self._identify(), self.rng.choice((3, 14, 24, 34, 99)), self.rng.choice(TEXTS), *self._proof()
            )
        )
        self.state = "WF_RTR"

    def speaker_B(self) -> None:
        """F_START_FILE_RQ (also I: the stored one)."""
        rng = self.rng
        self.form = rng.choice("UTFV")
        self.restart_pos = rng.choice((0, 1, 7, 999, 99999999)) if self.restart and rng.random() < 0.4 else 0
        record = rng.choice((1, 80, 2048, 99999)) if self.form in "FV" else 0
        self.send(
            self.wire.sfid(
                self._identify(), self.form, record, rng.randint(0, 9999999), self.restart_pos, rng.choice(TEXTS)
            )
        )
        self.state = "OPOP"

    def speaker_D(self) -> None:
        """F_CD_RQ (also J: the stored one)."""
        self.send(b"R")
        self.state = "IDLELICD"

    def speaker_E(self) -> None:
        """F_RELEASE_RQ, Reason = Normal."""
        self.send(self.wire.esid(0))
        self.state = "WF_NDISC"

    def speaker_CD(self, buffer: bytes) -> None:
        """H: the turn that was asked for is here."""
        self.state = "IDLESP"

    def speaker_stored(self, buffer: bytes) -> None:
        """R, Z1, I and J: the turn is here and a request was stored."""
        self.req_buf()

    def speaker_K(self, buffer: bytes) -> None:
        """SFPA is in."""
        if int(buffer[1:]) > self.restart_pos:
            raise SimulationFault("SFPA beyond the restart position")
        rng = self.rng
        self.credit_s = self.window
        # section 5.3.8: the counts of EFID are those of the whole file, restart or not
        count = int(buffer[1:])
        self.units, self.records = (0, count) if self.form in "FV" else (1024 * count, 0)
        self.buffers_left = rng.choice((0, 1, 1, 2, 3, 5))
        if self.big:
            self.buffers_left = min(2 * self.window + rng.randint(0, 2), 150)
        self.state = "OPO"

    def speaker_L(self, buffer: bytes) -> None:
        """SFNA is in."""
        self.state = "IDLESP"

    def speaker_M(self) -> None:
        """F_DATA_RQ."""
        rng = self.rng
        self.buffers_left -= 1
        room = self.buf_size - 1
        if self.big or rng.random() < 0.9:
            room = min(room, rng.choice((1, 2, 63, 64, 65, 127, 300, 600)))
        buffer, units, records = filled(
            rng, room, last=not self.buffers_left, records=self.form in "FV", compression=self.compression
        )
        self.units += units
        self.records += records
        self.send(buffer)
        self.credit_s -= 1
        self.state = "OPO" if self.credit_s else "OPOWFC"

    def speaker_N(self, buffer: bytes) -> None:
        """RTR is in."""
        self.state = "IDLESP"

    def speaker_O(self, buffer: bytes) -> None:
        """CDT is in."""
        self.credit_s = self.window
        self.state = "OPO"

    def close_A(self) -> None:
        """F_CLOSE_FILE_RQ."""
        self.credit_crossing = self.credit_s == 0
        self.credit_s = 0
        self.send(self.wire.efid(self.records if self.form in "FV" else 0, self.units))
        self.state = "CLOP"

    def close_C(self, buffer: bytes) -> None:
        """EFPA is in."""
        if buffer[1:2] == b"Y":
            self.send(b"R")
            self.state = "IDLELI"
        else:
            self.state = "IDLESP"

    def close_D(self, buffer: bytes) -> None:
        """EFNA is in."""
        self.state = "IDLESP"

    def listener_A(self, buffer: bytes) -> None:
        """SFID is in."""
        self.restart_pos = int(buffer[138:155]) if self.level == 5 else int(buffer[119:128])
        if (self.restart_pos and not self.restart) or self.mode == "S":
            raise SimulationFault("SFID against P1")
        self.state = "OPIP"

    def listener_C(self, buffer: bytes) -> None:
        """CD is in."""
        self.state = "IDLESPCD"

    def listener_E(self, buffer: bytes) -> None:
        """EERP or NERP is in (E, L)."""
        self.state = "RTRP"

    def start_file_response(self) -> None:
        """9.12 H."""
        rng = self.rng
        if rng.random() < 0.85:
            self.send(self.wire.sfpa(rng.randint(0, self.restart_pos)))
            self.credit_l = self.window
            self.credit_owed = False
            self.state = "OPI"
        else:
            self.send(self.wire.sfna(rng.choice((1, 2, 6, 10, 13, 99)), rng.choice("YN"), rng.choice(TEXTS)))
            self.state = "IDLELI"

    def listener_I(self, buffer: bytes) -> None:
        """DATA is in."""
        if self.credit_l < 1:
            raise SimulationFault("DATA without credit")
        if len(buffer) > self.buf_size:
            raise SimulationFault("DATA longer than agreed")
        self.credit_l -= 1
        if self.credit_l == 0:
            self.credit_owed = True
            if self.prompt:
                self.give_credit()

    def give_credit(self) -> None:
        """CDT, at once or when the user can take more."""
        self.send(b"C  ")
        self.credit_l = self.window
        self.credit_owed = False

    def listener_J(self, buffer: bytes) -> None:
        """EFID is in."""
        self.state = "CLIP"

    def close_file_response(self) -> None:
        """9.12 K."""
        rng = self.rng
        if self.credit_owed and rng.random() < 0.5:
            self.give_credit()
        self.credit_owed = False
        lot = rng.random()
        if lot < 0.1:
            self.send(self.wire.efna(rng.choice((1, 6, 11, 12, 99)), rng.choice(TEXTS)))
            self.state = "IDLELI"
        elif lot < 0.55:
            self.send(b"4N")
            self.state = "IDLELI"
        else:
            self.send(b"4Y")
            self.state = "WF_CD"

    def ready_response(self) -> None:
        """9.12 M."""
        self.send(b"P")
        self.state = "IDLELI"

    peer_may_send = True
    offer = b""
