"""Reading and writing Command Exchange Buffers."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import codec, commands
from smartproxy.oftp2.codec import Reader
from smartproxy.oftp2.commands import (
    AUCH,
    CDT,
    DATA,
    ESID,
    NERP,
    SFNA,
    SSID,
    Command,
)
from smartproxy.oftp2.errors import (
    BadField,
    BadLength,
    BadSubrecord,
    EsidReason,
    Incompatible,
    ProtocolError,
    UnknownCommand,
)
from smartproxy.oftp2.roles import Level, Profile
from tests.unit.samples import eerp, nerp, samples, sfid, ssid


def patched(octets: bytes, at: int, by: bytes) -> bytes:
    """Return a buffer with some octets replaced."""
    return octets[:at] + by + octets[at + len(by) :]


class CodecCase(SynchronousTestCase):
    """How verdicts are compared."""

    def refused(
        self, octets: bytes, kind: type[ProtocolError], rule: str, offset: int, profile: Profile = Profile.DEFAULT
    ) -> ProtocolError:
        """Assert that a buffer is refused with the octet at ``offset`` (header included), whole and octet by octet."""
        whole: ProtocolError = self.assertRaises(kind, codec.decode, octets, Level.OFTP_2_0, profile)
        self.assertEqual((whole.rule, whole.offset), (rule, offset))
        made = commands.BY_OCTET[Level.OFTP_2_0][octets[0]]
        reader = Reader(made, len(octets), Level.OFTP_2_0, profile)
        for have in range(1, offset - 3):
            self.assertFalse(reader.judge(octets[:have]), have)
        single = self.assertRaises(kind, reader.judge, octets[: offset - 3])
        self.assertEqual((single.rule, single.offset), (rule, offset))
        return whole

    def tolerated(self, octets: bytes, number: int, level: Level = Level.OFTP_2_0) -> Command:
        """Assert that a buffer passes the default profile with one departure, and the strict one not at all."""
        made = commands.BY_OCTET[level][octets[0]]
        reader = Reader(made, len(octets), level)
        self.assertTrue(reader.judge(octets))
        self.assertEqual([anomaly.number for anomaly in reader.anomalies], [number])
        self.assertEqual(reader.anomalies[0].command, made.NAME)
        self.assertRaises(ProtocolError, codec.decode, octets, level, Profile.STRICT)
        return reader.command()


class RoundTripTests(CodecCase):
    """What is written is read back, and the other way round."""

    def test_all_commands_at_all_levels(self) -> None:
        """Every command reads back as itself, whole and octet by octet, in both profiles and without a departure."""
        for level in Level:
            for name, command in samples(level).items():
                octets = codec.encode(command, level)
                for profile in Profile:
                    self.assertEqual(codec.decode(octets, level, profile), command, (name, level))
                    reader = Reader(type(command), len(octets), level, profile)
                    for have in range(1, len(octets)):
                        self.assertFalse(reader.judge(octets[:have]), (name, level, have))
                    self.assertTrue(reader.judge(octets), (name, level))
                    self.assertEqual(reader.command(), command)
                    self.assertEqual(reader.anomalies, [])

    def test_lengths(self) -> None:
        """A buffer is as long as its level's layout says."""
        for level in Level:
            for name, command in samples(level).items():
                found = type(command).LAYOUTS[level]
                self.assertTrue(found.shortest <= len(codec.encode(command, level)) <= found.longest, (name, level))

    def test_variable_fields(self) -> None:
        """Texts, hashes and signatures of any length are kept."""
        for command in (
            sfid(desc="Bestellung für März ✓"),
            sfid(desc="x" * 999),
            nerp(reast="Grund", hsh=bytes(20), sig=b"\x00\xff" * 500),
            nerp(reast="", hsh=b"", sig=b"s"),
            eerp(hsh=bytes(32), sig=bytes(1300)),
            AUCH(chal=b""),
            DATA(buf=b"\x83abc"),
            DATA(buf=b""),
        ):
            octets = codec.encode(command)
            self.assertEqual(codec.decode(octets, Level.OFTP_2_0), command)

    def test_ssid_by_its_own_level(self) -> None:
        """An SSID is laid out by the level that it names, whatever was agreed."""
        for lev in (1, 2, 4, 5):
            command = ssid(lev=lev)
            octets = codec.encode(command, Level.OFTP_1_4)
            self.assertEqual(octets[47:52], b"N    " if lev == 5 else b"     ")
            for level in Level:
                self.assertEqual(codec.decode(octets, level), command)

    def test_reserved_ssid_octets_below_level_5(self) -> None:
        """Where SSIDAUTH is reserved, blank and N are taken and Y is not."""
        octets = codec.encode(ssid(lev=4))
        for profile in Profile:
            read = codec.decode(patched(octets, 47, b"N"), Level.OFTP_2_0, profile)
            self.assertEqual(read, ssid(lev=4, rsv1="N"))
            self.refused(patched(octets, 47, b"Y"), BadField, "field.value", 51, profile)


