"""What living programs send, one test for each row of the list: taken in the default profile, judged in the strict one.

Row 26 (TLS 1.2, no SNI, no host name check) is about the transport and is held by the tests of the TLS contexts.
"""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.conversation import Conversation
from tests.conformance.openings import INITIATOR, RESPONDER, Terms
from tests.conformance.wire import NOISE, Wire, framed

BOTH = (Profile.DEFAULT, Profile.STRICT)
WIRE = Wire(5)


def offer(
    *, end: bytes = b"\r", code: str = "O0099PARTNER", special: bytes = b"N", mode: str = "B", level: int = 5
) -> bytes:
    """An SSID with one thing changed."""
    ssid = Wire(level).ssid(code, 1024, mode, "YY", 2, False)
    return ssid[:43] + special + ssid[44:60] + end


class FieldNotesTests(SynchronousTestCase):
    """Rows 1 to 28, and the departures with numbers of their own after them."""

    def check(
        self, state: str, sender: Role, buffer: bytes, number: int, strict: int, *, terms: Terms | None = None
    ) -> None:
        """One buffer that passes with an anomaly by default and is refused with a reason by the strict profile."""
        terms = terms or Terms()
        speaker = sender if state not in ("OPENING", "CLOSING", "SENDING-0", "AWAIT_RTR") else sender.other
        tolerant = Conversation(state, speaker, terms=terms)
        tolerant.says(sender, buffer)
        self.assertEqual(tolerant.anomalies, [number])
        error = Conversation(state, speaker, terms=terms, profile=Profile.STRICT).refuses(sender, buffer)
        self.assertEqual(error.reason, strict)

    def passes(
        self, state: str, sender: Role, *buffers: bytes, terms: Terms | None = None, speaker: Role = INITIATOR
    ) -> None:
        """Buffers that both profiles take without a word."""
        for profile in BOTH:
            conversation = Conversation(state, speaker, profile=profile, terms=terms or Terms())
            conversation.says(sender, *buffers)
            self.assertEqual(conversation.anomalies, [])

    def test_row_01_empty_buffer_after_esid(self) -> None:
        """After ESID every further octet of that direction is ignored, an empty Stream Transmission Buffer too."""
        for profile in BOTH:
            for rest in (b"\x10\x00\x00\x04", b"\x00", framed(b"R"), NOISE[:3000]):
                conversation = Conversation("IDLE_TURNED", profile=profile)
                judgement = conversation.judge(INITIATOR, framed(WIRE.esid(0)) + rest)
                self.assertIsNone(judgement.error)
                self.assertEqual(judgement.octets, framed(WIRE.esid(0)))
                self.assertEqual(judgement.discarded, len(rest))
                later = conversation.judge(INITIATOR, rest)
                self.assertEqual((later.error, later.octets, later.discarded), (None, b"", len(rest)))

    def test_row_02_line_feed(self) -> None:
        """0A in place of the carriage return of SSRM, SSID and ESID."""
        self.check("AWAIT_SSRM", RESPONDER, b"IODETTE FTP READY \n", 2, 6)
        self.check("AWAIT_I_SSID", INITIATOR, offer(end=b"\n"), 2, 6)
        self.check("IDLE", INITIATOR, WIRE.esid(8)[:-1] + b"\n", 2, 6)

    def test_row_03_one_octet_more(self) -> None:
        """DATA one octet longer than agreed; two are too many for everybody."""
        for size in (128, 1024, 99999):
            terms = Terms(size=size)
            longer = b"D" + b"\x00" * size
            conversation = Conversation("SENDING", terms=terms)
            conversation.says(INITIATOR, longer)
            error = Conversation("SENDING", terms=terms, profile=Profile.STRICT).refuses(INITIATOR, longer)
            self.assertEqual(error.reason, 7)
            for profile in BOTH:
                error = Conversation("SENDING", terms=terms, profile=profile).refuses(INITIATOR, longer + b"\x00")
                self.assertEqual(error.reason, 7)
                Conversation("SENDING", terms=terms, profile=profile).says(INITIATOR, longer[:-1])

    def test_row_04_esid_behind_efid(self) -> None:
        """ESID 00 with text directly behind EFID, EFPA after it: the first passes, the second is dropped."""
        for state in ("CLOSING", "CLOSING-0"):
            self.check("CLOSING", RESPONDER, WIRE.esid(0, "OK"), 4, 2)
            conversation = Conversation(state)
            conversation.says(INITIATOR, WIRE.esid(0, "OK"))
            self.assertTrue(conversation.monitor.ended)
            late = conversation.judge(RESPONDER, framed(b"4Y"))
            self.assertEqual((late.error, late.octets, late.discarded), (None, b"", 6))
            error = Conversation(state, profile=Profile.STRICT).refuses(INITIATOR, WIRE.esid(0, "OK"))
            self.assertEqual(error.reason, 2)

    def test_row_05_short_and_empty_subrecords(self) -> None:
        """Subrecords shorter than 63, thousands of length zero, also behind an end of record, and header 80."""
        for chain in (b"\x01a\x02bc\x3e" + bytes(62), b"\x00" * 1000, b"\x81a" + b"\x00" * 900, b"\x80" * 50, b"\x80"):
            self.passes("SENDING", INITIATOR, b"D" + chain)
        self.passes("SENDING", INITIATOR, b"D" + b"\x81A" + b"\x00" * 9997, terms=Terms(size=10000))

    def test_row_06_missing_end_of_record(self) -> None:
        """A file whose last record lacks its end-of-record flag is never refused; the strict profile counts it."""
        for form in "UTV":
            for profile in BOTH:
                conversation = Conversation(profile=profile, state="IDLE")
                conversation.says(INITIATOR, WIRE.sfid(1, form, 80 if form == "V" else 0, 1, 0, ""))
                conversation.says(RESPONDER, b"2" + b"0" * 17)
                conversation.says(INITIATOR, b"D\x03abc", WIRE.efid(1 if form == "V" else 0, 3))
                if profile is Profile.STRICT:
                    self.assertIn(6, conversation.anomalies)
                self.assertEqual(set(conversation.anomalies) - {6, 25}, set())

    def test_row_07_empty_file(self) -> None:
        """SFID, SFPA, EFID: a file without any DATA."""
        for profile in BOTH:
            conversation = Conversation("OPENING", profile=profile)
            conversation.says(RESPONDER, WIRE.sfpa(0))
            conversation.says(INITIATOR, WIRE.efid(0, 0))
            conversation.says(RESPONDER, b"4N")
            self.assertEqual(conversation.anomalies, [])

    def test_row_08_dataset_names(self) -> None:
        """Lower case, ``_``, ``#`` and blanks inside pass by default; what could be a path passes nowhere."""
        sfid, eerp, nerp = WIRE.sfid(1, "U", 0, 1, 0, ""), WIRE.eerp(1, b"", b""), WIRE.nerp(1, 99, "", b"", b"")
        for buffer in (sfid, eerp, nerp):
            for name in (b"file.txt", b"A_B", b"#1", b"MY FILE.BIN", b"a/b", b"%$!~", b"x" * 26):
                self.check("IDLE", INITIATOR, buffer[:1] + name.ljust(26) + buffer[27:], 8, 6)
            for name in (b"..", b"A..B", b"/etc/passwd", b"A\\B", b"A\x00", b"A\x1b[2J", b"A\xe9", b"A\x7f", b"/"):
                for profile in BOTH:
                    error = Conversation("IDLE", profile=profile).refuses(
                        INITIATOR, buffer[:1] + name.ljust(26) + buffer[27:]
                    )
                    self.assertEqual(error.reason, 6, name)
            self.passes("IDLE", INITIATOR, buffer[:1] + b"A/B-C.D&(E)".ljust(26) + buffer[27:])

    def test_row_09_counter_zero(self) -> None:
        """A time stamp whose counter is 0000, in each of the three commands that have one."""
        for buffer, at in (
            (WIRE.sfid(1, "U", 0, 1, 0, ""), 44),
            (WIRE.eerp(1, b"", b""), 44),
            (WIRE.nerp(1, 99, "", b"", b""), 47),
        ):
            self.check("IDLE", INITIATOR, buffer[:at] + b"0000" + buffer[at + 4 :], 9, 6)

    def test_row_10_late_credit(self) -> None:
        """CDT after the last DATA of a file: before EFID, and between EFID and its answer; not after that."""
        for answer in (b"4N", b"4Y", WIRE.efna(99, "")):
            self.passes("SENDING-0", RESPONDER, b"C  ")
            self.passes("CLOSING-0", RESPONDER, b"C  ", answer)
            self.passes("CLOSING-0", RESPONDER, answer)
            for profile in BOTH:
                conversation = Conversation("CLOSING-0", profile=profile)
                conversation.says(RESPONDER, answer)
                self.assertEqual(conversation.refuses(RESPONDER, b"C  ").reason, 2)

    def test_row_11_short_credit(self) -> None:
        """CDT of one octet."""
        self.check("SENDING-0", RESPONDER, b"C", 11, 7)

    def test_row_12_segments(self) -> None:
        """Commands glued together and cut anywhere give the same verdicts."""
        for profile in BOTH:
            talk = framed(WIRE.sfid(1, "U", 0, 1, 0, "")), framed(WIRE.any("DATA")) * 2 + framed(WIRE.any("EFID"))
            for cut in range(1, len(talk[1])):
                conversation = Conversation("IDLE", profile=profile)
                conversation.judge(INITIATOR, talk[0])
                conversation.says(RESPONDER, WIRE.sfpa(0))
                judged = [conversation.judge(INITIATOR, part) for part in (talk[1][:cut], talk[1][cut:])]
                self.assertEqual([judgement.error for judgement in judged], [None, None])
                self.assertEqual(b"".join(judgement.octets for judgement in judged), talk[1])

    def test_row_13_whole_buffers_only(self) -> None:
        """Whatever comes octet by octet leaves as whole Stream Transmission Buffers, header and all."""
        for profile in BOTH:
            conversation = Conversation("SENDING", profile=profile)
            buffers = [framed(WIRE.any("DATA")), framed(b"D" + b"\x3f" + bytes(63)), framed(WIRE.any("EFID"))]
            left = []
            for octet in b"".join(buffers):
                judgement = conversation.judge(INITIATOR, bytes((octet,)))
                if judgement.octets:
                    left.append(judgement.octets)
            self.assertEqual(left, buffers)

    def test_row_14_hash_without_signature(self) -> None:
        """An unsigned EERP that carries a hash."""
        self.check("IDLE", INITIATOR, WIRE.eerp(1, bytes(20), b""), 14, 6)

    def test_row_15_end_responses_that_stop_early(self) -> None:
        """NERP that ends after the reason text and EERP that ends after ORIG; one octet more or less is an error."""
        eerp, nerp = WIRE.eerp(1, b"", b""), WIRE.nerp(1, 99, "nerp by option", b"", b"")
        for buffer in (eerp[:-4], nerp[:-4]):
            self.check("IDLE", INITIATOR, buffer, 15, 7)
            for wrong in (buffer[:-1], buffer + b"\x00", buffer + b"\x00\x00", buffer + bytes(3)):
                for profile in BOTH:
                    self.assertEqual(Conversation("IDLE", profile=profile).refuses(INITIATOR, wrong).reason, 7)

    def test_row_16_signatures_are_opaque(self) -> None:
        """EERPSIG and NERPSIG may be anything: they are never parsed."""
        for signature in (b"\x00", b"\xff" * 500, NOISE[:2000], b"0\x80"):
            self.passes("IDLE", INITIATOR, WIRE.eerp(1, bytes(20), signature))
            self.passes("IDLE", INITIATOR, WIRE.nerp(1, 99, "", bytes(20), signature))

    def test_row_17_authentication_below_level_5(self) -> None:
        """SSIDAUTH blank, or N, at levels below 5."""
        for level in (1, 2, 4):
            for letter in (b" ", b"N"):
                ssid = offer(level=level)
                self.passes("AWAIT_I_SSID", INITIATOR, ssid[:47] + letter + ssid[48:])

    def test_row_18_esid_layouts(self) -> None:
        """ESID in the 2.0 layout in place of SSID, and in the 1.x layout at level 5 and the other way round."""
        for reason in (3, 4, 8, 10, 12):
            self.passes("AWAIT_R_SSID", RESPONDER, WIRE.esid(reason, "Authentication error: INVALID PASSWORD"))
            self.passes("AWAIT_R_SSID", RESPONDER, b"F%02d\r" % reason)
        self.check("IDLE", INITIATOR, b"F99\r", 18, 7)
        self.check("IDLE", INITIATOR, b"F99", 18, 7)
        for level in (2, 4):
            self.check("IDLE", INITIATOR, WIRE.esid(99, "text"), 18, 7, terms=Terms(level=level))
            self.check("IDLE", INITIATOR, b"F99", 18, 7, terms=Terms(level=level))

    def test_row_19_time_out_by_the_listener(self) -> None:
        """ESID 09 from the Listener."""
        for state in ("IDLE", "SENDING", "CLOSING", "AWAIT_RTR"):
            self.passes(state, RESPONDER, WIRE.esid(9))

    def test_row_20_turn_for_a_receiver(self) -> None:
        """EFPACD=Y although the Initiator only sends: the Responder gets the turn and sends its end response."""
        for profile in BOTH:
            conversation = Conversation("CLOSING", profile=profile, terms=Terms(modes="SR"))
            conversation.says(RESPONDER, b"4Y")
            conversation.says(INITIATOR, b"R")
            conversation.says(RESPONDER, WIRE.any("EERP"))
            conversation.says(INITIATOR, b"P")
            conversation.says(RESPONDER, b"R")
            conversation.says(INITIATOR, WIRE.esid(0))
            self.assertEqual(conversation.anomalies, [])

    def test_row_21_identification_codes(self) -> None:
        """Codes that are not of the form of section 5.4, in SSID and SFID."""
        for code in ("ODEVLAB2", "LOCAL", "X"):
            self.check("AWAIT_I_SSID", INITIATOR, offer(code=code), 21, 6)
            sfid = WIRE.sfid(1, "U", 0, 1, 0, "")
            field = b"%-25s" % code.encode()
            self.check("IDLE", INITIATOR, sfid[:56] + field + sfid[81:], 21, 6)
            self.check("IDLE", INITIATOR, sfid[:81] + field + sfid[106:], 21, 6)

    def test_row_22_sizes_are_estimates(self) -> None:
        """SFIDFSIZ and SFIDOSIZ are never a reason to refuse."""
        sfid = WIRE.sfid(1, "U", 0, 1, 0, "")
        for sizes in (b"0" * 26, b"9" * 26, b"0" * 13 + b"9" * 13, b"9" * 13 + b"0" * 13):
            self.passes("IDLE", INITIATOR, sfid[:112] + sizes + sfid[138:])

    def test_row_23_cipher_suites(self) -> None:
        """SFIDCIPH 00 to 99, with and without a security level."""
        sfid = WIRE.sfid(1, "U", 0, 1, 0, "")
        for suite in range(100):
            for level in (b"00", b"01", b"02", b"03"):
                self.passes("IDLE", INITIATOR, sfid[:155] + level + b"%02d" % suite + sfid[159:])

    def test_row_24_special_logic(self) -> None:
        """SSIDSPEC=Y on one side passes; on both sides the session ends with 10; the strict profile takes neither."""
        self.check("AWAIT_I_SSID", INITIATOR, offer(special=b"Y"), 24, 10)
        self.check("AWAIT_R_SSID", RESPONDER, offer(special=b"Y", code="O0013STATION"), 24, 10)
        conversation = Conversation("AWAIT_I_SSID")
        conversation.says(INITIATOR, offer(special=b"Y"))
        self.assertEqual(conversation.refuses(RESPONDER, offer(special=b"Y")).reason, 10)
        conversation = Conversation("AWAIT_I_SSID")
        conversation.says(INITIATOR, offer(special=b"Y"))
        conversation.says(RESPONDER, offer())

    def test_row_25_counts(self) -> None:
        """EFIDUCNT counts what the subrecords represent; another number is for the station to judge."""
        for profile in BOTH:
            for count, anomalies in ((6, []), (5, [25]), (7, [25]), (99999999999999999, [25])):
                conversation = Conversation("SENDING", profile=profile)
                conversation.says(INITIATOR, b"D\x04a\r\n\x0a\x82bc", WIRE.efid(0, count))
                self.assertEqual(conversation.anomalies, anomalies)

    def test_row_27_level_1(self) -> None:
        """SSIDLEV 1 answered by 2, and by 1: one layout."""
        for profile in BOTH:
            for answer in (1, 2):
                conversation = Conversation("AWAIT_I_SSID", profile=profile)
                conversation.says(INITIATOR, offer(level=1))
                conversation.says(RESPONDER, offer(level=answer, code="O0013STATION"))
                conversation.says(INITIATOR, Wire(2).sfid(1, "U", 0, 1, 0, ""))
                conversation.says(RESPONDER, Wire(2).sfpa(0))
                self.assertEqual(conversation.anomalies, [])

    def test_row_28_mirrored_directions(self) -> None:
        """SSIDSR answered by its mirror image passes; S against S and R against R end with 10."""
        for mode, answers in (("S", "RB"), ("R", "SB"), ("B", "SRB")):
            for answer in answers:
                self.passes("AWAIT_R_SSID", RESPONDER, offer(mode=answer), terms=Terms(modes=mode * 2))
        for mode in "SR":
            for profile in BOTH:
                conversation = Conversation("AWAIT_R_SSID", profile=profile, terms=Terms(modes=mode * 2))
                self.assertEqual(conversation.refuses(RESPONDER, offer(mode=mode)).reason, 10)

    def test_anomaly_26_lower_case_in_ssid(self) -> None:
        """SSIDPSWD and SSIDUSER of any printable ASCII; a control or an octet with bit 8 set is refused by both."""
        ssid = offer()
        for start in (27, 52):
            for value in (b"Secret1_", b"pass wrd", b" secret ", b"\\~!\"#$%'"):
                self.check("AWAIT_I_SSID", INITIATOR, ssid[:start] + value + ssid[start + 8 :], 26, 6)
            for profile in BOTH:
                for octet in (b"\x00", b"\n", b"\x1f", b"\x7f", b"\x80", b"\xfc"):
                    wrong = ssid[:start] + b"secre" + octet + b"t " + ssid[start + 8 :]
                    self.assertEqual(Conversation("AWAIT_I_SSID", profile=profile).refuses(INITIATOR, wrong).reason, 6)

    def test_anomaly_27_text_in_latin_1(self) -> None:
        """Texts of another character set than UTF-8 pass as they came; with a control in them both refuse them."""
        places = (
            ("IDLE", INITIATOR, WIRE.sfid(1, "U", 0, 1, 0, "?"), 162),
            ("OPENING", RESPONDER, WIRE.sfna(13, "N", "?"), 4),
            ("CLOSING", RESPONDER, WIRE.efna(99, "?"), 3),
            ("IDLE", INITIATOR, WIRE.esid(8, "?"), 3),
            ("IDLE", INITIATOR, WIRE.nerp(1, 34, "?", b"", b""), 128),
        )
        for state, sender, buffer, start in places:
            self.assertEqual(buffer[start : start + 4], b"001?")
            for text in (b"Zugriff verweigert f\xfcr K\xf6ln", b"\x85\xa0\xff", b"\xfc", b"a\xc3"):
                self.check(state, sender, buffer[:start] + b"%03d%s" % (len(text), text) + buffer[start + 4 :], 27, 6)
            for text in (b"\xfcber\n", b"\x1b[31m\xfc", b"\x7f\xfc", b"\x00\xff"):
                wrong = buffer[:start] + b"%03d%s" % (len(text), text) + buffer[start + 4 :]
                for profile in BOTH:
                    speaker = INITIATOR
                    self.assertEqual(Conversation(state, speaker, profile=profile).refuses(sender, wrong).reason, 6)
            self.passes(state, sender, buffer[:start] + b"007Gr\xc3\xbc\xc3\x9f" + b"e" + buffer[start + 4 :])
        conversation = Conversation("IDLE")
        sfid = WIRE.sfid(1, "U", 0, 1, 0, "?")
        judgement = conversation.judge(INITIATOR, framed(sfid[:162] + b"003f\xfcr"))
        self.assertEqual(judgement.observations[0].fields["SFIDDESC"], "f\\xfcr")
