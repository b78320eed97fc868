"""The commands are declared as RFC 5024, RFC 2204 and the layout of release 1.4 print them."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.commands import BY_NAME, COMMANDS
from smartproxy.oftp2.roles import Level
from tests.conformance import wire
from tests.conformance.facts import LEVELS, facts, table
from tests.conformance.malformed import sample
from tests.conformance.spans import spans


def declared(level: int) -> list[tuple[str, str, str, str]]:
    """(command, position, field, format) of every declaration at a level, in order."""
    return [
        (command.NAME, "-" if field.position is None else str(field.position), field.name, field.describe())
        for command in COMMANDS
        if level in command.LAYOUTS
        for field in command.LAYOUTS[Level(level)].fields
    ]


def printed(level: int) -> list[tuple[str, str, str, str]]:
    """The same rows from the table of facts."""
    return [
        (row["command"], row["position"], row["field"], row["format"])
        for row in table("rfc5024_fields.tsv")
        if str(level) in row["levels"].split(",")
    ]


class DeclarationsTests(SynchronousTestCase):
    """Declaration and fact, row by row and in both directions."""

    maxDiff = None

    def test_every_row(self) -> None:
        """At each level the declarations are the facts: the same rows in the same order, none missing, none extra."""
        for level in LEVELS:
            self.assertEqual(declared(level), printed(level), f"level {level}")

    def test_number_of_rows(self) -> None:
        """The table of facts is whole: as many rows as the RFCs print, so that an empty table cannot agree."""
        counts = Counter(row["levels"] for row in table("rfc5024_fields.tsv"))
        self.assertEqual(counts, {"1,2": 57, "4": 66, "5": 97})

    def test_facts_add_up(self) -> None:
        """The printed positions are the running sums of the printed widths: the facts were taken down rightly."""
        for fields_ in facts().values():
            end: int | None = 0
            for fact in fields_:
                self.assertEqual(fact.position, end, f"{fact.field} at level {fact.level}")
                end = None if end is None or fact.width is None else end + fact.width

    def test_every_field_has_a_value_rule(self) -> None:
        """Each field but the command octets has a row in the table of values, at each of its levels."""
        for fields_ in facts().values():
            for fact in fields_:
                self.assertEqual(fact.rule == "command", fact.field.endswith("CMD"), f"{fact.field} {fact.level}")

    def test_command_octets(self) -> None:
        """Each command has the octet that the RFC gives it, and there are 18."""
        self.assertEqual({command.OCTET: command.NAME for command in COMMANDS}, wire.OCTETS)
        self.assertEqual(len(BY_NAME), 18)

    def test_sections(self) -> None:
        """Each command names the section of RFC 5024 that defines it, in the RFC's order."""
        self.assertEqual([command.SECTION for command in COMMANDS], [f"5.3.{number}" for number in range(1, 19)])


class HandwrittenBuffersTests(SynchronousTestCase):
    """Buffers written by hand from the RFC and the codec mean the same."""

    def test_encode_and_decode(self) -> None:
        """Decoding a hand-written buffer and encoding the result gives its octets back, for all commands and levels."""
        for level, command in facts():
            buffer = sample(level, command)
            decoded = decode(buffer, Level(level))
            self.assertEqual(type(decoded).__name__, command)
            self.assertEqual(encode(decoded, Level(level)), buffer)

    def test_values(self) -> None:
        """Every attribute holds what stands in the octets at the RFC's position."""
        for level, command in facts():
            buffer = sample(level, command)
            decoded = decode(buffer, Level(level))
            for span in spans(level, command, buffer)[1:]:
                value = getattr(decoded, span.fact.field.removeprefix(command).lower())
                octets = span.of(buffer)
                if span.fact.letter == "9":
                    self.assertEqual(value, int(octets), span.fact.field)
                elif span.fact.letter == "X":
                    self.assertEqual(value, octets.decode("latin-1").rstrip(" "), span.fact.field)
                elif span.fact.letter == "T":
                    self.assertEqual(value, octets.decode(), span.fact.field)
                elif span.fact.rule == "length":
                    self.assertEqual(value, int.from_bytes(octets, "big"), span.fact.field)
                else:
                    self.assertEqual(bytes(value), octets, span.fact.field)

    def test_every_allowed_value(self) -> None:
        """Each value that the RFC enumerates for a field is accepted."""
        for level, command in facts():
            buffer = sample(level, command)
            for span in spans(level, command, buffer):
                if span.fact.rule != "one-of" or span.fact.field == "SSIDLEV":
                    continue
                for value in span.fact.argument.split():
                    changed = buffer[: span.start] + value.encode() + buffer[span.start + span.width :]
                    if span.fact.field == "SFIDFMT" and value in "TU":
                        changed = changed[:107] + b"00000" + changed[112:]
                    self.assertEqual(encode(decode(changed, Level(level)), Level(level)), changed, span.fact.field)