class RefusalTests(CodecCase):
    """What is wrong is refused with the first octet that makes it so."""

    def test_unknown(self) -> None:
        """A command octet that the level does not have is refused, and so is nothing."""
        for octets, level in ((b"", Level.OFTP_2_0), (b"Z", Level.OFTP_2_0), (b"J", Level.OFTP_1_4)):
            error = self.assertRaises(UnknownCommand, codec.decode, octets, level)
            self.assertEqual((error.rule, error.offset), ("command.unknown", 4))
            self.assertIs(error.reason, EsidReason.COMMAND_NOT_RECOGNISED)

    def test_wrong_lengths(self) -> None:
        """A command of a length that it cannot have is refused before its first field."""
        for level in Level:
            for name, command in samples(level).items():
                octets = codec.encode(command, level)
                found = type(command).LAYOUTS[level]
                for wrong in (octets[: found.shortest - 1], octets + bytes(found.longest + 1 - len(octets))):
                    possible = (short for short in type(command).TOLERATED[level])
                    if len(wrong) == 0 or any(p.shortest <= len(wrong) <= p.longest for p in possible):
                        continue
                    error = self.assertRaises(BadLength, codec.decode, wrong, level)
                    self.assertEqual((error.rule, error.offset), ("length.command", 4), (name, level))

    def test_field_octet(self) -> None:
        """A field is refused with the octet that is wrong, and its name and section are given."""
        error = self.refused(patched(codec.encode(sfid()), 32, b"A"), BadField, "field.date", 36)
        self.assertEqual((error.command, error.field, error.section), ("SFID", "SFIDDATE", "1.5.2"))
        self.refused(patched(codec.encode(ssid()), 35, b"00012"), BadField, "field.number", 41)
        self.refused(patched(codec.encode(ssid()), 44, b"000"), BadField, "field.number", 50)

    def test_no_octet_of_the_peer_in_an_error(self) -> None:
        """Errors are logged, so they do not repeat what was sent."""
        octets = patched(codec.encode(ssid(pswd="CANARY")), 33, b"\xff")
        error = self.refused(octets, BadField, "field.alphanumeric", 37)
        self.assertNotIn("CANARY", repr(error) + str(error))

    def test_length_fields(self) -> None:
        """A length with which the command would not end where the buffer ends is refused with its first such digit."""
        octets = codec.encode(SFNA(reas=1, rrtr="N", reast="0123456789"))
        for length, offset in ((b"009", 9), (b"011", 10), (b"020", 9), (b"100", 8)):
            self.refused(patched(octets, 4, length), BadLength, "length.field", offset)
        self.refused(patched(octets, 4, b"0A0"), BadField, "field.number", 9)

    def test_binary_length_fields(self) -> None:
        """The same goes for the lengths of hash and signature."""
        octets = codec.encode(eerp(hsh=bytes(20), sig=bytes(300)))
        self.refused(patched(octets, 106, b"\x02"), BadLength, "length.field", 110)
        self.refused(patched(octets, 106, b"\x01\x41"), BadLength, "length.field", 111)
        self.refused(patched(octets, 128, b"\x00"), BadLength, "length.field", 132)
        self.refused(patched(octets, 128, b"\x01\x2d"), BadLength, "length.field", 133)

    def test_record_size_without_records(self) -> None:
        """Formats U and T have no record size."""
        for fmt in "UT":
            octets = codec.encode(sfid(fmt=fmt))
            self.refused(patched(octets, 107, b"00080"), BadField, "field.record_size", 114)
        for fmt in "FV":
            octets = patched(codec.encode(sfid(fmt=fmt)), 107, b"99999")
            self.assertEqual(codec.decode(octets, Level.OFTP_2_0), sfid(fmt=fmt, lrecl=99999))

    def test_secured_variable_records(self) -> None:
        """A format V file with longer records than a length of two octets can say is neither secured nor compressed."""
        for at in (156, 159):
            self.refused(
                patched(codec.encode(sfid(fmt="V", lrecl=65537)), at, b"1"), BadField, "field.record_size", at + 4
            )
            octets = patched(codec.encode(sfid(fmt="V", lrecl=65536)), at, b"1")
            codec.decode(octets, Level.OFTP_2_0)

    def test_first_fault_counts(self) -> None:
        """Of two faults the one that comes first is told."""
        octets = patched(patched(codec.encode(sfid()), 120, b"x"), 1, b"\x00")
        self.refused(octets, BadField, "field.dataset_name", 5)

    def test_reasons_by_level(self) -> None:
        """Reasons that came with a later level are not taken at an earlier one."""
        for level, reason, good in ((2, 13, True), (2, 14, False), (4, 14, True), (4, 15, False), (5, 20, True)):
            text = "" if level == 5 else None
            octets = codec.encode(SFNA(reas=1, rrtr="N", reast=text), Level(level))
            octets = patched(octets, 1, b"%02d" % reason)
            if good:
                codec.decode(octets, Level(level))
            else:
                self.assertRaises(BadField, codec.decode, octets, Level(level))

    def test_data(self) -> None:
        """A DATA buffer is judged by its subrecords."""
        error = self.assertRaises(BadSubrecord, codec.decode, b"D\x05abc", Level.OFTP_2_0)
        self.assertEqual(error.offset, 5)


