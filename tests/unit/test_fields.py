"""The vocabulary of the declarations: rules, fields, layouts."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import fields, grammars
from smartproxy.oftp2.fields import Declaration, Field, Layout, Rule
from smartproxy.oftp2.roles import Level, Profile


def field(**changes: object) -> Field:
    """Make a field."""
    declared = {
        "name": "XXXXFLD",
        "attribute": "fld",
        "position": 1,
        "kind": "V",
        "format": "X",
        "width": 4,
        "rule": Rule(grammar=grammars.Alphanumeric()),
    }
    return Field(**{**declared, **changes})  # type: ignore[arg-type]  # a mixture of types by design


def declaration(**changes: object) -> Declaration:
    """Make a declaration."""
    declared = {"kind": "V", "format": "X", "width": 4, "position": 1, "rule": Rule(grammar=grammars.Alphanumeric())}
    return Declaration(**{**declared, **changes})  # type: ignore[arg-type]  # a mixture of types by design


class RuleTests(SynchronousTestCase):
    """What a field must be, by profile."""

    def setUp(self) -> None:
        """Make a rule that tolerates something."""
        self.rule = Rule(grammar=grammars.Values([b"A"]), tolerated=grammars.Values([b"A", b"B"]), anomaly=2)

    def test_applied(self) -> None:
        """The default profile takes what is tolerated, the strict one does not; without a tolerance both are one."""
        self.assertIs(self.rule.applied(Profile.DEFAULT), self.rule.tolerated)
        self.assertIs(self.rule.applied(Profile.STRICT), self.rule.grammar)
        plain = Rule(grammar=grammars.Digits())
        self.assertIs(plain.applied(Profile.DEFAULT), plain.grammar)

    def test_departs(self) -> None:
        """Only what the RFC does not allow is a departure."""
        self.assertTrue(self.rule.departs(b"B"))
        self.assertFalse(self.rule.departs(b"A"))
        self.assertFalse(Rule(grammar=grammars.Values([b"A"])).departs(b"B"))


class FieldTests(SynchronousTestCase):
    """Between octets and Python values."""

    def test_both_ways(self) -> None:
        """Each format has its type, and writes what it reads."""
        for changes, octets, value in (
            ({}, b"AB  ", "AB"),
            ({"format": "9"}, b"0042", 42),
            ({"format": "T", "width": None}, "ü!".encode(), "ü!"),
            ({"format": "U"}, b"\x00\xff\x00\xff", b"\x00\xff\x00\xff"),
            ({"format": "U", "width": 2, "number": True}, b"\x01\x02", 258),
            ({"width": 1}, b"\x8d", "\x8d"),
        ):
            made = field(**changes)
            self.assertEqual(made.decode(octets), value)
            self.assertEqual(made.encode(value), octets)

    def test_what_does_not_fit(self) -> None:
        """A value of the wrong length, range or type is refused, and the field is named."""
        for changes, value in (
            ({}, "ABCDE"),
            ({}, 7),
            ({}, "Ω"),
            ({"format": "9"}, 12345),
            ({"format": "9"}, "12"),
            ({"format": "9"}, None),
            ({"format": "U"}, b"12345"),
            ({"format": "U"}, "1234"),
            ({"format": "U", "width": 2, "number": True}, 65536),
            ({"format": "T", "width": None}, b"x"),
        ):
            error = self.assertRaises(ValueError, field(**changes).encode, value)
            self.assertIn("XXXXFLD", str(error))

    def test_describe(self) -> None:
        """A field describes itself as the RFC prints it."""
        self.assertEqual(field().describe(), "V X(4)")
        self.assertEqual(field(width=None, format="T").describe(), "V T(n)")


class LayoutTests(SynchronousTestCase):
    """The fields of one command at one level."""

    def test_levels(self) -> None:
        """What is declared for a level counts from there upwards, until something else is declared."""
        declared = {
            "fld": declaration(width={1: 9, 4: 3}),
            "new": declaration(position=4, since=5, rule={5: Rule(grammar=grammars.Digits())}),
        }
        for level, described in (
            (Level.OFTP_1_2, [("XXXXCMD", 0, 1), ("XXXXFLD", 1, 9)]),
            (Level.OFTP_1_3, [("XXXXCMD", 0, 1), ("XXXXFLD", 1, 9)]),
            (Level.OFTP_1_4, [("XXXXCMD", 0, 1), ("XXXXFLD", 1, 3)]),
            (Level.OFTP_2_0, [("XXXXCMD", 0, 1), ("XXXXFLD", 1, 3), ("XXXXNEW", 4, 4)]),
        ):
            made = fields.layout("XXXX", b"?", declared.items(), level)
            self.assertEqual([(part.name, part.position, part.width) for part in made.fields], described)

    def test_a_gap_is_refused(self) -> None:
        """A field that does not begin where the one before it ends cannot be declared."""
        declared = {"fld": declaration(), "bad": declaration(position=6)}
        error = self.assertRaises(ValueError, fields.layout, "XXXX", b"?", declared.items(), Level.OFTP_2_0)
        self.assertIn("XXXXBAD at level 5: declared at 6, follows 5", str(error))

    def test_a_position_behind_a_variable_field_is_refused(self) -> None:
        """Behind a field of variable length no position can be declared."""
        declared = {"len": declaration(width=3, format="9", counts="txt"), "txt": declaration(position=4, width=None)}
        fields.layout("XXXX", b"?", declared.items(), Level.OFTP_2_0)
        declared["bad"] = declaration(position=9)
        self.assertRaises(ValueError, fields.layout, "XXXX", b"?", declared.items(), Level.OFTP_2_0)

    def test_lengths(self) -> None:
        """The fewest and the most octets follow from the fields, and so do the lengths that a field may say."""
        declared = {
            "len": declaration(width=3, format="9", counts="txt"),
            "txt": declaration(position=4, width=None, format="T"),
            "sgl": declaration(position=None, width=2, format="U", counts="sig"),
            "sig": declaration(position=None, width=None, format="U"),
            "cr": declaration(position=None, width=1),
        }
        made = fields.layout("XXXX", b"?", declared.items(), Level.OFTP_2_0)
        self.assertEqual((made.shortest, made.longest), (7, 7 + 999 + 65535))
        self.assertEqual(made.counts(1, 10), (0, 7))
        self.assertEqual(made.counts(1, 65545), (7, 65542))
        self.assertEqual(made.counts(3, 10), (9, 9))
        self.assertEqual(made.attributes, {"len", "txt", "sgl", "sig", "cr"})

    def test_open_end(self) -> None:
        """A variable field that no length announces runs to the end of the buffer."""
        made = fields.layout("XXXX", b"?", {"buf": declaration(width=None, format="U")}.items(), Level.OFTP_2_0)
        self.assertEqual((made.shortest, made.longest), (1, 1 + fields.UNBOUNDED))

    def test_without(self) -> None:
        """A short form ends in front of a field and says which departure it is."""
        declared = {"fld": declaration(), "end": declaration(position=5)}
        made = fields.layout("XXXX", b"?", declared.items(), Level.OFTP_2_0).without("end", 11)
        self.assertEqual((made.attributes, made.anomaly, made.longest), ({"fld"}, 11, 5))
        self.assertIsInstance(made, Layout)
