"""Commands that are read at one glance: the same as what the reader makes of them, or nothing."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import codec, regular
from smartproxy.oftp2.codec import Reader
from smartproxy.oftp2.commands import DATA, SFID, SSID, SSRM, Command
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.fields import Rule
from smartproxy.oftp2.grammars import Decimal
from smartproxy.oftp2.roles import Level, Profile
from tests.unit.samples import samples, sfid, ssid

ODD = b"\x00 \\./-019:AZaz\x7f\x80\x8d\xc3\xfcYN\r\n"
"""Octets that fields are sensitive to."""


def slowly(kind: type[Command], octets: bytes, level: Level, profile: Profile) -> Command | None:
    """What the reader makes of a command that came whole; nothing if it refuses it or lets a departure pass."""
    try:
        reader = Reader(kind, len(octets), level, profile)
        return reader.command() if reader.judge(octets) and not reader.anomalies else None
    except ProtocolError:
        return None


def every_sample() -> list[tuple[Level, Command]]:
    """The samples of all levels."""
    return [(level, command) for level in Level for command in samples(level).values()]


class RegularTests(SynchronousTestCase):
    """All samples of all commands at all levels."""

    def test_samples_are_read_at_once(self) -> None:
        """Every command that departs in nothing is read, with the reader's values; DATA is not."""
        read = 0
        for level, command in every_sample():
            octets = codec.encode(command, level)
            found = regular.read(type(command), level, octets)
            if isinstance(command, DATA):
                self.assertIsNone(found)
            else:
                self.assertEqual(found, slowly(type(command), octets, level, Profile.DEFAULT), command)
                read += found is not None
        self.assertGreater(read, 44)

    def test_nothing_wrong_is_read(self) -> None:
        """With any octet changed, missing or more, what is read is what the reader reads, or nothing."""
        for level, command in every_sample():
            octets = codec.encode(command, level)
            wrong = [octets[:-1], octets + b" ", octets + b"\n"]
            for at in range(1, len(octets)):
                wrong += [octets[:at] + bytes((odd,)) + octets[at + 1 :] for odd in ODD]
            for each in wrong:
                found = regular.read(type(command), level, each)
                if found is not None:
                    for profile in Profile:
                        self.assertEqual(found, slowly(type(command), each, level, profile), each)

    def test_dates(self) -> None:
        """Days that are none are left to the reader, and so is the 29th of February."""
        for day, read in (("20240131", True), ("20240431", False), ("20240229", False), ("20241301", False)):
            octets = bytearray(codec.encode(sfid(), Level.OFTP_2_0))
            octets[30:38] = day.encode()
            self.assertEqual(regular.read(SFID, Level.OFTP_2_0, bytes(octets)) is not None, read, day)

    def test_limits_of_the_session(self) -> None:
        """What the state of the session leaves of a field's values is looked at, too."""
        octets = codec.encode(sfid(rest=3), Level.OFTP_2_0)
        for most, read in ((3, True), (2, False)):
            limits = {"rest": Rule(grammar=Decimal(((0, most),)))}
            self.assertEqual(regular.read(SFID, Level.OFTP_2_0, octets, limits) is not None, read)
        self.assertIsNone(regular.read(SFID, Level.OFTP_2_0, octets, {"unknown": Rule(grammar=Decimal(((0, 9),)))}))

    def test_before_a_level_is_agreed(self) -> None:
        """Without an agreed level only SSRM and SSID are read at a glance, an SSID by its own level."""
        self.assertIsNone(regular.read(SFID, None, codec.encode(sfid(), Level.OFTP_2_0)))
        self.assertEqual(regular.read(SSRM, None, codec.encode(SSRM())), SSRM())
        for level in Level:
            command = ssid(lev=level.value)
            self.assertEqual(regular.read(SSID, None, codec.encode(command)), command)
        self.assertIsNone(regular.read(SSID, None, codec.encode(ssid())[:1]))
        self.assertIsNone(regular.read(SSID, None, codec.encode(ssid()).replace(b"X5", b"X3")))