class DepartureTests(CodecCase):
    """What the default profile lets pass, with a record; the strict profile refuses each."""

    def test_carriage_return(self) -> None:
        """A line feed for a carriage return is number 2."""
        for name in ("SSRM", "SSID", "ESID"):
            octets = codec.encode(samples(Level.OFTP_2_0)[name])
            self.tolerated(octets[:-1] + b"\n", 2)
            codec.decode(octets[:-1] + b"\x8d", Level.OFTP_2_0, Profile.STRICT)

    def test_dataset_name(self) -> None:
        """A dataset name outside the RFC's set is number 8."""
        self.tolerated(codec.encode(sfid(dsn="Orders_1 (new)#2")), 8)
        self.tolerated(codec.encode(eerp(dsn="orders")), 8)

    def test_counter(self) -> None:
        """The counter 0000 is number 9."""
        self.tolerated(codec.encode(sfid(time=1234560000)), 9)

    def test_short_cdt(self) -> None:
        """CDT of one octet is number 11; of two it is too short."""
        self.assertEqual(self.tolerated(b"C", 11), CDT(rsv1=None))
        self.assertRaises(BadLength, codec.decode, b"C ", Level.OFTP_2_0)
        self.assertRaises(BadLength, codec.decode, b"C", Level.OFTP_2_0, Profile.STRICT)

    def test_hash_without_signature(self) -> None:
        """A hash in an end response that is not signed is number 14."""
        self.tolerated(codec.encode(eerp(hsh=bytes(20))), 14)
        octets = codec.encode(nerp(hsh=bytes(20)))
        self.tolerated(octets, 14)
        self.refused(octets, BadField, "field.unsigned_hash", 4 + len(octets) - 1, Profile.STRICT)

    def test_short_end_responses(self) -> None:
        """End responses without the lengths of hash and signature are number 15."""
        short = eerp(hsh=None, sig=None)
        self.assertEqual(self.tolerated(codec.encode(short), 15), short)
        for reast in ("", "because", "x" * 999):
            command = nerp(reast=reast, hsh=None, sig=None)
            self.assertEqual(self.tolerated(codec.encode(command), 15), command)

    def test_a_strict_refusal_names_what_is_missing(self) -> None:
        """An end response in the short form: the message names every field that it lacks, however long its text is."""
        for command, names in (
            (eerp(hsh=None, sig=None), "EERPHSHL, EERPHSH, EERPSIGL and EERPSIG"),
            *(
                (nerp(reast=reast, hsh=None, sig=None), "NERPHSHL, NERPHSH, NERPSIGL and NERPSIG")
                for reast in ("", "x", "why", "because", "x" * 999)
            ),
        ):
            octets = codec.encode(command)
            refused = self.assertRaises(BadLength, codec.decode, octets, Level.OFTP_2_0, Profile.STRICT)
            self.assertIn(f"no room for {names}", refused.message)
        refused = self.assertRaises(BadLength, codec.decode, b"C", Level.OFTP_2_0, Profile.STRICT)
        self.assertEqual(refused.message, "CDT of 1 octets has no room for CDTRSV1")

    def test_half_an_end(self) -> None:
        """An end response that ends anywhere else is refused with the length that cannot be."""
        for missing in (1, 2, 3):
            octets = codec.encode(nerp(reast="0123456789"))[:-missing]
            self.refused(octets, BadLength, "length.field", 4 + 130)
            error = self.assertRaises(BadLength, codec.decode, codec.encode(eerp())[:-missing], Level.OFTP_2_0)
            self.assertEqual(error.rule, "length.command")

    def test_esid_layouts(self) -> None:
        """ESID in another level's layout, or without its last octet, is number 18."""
        self.assertEqual(self.tolerated(b"F00\r", 18), ESID(reas=0))
        self.assertEqual(self.tolerated(b"F09", 18), ESID(reas=9, cr=None))
        self.assertEqual(self.tolerated(b"F08003why\r", 18, Level.OFTP_1_3), ESID(reas=8, reast="why"))
        for octets in (b"F0", b"F0000", b"F00000"):
            self.assertRaises(BadLength, codec.decode, octets, Level.OFTP_2_0)

    def test_esid_before_a_level_is_agreed(self) -> None:
        """Before there is a level, both layouts are right in both profiles."""
        for profile in Profile:
            for octets in (b"F04\r", b"F04002no\r"):
                reader = Reader(ESID, len(octets), None, profile)
                self.assertTrue(reader.judge(octets))
                self.assertEqual(reader.anomalies, [])
        reader = Reader(ESID, 3, None)
        self.assertTrue(reader.judge(b"F04"))
        self.assertEqual([anomaly.number for anomaly in reader.anomalies], [18])
        self.assertRaises(BadLength, Reader, ESID, 3, None, Profile.STRICT)

    def test_identification(self) -> None:
        """A code that does not have the form of section 5.4 is number 21."""
        for code in ("ODEVLAB2", "LOCAL"):
            octets = codec.encode(ssid(code))
            self.tolerated(octets, 21)
            error = self.assertRaises(BadField, codec.decode, octets, Level.OFTP_2_0, Profile.STRICT)
            self.assertEqual((error.rule, error.section), ("field.identification", "5.4"))

    def test_special_logic(self) -> None:
        """An offer of special logic is number 24, and reason 10 in the strict profile."""
        octets = codec.encode(ssid(spec="Y"))
        self.tolerated(octets, 24)
        error = self.refused(octets, Incompatible, "negotiation.special_logic", 47, Profile.STRICT)
        self.assertIs(error.reason, EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE)
        self.refused(patched(octets, 43, b"X"), BadField, "field.value", 47, Profile.STRICT)


