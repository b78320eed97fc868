"""The declarations of the 18 commands."""

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import AURP, BY_NAME, BY_OCTET, COMMANDS, EERP, ESID, NERP, SFID, SSID
from smartproxy.oftp2.roles import Level


class CommandsTests(SynchronousTestCase):
    """All commands, at all levels."""

    def test_the_eighteen(self) -> None:
        """There are 18 commands, each with its own name, octet and section."""
        self.assertEqual(
            [(made.NAME, made.OCTET) for made in COMMANDS],
            [
                ("SSRM", b"I"),
                ("SSID", b"X"),
                ("SFID", b"H"),
                ("SFPA", b"2"),
                ("SFNA", b"3"),
                ("DATA", b"D"),
                ("CDT", b"C"),
                ("EFID", b"T"),
                ("EFPA", b"4"),
                ("EFNA", b"5"),
                ("ESID", b"F"),
                ("CD", b"R"),
                ("EERP", b"E"),
                ("NERP", b"N"),
                ("RTR", b"P"),
                ("SECD", b"J"),
                ("AUCH", b"A"),
                ("AURP", b"S"),
            ],
        )
        self.assertEqual([made.SECTION for made in COMMANDS], [f"5.3.{number}" for number in range(1, 19)])
        self.assertEqual(list(BY_NAME), [made.NAME for made in COMMANDS])

    def test_levels(self) -> None:
        """NERP came with 1.4, secure authentication with 2.0."""
        missing = {
            level: {made.NAME for made in COMMANDS} - {made.NAME for made in BY_OCTET[level].values()}
            for level in Level
        }
        self.assertEqual(
            missing,
            {
                Level.OFTP_1_2: {"NERP", "SECD", "AUCH", "AURP"},
                Level.OFTP_1_3: {"NERP", "SECD", "AUCH", "AURP"},
                Level.OFTP_1_4: {"SECD", "AUCH", "AURP"},
                Level.OFTP_2_0: set(),
            },
        )

    def test_lengths(self) -> None:
        """The shortest form of each command is as long as the level's layout says."""
        shortest = {
            level: {made.NAME: made.LAYOUTS[level].shortest for made in BY_OCTET[level].values()} for level in Level
        }
        older = {
            "SSRM": 19, "SSID": 61, "SFID": 128, "SFPA": 10, "SFNA": 4, "DATA": 1, "CDT": 3, "EFID": 22, "EFPA": 2,
            "EFNA": 3, "ESID": 4, "CD": 1, "EERP": 106, "RTR": 1,
        }  # fmt: skip
        self.assertEqual(shortest[Level.OFTP_1_2], older)
        self.assertEqual(shortest[Level.OFTP_1_3], older)
        self.assertEqual(shortest[Level.OFTP_1_4], {**older, "NERP": 128})
        self.assertEqual(
            shortest[Level.OFTP_2_0],
            {
                "SSRM": 19, "SSID": 61, "SFID": 165, "SFPA": 18, "SFNA": 7, "DATA": 1, "CDT": 3, "EFID": 35, "EFPA": 2,
                "EFNA": 6, "ESID": 7, "CD": 1, "EERP": 110, "NERP": 135, "RTR": 1, "SECD": 1, "AUCH": 3, "AURP": 21,
            },
        )  # fmt: skip

    def test_tolerated_layouts(self) -> None:
        """Short forms exist where living programs send them, and nowhere else."""
        found = {
            (made.NAME, level): [(short.shortest, short.anomaly) for short in made.TOLERATED[level]]
            for made in COMMANDS
            for level in made.LAYOUTS
            if made.TOLERATED[level]
        }
        older = (Level.OFTP_1_2, Level.OFTP_1_3, Level.OFTP_1_4)
        self.assertEqual(
            found,
            {
                **{("CDT", level): [(1, 11)] for level in Level},
                **{("ESID", level): [(7, 18), (3, 18)] for level in older},
                ("ESID", Level.OFTP_2_0): [(4, 18), (3, 18)],
                ("EERP", Level.OFTP_2_0): [(106, 15)],
                ("NERP", Level.OFTP_2_0): [(131, 15)],
            },
        )

    def test_fields(self) -> None:
        """The fields of a command at a level are its layout's, the command octet first."""
        found = ESID.LAYOUTS[Level.OFTP_2_0].fields
        self.assertEqual([field.name for field in found], ["ESIDCMD", "ESIDREAS", "ESIDREASL", "ESIDREAST", "ESIDCR"])

    def test_lengths_are_filled_in(self) -> None:
        """The length of a variable field follows from the field, in octets."""
        made = EERP(dsn="A", date=20261120, time=1, dest="O0013B", orig="O0013A", hsh=bytes(20), sig=b"")
        self.assertEqual((made.hshl, made.sigl), (20, 0))
        self.assertEqual(ESID(reas=99, reast="ü").reasl, 2)
        self.assertEqual(ESID(reas=99).reasl, None)

    def test_secrets_are_not_printed(self) -> None:
        """Passwords and challenge responses do not show in the text of a command."""
        made = SSID(lev=5, code="O0013A", pswd="CANARY", sdeb=128, sr="B", cmpr="N", rest="N", spec="N", cred=1)
        self.assertNotIn("CANARY", repr(made))
        self.assertNotIn("CANARY", repr(AURP(rsp=b"CANARYCANARYCANARY20")))
        for name, kinds in (("pswd", SSID), ("rsp", AURP)):
            shown = [field.attribute for field in kinds.LAYOUTS[Level.OFTP_2_0].fields if field.secret]
            self.assertEqual(shown, [name])

    def test_commands_are_values(self) -> None:
        """Commands cannot be changed and compare by what they hold."""
        made = ESID(reas=0)
        self.assertEqual(made, ESID(reas=0))
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, made, "reas", 1)
        self.assertEqual(NERP.GIVEN[:2], ("dsn", "rsv1"))
        self.assertIn(("descl", "desc"), SFID.LENGTHS)
