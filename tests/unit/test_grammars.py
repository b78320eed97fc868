"""What the octets of a field may be, octet by octet."""

import itertools
import re

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import grammars
from smartproxy.oftp2.grammars import Grammar


def first_fault(grammar: Grammar, octets: bytes, width: int) -> int | None:
    """Return the octet after which a field is refused when it comes one by one; it must not matter how it comes."""
    found = None
    for length in range(1, len(octets) + 1):
        found = grammar.fault(octets[:length], width)
        if found is not None:
            break
    whole = grammar.fault(octets, width)
    if whole != found:
        raise AssertionError(f"{octets!r}: {whole} whole, {found} octet by octet")
    return found


def viable(grammar: Grammar, prefix: bytes, width: int, alphabet: bytes) -> bool:
    """Tell whether any continuation of a prefix is valid, by trying them all."""
    return any(
        grammar.fault(prefix + bytes(rest), width) is None
        for rest in itertools.product(alphabet, repeat=width - len(prefix))
    )


class GrammarsTests(SynchronousTestCase):
    """Every grammar names the first octet that cannot be right."""

    def check(self, grammar: Grammar, octets: bytes, fault: int | None) -> None:
        """Compare a verdict."""
        self.assertEqual(first_fault(grammar, octets, len(octets)), fault, (grammar, octets))

    def exhaust(self, grammar: Grammar, width: int, alphabet: bytes) -> None:
        """Compare every verdict on every prefix with whether any continuation is valid."""
        for length in range(1, width + 1):
            for octets in itertools.product(alphabet, repeat=length):
                prefix = bytes(octets)
                judged = grammar.fault(prefix, width) is None
                self.assertEqual(judged, viable(grammar, prefix, width, alphabet), (grammar, prefix))

    def test_decimal_range_as_soon_as_possible(self) -> None:
        """A number is refused with the first digit with which no value of the range is left."""
        size = grammars.Decimal(((128, 99999),))
        for octets, fault in (
            (b"00128", None),
            (b"99999", None),
            (b"00127", 4),
            (b"00", None),
            (b"000", 2),
            (b"0012", None),
            (b"0011", 3),
            (b"01A28", 2),
            (b" 1000", 0),
        ):
            self.assertEqual(first_fault(size, octets, 5), fault, octets)

    def test_decimal_against_all_continuations(self) -> None:
        """The verdict on a prefix is whether any number of the ranges begins with it."""
        self.exhaust(grammars.Decimal(((0, 0),)), 3, b"0123456789A")
        self.exhaust(grammars.Decimal(((12, 17), (230, 231), (999, 999))), 3, b"0123456789A")
        self.exhaust(grammars.Decimal(((5, 2),)), 2, b"0123456789")

    def test_decimal_as_a_regular_expression(self) -> None:
        """It takes the numbers of the ranges and no others, however the ranges lie."""
        for ranges in (
            ((0, 0),),
            ((0, 999),),
            ((1, 999),),
            ((128, 999),),
            ((199, 200),),
            ((7, 7), (95, 305), (990, 998)),
        ):
            grammar = grammars.Decimal(ranges)
            pattern = re.compile(str(grammar.regular(3)))
            for number in range(1000):
                text = f"{number:03d}"
                self.assertEqual(bool(pattern.fullmatch(text)), grammar.fault(text.encode(), 3) is None, (ranges, text))
            self.assertIsNone(pattern.fullmatch("12"))
        self.assertIsNone(grammars.Decimal(((5, 2),)).regular(3))

    def test_digits(self) -> None:
        """A number without a range is refused with the first octet that is no digit."""
        self.check(grammars.Digits(), b"0123456789", None)
        self.check(grammars.Digits(), b"01 3", 2)
        self.check(grammars.Digits(), b"0\xb2", 1)

    def test_binary_range(self) -> None:
        """A binary length is refused with its first octet if that is enough."""
        for ranges, octets, fault in (
            (((0, 10),), b"\x00\x0a", None),
            (((0, 10),), b"\x00\x0b", 1),
            (((0, 10),), b"\x01\x00", 0),
            (((300, 300),), b"\x01\x2c", None),
            (((300, 300),), b"\x00\x00", 0),
        ):
            self.check(grammars.Binary(ranges), octets, fault)

    def test_opaque(self) -> None:
        """What only its owner can read is never refused."""
        self.check(grammars.Opaque(), bytes(range(256)), None)

    def test_values(self) -> None:
        """A value out of a set is refused with the octet with which no value begins."""
        reasons = grammars.Values([b"03", b"04", b"10"])
        for octets, fault in ((b"03", None), (b"10", None), (b"05", 1), (b"1A", 1), (b"2", 0), (b"0", None)):
            self.assertEqual(first_fault(reasons, octets, 2), fault, octets)

    def test_alphanumeric(self) -> None:
        """X(n) has the RFC's set, stands on the left and holds no space."""
        text = grammars.Alphanumeric()
        self.check(text, b"AZ09/-.&()  ", None)
        self.check(text, b"        ", None)
        self.check(text, b"AB C", 3)
        self.check(text, b" AB", 1)
        self.check(text, b"ABc", 2)
        self.check(text, b"A_", 1)
        self.check(text, b"A\x00", 1)
        self.check(text, b"A\xc4", 1)

    def test_alphanumeric_required(self) -> None:
        """A string that has to be there is refused with a space in front."""
        text = grammars.Alphanumeric(required=True)
        self.check(text, b"A  ", None)
        self.check(text, b"   ", 0)
        self.check(text, b"a  ", 0)

    def test_identification_set(self) -> None:
        """A code in the default profile keeps to the RFC's set, with spaces anywhere but in front."""
        code = grammars.IdentificationSet()
        self.check(code, b"ODEVLAB2".ljust(25), None)
        self.check(code, b"O0013 A  B".ljust(25), None)
        self.check(code, b" O0013".ljust(25), 0)
        self.check(code, b"o0013".ljust(25), 0)
        self.check(code, b"O0013_".ljust(25), 5)

    def test_identification_code(self) -> None:
        """A code in the strict profile has the form of section 5.4."""
        code = grammars.IdentificationCode()
        self.check(code, b"O0013000001ACME".ljust(19) + b"SUB   ", None)
        self.check(code, b"O0013ACC 1-A".ljust(25), None)
        self.check(code, b"LOCAL".ljust(25), 1)
        self.check(code, b" 0013".ljust(25), 0)
        self.check(code, b"O00A3".ljust(25), 3)
        self.check(code, b"O0013A/B".ljust(25), 6)
        self.check(code, b"O0013".ljust(19) + b"A B   ", 21)

    def test_literal_dataset_name(self) -> None:
        """A dataset name in the strict profile keeps to the RFC's set and is no path."""
        name = grammars.DatasetName(literal=True)
        self.check(name, b"ORDERS.A/B-1&(2)".ljust(26), None)
        for octets, fault in ((b"orders", 0), (b"A B", 2), (b"A_B", 1), (b"A..B", 2), (b"/A", 0), (b"A\\B", 1)):
            self.check(name, octets.ljust(26), fault)
        self.check(name, b" " * 26, 0)
        self.assertEqual(name.rule, "field.alphanumeric")

    def test_printable_dataset_name(self) -> None:
        """A dataset name in the default profile is printable and no path, however it is dressed up."""
        name = grammars.DatasetName(literal=False)
        self.check(name, b"Orders #1_new.txt".ljust(26), None)
        self.check(name, b" leading space".ljust(26), None)
        for octets, fault in (
            (b"../etc", 1),
            (b"a..b", 2),
            (b"/etc", 0),
            (b"  /etc", 2),
            (b"C:\\x", 2),
            (b"a\x00", 1),
            (b"a\x1b[", 1),
            (b"a\r\n", 1),
            (b"a\x7f", 1),
            (b"\xfcber", 0),
        ):
            self.check(name, octets.ljust(26), fault)
        self.check(name, b" " * 26, 25)
        self.assertEqual(name.rule, "field.dataset_name")

    def test_date(self) -> None:
        """A date is a day of the calendar, refused with the digit that leaves none."""
        for octets, fault in (
            (b"20261120", None),
            (b"20240229", None),
            (b"20000229", None),
            (b"20261301", 5),
            (b"20260001", 5),
            (b"20262", 4),
            (b"20260132", 7),
            (b"20260100", 7),
            (b"2026014", 6),
            (b"20260431", 7),
            (b"20260229", 7),
            (b"19000229", 7),
            (b"2026023", 6),
            (b"2A", 1),
        ):
            self.assertEqual(first_fault(grammars.Date(), octets, 8), fault, octets)

    def test_short_date(self) -> None:
        """A date with two digits for the year may be the leap day of a year that may be 2000."""
        for octets, fault in ((b"261120", None), (b"000229", None), (b"250229", 5), (b"261", None), (b"262", 2)):
            self.assertEqual(first_fault(grammars.Date(), octets, 6), fault, octets)

    def test_time(self) -> None:
        """A time stamp is a time of day and a counter."""
        for least, octets, fault in (
            (1, b"2359599999", None),
            (1, b"0000000001", None),
            (1, b"0000000000", 9),
            (0, b"0000000000", None),
            (1, b"2400000001", 1),
            (1, b"2360000001", 2),
            (1, b"2359600001", 4),
            (1, b"235959A", 6),
        ):
            self.assertEqual(first_fault(grammars.Time(least), octets, 10), fault, octets)

    def test_short_time(self) -> None:
        """A time stamp of six digits has no counter."""
        self.assertEqual(first_fault(grammars.Time(1), b"235959", 6), None)
        self.assertEqual(first_fault(grammars.Time(1), b"3", 6), 0)

    def test_text_against_all_continuations(self) -> None:
        """UTF-8 is refused with the first octet with which it cannot end validly where the field ends."""
        alphabet = b"A\x80\x9f\xa0\xbf\xc1\xc3\xe0\xed\xf0\xf4\xf5"
        for width in (1, 2, 3):
            self.exhaust(grammars.Utf8(), width, alphabet)
        self.exhaust(grammars.Utf8(), 4, b"A\x80\x8f\x90\xc3\xe2\xf0\xf4")

    def test_foreign_text_against_all_continuations(self) -> None:
        """Text is refused by the default profile with the first octet with which it is neither UTF-8 nor printable."""
        alphabet = b"A\n\x7f\x80\xbf\xc3\xe2\xf0\xff"
        for width in (1, 2, 3):
            self.exhaust(grammars.ForeignText(), width, alphabet)
        self.exhaust(grammars.ForeignText(), 4, b"A\0\x80\xc3\xe2\xf0")
        for octets, fault in (
            (b"f\xfcr", None),
            (b"f\xfc\n", 2),
            (b"\n\xfc", 1),
            (b"\xc3\xbc\n", None),
            (b"\n\xc3", 1),
            (b"\x1b", None),
        ):
            self.check(grammars.ForeignText(), octets, fault)

    def test_printable(self) -> None:
        """Blank to tilde in any order, and nothing else."""
        self.check(grammars.Printable(), bytes(range(0x20, 0x7F)), None)
        for octet in (*range(0x20), *range(0x7F, 0x100)):
            self.check(grammars.Printable(), b"a " + bytes((octet,)) + b"b", 2)

    def test_text(self) -> None:
        """Any UTF-8 is taken."""
        for text in ("", "Grüße", "日本語", "\U0001f600", "\0\r\n"):
            self.check(grammars.Utf8(), text.encode(), None)