class EncodeTests(CodecCase):
    """What cannot be written is refused, with what is wrong."""

    def test_values_that_do_not_fit(self) -> None:
        """A value that is too long or not allowed is refused."""
        for command in (
            ssid("O0013THIS CODE IS MUCH TOO LONG"),
            ssid(sdeb=127),
            ssid(pswd="low\ner"),
            sfid(dsn="../x"),
            sfid(desc="x" * 1000),
            sfid(date=20261345),
            DATA(buf=b"\x05abc"),
        ):
            self.assertRaises(ValueError, codec.encode, command)

    def test_values_that_would_change(self) -> None:
        """A value that would be read back as another is refused."""
        self.assertRaises(ValueError, codec.encode, ssid(user="A "))
        self.assertRaises(ValueError, codec.encode, sfid(rest=-1))

    def test_level(self) -> None:
        """A command or field that the level does not have, or lacks, is refused and named."""
        error = self.assertRaises(ValueError, codec.encode, nerp(Level.OFTP_1_4), Level.OFTP_1_3)
        self.assertIn("NERP does not exist at release level 2", str(error))
        error = self.assertRaises(ValueError, codec.encode, sfid(), Level.OFTP_1_4)
        self.assertIn("osiz", str(error))
        error = self.assertRaises(ValueError, codec.encode, SFNA(reas=1, rrtr="N"))
        self.assertIn("reast", str(error))

    def test_esid(self) -> None:
        """An ESID is made ready to be sent, in the layout of the level."""
        self.assertEqual(codec.esid(EsidReason.TIME_OUT, "Time out"), b"\x10\x00\x00\x13F09008Time out\r")
        self.assertEqual(codec.esid(EsidReason.NORMAL), b"\x10\x00\x00\x0bF00000\r")
        self.assertEqual(codec.esid(EsidReason.TIME_OUT, "Time out", Level.OFTP_1_4), b"\x10\x00\x00\x08F09\r")

    def test_esid_in_a_small_buffer(self) -> None:
        """An ESID is no longer than the Exchange Buffer that its reader takes; the least one if nothing is known."""
        for most in (128, 129, 500):
            octets = codec.esid(EsidReason.UNSPECIFIED_ABORT, "x" * 1_000, most=most)
            self.assertEqual(octets[4:], b"F99%03d%s\r" % (most - 7, b"x" * (most - 7)))
        self.assertEqual(len(codec.esid(EsidReason.UNSPECIFIED_ABORT, "x" * 1_000)), 4 + 128)
        for reason in EsidReason:
            self.assertIn(reason.phrase.encode(), codec.esid(reason, reason.phrase))

    def test_esid_for_any_text(self) -> None:
        """What cannot be shown is replaced, and what does not fit is cut after a whole character: there is an ESID."""
        odd = codec.esid(EsidReason.UNSPECIFIED_ABORT, "a\x1b[2J\r\n\ud800")
        shown = "a\ufffd[2J\ufffd\ufffd\ufffd".encode()
        self.assertEqual(odd[4:], b"F99%03d%s\r" % (len(shown), shown))
        for character, octets in (("x", 999), ("\u00e4", 998), ("\N{EURO SIGN}", 999), ("\N{GRINNING FACE}", 996)):
            long = codec.esid(EsidReason.UNSPECIFIED_ABORT, character * 1_000, most=99_999)
            self.assertEqual(long[4:], b"F99%03d%s\r" % (octets, (character * 1_000).encode()[:octets]))


class ReaderTests(CodecCase):
    """What is known of a command that is still arriving."""

    def test_level(self) -> None:
        """The level that an SSID names is known with its octet."""
        octets = codec.encode(ssid(lev=2))
        reader = Reader(SSID, len(octets), None)
        reader.judge(octets[:1])
        self.assertIs(reader.level, None)
        reader.judge(octets[:2])
        self.assertIs(reader.level, Level.OFTP_1_3)

    def test_shown(self) -> None:
        """Fields are shown by the RFC's names, without secrets."""
        shown = codec.decode(codec.encode(ssid(pswd="CANARY")), Level.OFTP_2_0).shown()
        self.assertEqual((shown["SSIDPSWD"], shown["SSIDCODE"], shown["SSIDLEV"]), ("***", "O0099PARTNER", 5))
        self.assertEqual(len(shown), 13)

    def test_inside_other_octets(self) -> None:
        """A command is read where it stands."""
        octets = codec.encode(nerp(reast="abc"))
        reader = Reader(NERP, len(octets), Level.OFTP_2_0)
        around = b"#" * 7 + octets + b"#" * 9
        self.assertFalse(reader.judge(around, 7, 50))
        self.assertTrue(reader.judge(around, 7, 7 + len(octets)))
        self.assertEqual(reader.command(), nerp(reast="abc"))
