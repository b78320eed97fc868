"""Exchange Buffers written by hand from section 5.3 of RFC 5024 and RFC 2204, without the codec under test."""

from random import Random

OCTETS = {
    b"I": "SSRM",
    b"X": "SSID",
    b"H": "SFID",
    b"2": "SFPA",
    b"3": "SFNA",
    b"D": "DATA",
    b"C": "CDT",
    b"T": "EFID",
    b"4": "EFPA",
    b"5": "EFNA",
    b"F": "ESID",
    b"R": "CD",
    b"E": "EERP",
    b"N": "NERP",
    b"P": "RTR",
    b"J": "SECD",
    b"A": "AUCH",
    b"S": "AURP",
}
COMMANDS = tuple(OCTETS.values())

NOISE = Random(5024).randbytes(1 << 18)
TEXTS = ("", "", "", "why not", "Grüße aus Köln", "déjà reçu", "到着")
SIZES = (128, 128, 129, 130, 191, 192, 193, 256, 512, 1024, 2048, 4096, 32768, 99999)
WINDOWS = (1, 1, 2, 3, 4, 7, 20, 64, 255, 998, 999)


def framed(buffer: bytes) -> bytes:
    """Put the Stream Transmission Header of section 8.2 in front."""
    return (0x10000000 | (len(buffer) + 4)).to_bytes(4, "big") + buffer


def text_field(text: str) -> bytes:
    """A length of three digits and the text in UTF-8."""
    octets = text.encode()
    return b"%03d" % len(octets) + octets


def binary_field(octets: bytes) -> bytes:
    """A length of two octets and the octets."""
    return len(octets).to_bytes(2, "big") + octets


class Wire:
    """Command Exchange Buffers at one release level, as sections 5.3 of RFC 5024 and RFC 2204 lay them out."""

    def __init__(self, level: int) -> None:
        self.level = level

    def ssid(self, code: str, size: int, mode: str, flags: str, window: int, auth: bool) -> bytes:
        """SSID; ``flags`` are compression and restart as two letters."""
        last = ("Y" if auth else "N") if self.level == 5 else " "
        return b"X%d%-25s%-8s%05d%s%sN%03d%s    %8s\r" % (
            self.level,
            code.encode(),
            b"SECRET",
            size,
            mode.encode(),
            flags.encode(),
            window,
            last.encode(),
            b"",
        )

    def _file(self, number: int) -> bytes:
        name = b"%-26s" % (b"FILE.%d" % number)
        if self.level < 4:
            return name + b"         261120143704        "
        return name + b"   20261120143700%04d        " % (number % 9999 + 1)

    def sfid(self, number: int, form: str, record: int, blocks: int, restart: int, text: str) -> bytes:
        """SFID for the file of this number."""
        head = (
            b"H" + self._file(number) + b"%-25s%-25s%s%05d" % (b"O0013STATION", b"O0099PARTNER", form.encode(), record)
        )
        if self.level < 5:
            return head + b"%07d%09d" % (blocks, restart)
        return head + b"%013d%013d%017d0000" % (blocks, blocks, restart) + b"00N" + text_field(text)

    def sfpa(self, count: int) -> bytes:
        """SFPA with its answer count."""
        return b"2%017d" % count if self.level == 5 else b"2%09d" % count

    def sfna(self, reason: int, retry: str, text: str) -> bytes:
        """SFNA; the text exists at level 5 only."""
        return b"3%02d%s" % (reason, retry.encode()) + (text_field(text) if self.level == 5 else b"")

    def efid(self, records: int, units: int) -> bytes:
        """EFID with its counts."""
        return b"T%017d%017d" % (records, units) if self.level == 5 else b"T%09d%012d" % (records, units)

    def efna(self, reason: int, text: str) -> bytes:
        """EFNA; the text exists at level 5 only."""
        return b"5%02d" % reason + (text_field(text) if self.level == 5 else b"")

    def esid(self, reason: int, text: str = "") -> bytes:
        """ESID in the layout of the level."""
        return b"F%02d" % reason + (text_field(text) if self.level == 5 else b"") + b"\r"

    def eerp(self, number: int, digest: bytes, signature: bytes) -> bytes:
        """EERP; hash and signature exist at level 5 only."""
        head = b"E" + self._file(number) + b"%-25s%-25s" % (b"O0099PARTNER", b"O0013STATION")
        return head + (binary_field(digest) + binary_field(signature) if self.level == 5 else b"")

    def nerp(self, number: int, reason: int, text: str, digest: bytes, signature: bytes) -> bytes:
        """NERP, which exists from level 4 on."""
        head = b"N%-26s      20261120143700%04d" % (b"FILE.%d" % number, number % 9999 + 1)
        head += b"%-25s%-25s%-25s%02d" % (b"O0099PARTNER", b"O0013STATION", b"O0013STATION", reason)
        if self.level < 5:
            return head
        return head + text_field(text) + binary_field(digest) + binary_field(signature)

    def any(self, command: str) -> bytes:
        """A command that is right in every field, for asking whether its place is right too."""
        return {
            "SSRM": lambda: b"IODETTE FTP READY \r",
            "SSID": lambda: self.ssid("O0013STATION", 1024, "B", "YY", 1, False),
            "SFID": lambda: self.sfid(1, "U", 0, 1, 0, ""),
            "SFPA": lambda: self.sfpa(0),
            "SFNA": lambda: self.sfna(99, "N", ""),
            "DATA": lambda: b"D\x81A",
            "CDT": lambda: b"C  ",
            "EFID": lambda: self.efid(0, 0),
            "EFPA": lambda: b"4N",
            "EFNA": lambda: self.efna(99, ""),
            "ESID": lambda: self.esid(99),
            "CD": lambda: b"R",
            "EERP": lambda: self.eerp(1, b"", b""),
            "NERP": lambda: self.nerp(1, 99, "", b"", b""),
            "RTR": lambda: b"P",
            "SECD": lambda: b"J",
            "AUCH": lambda: b"A" + binary_field(NOISE[:200]),
            "AURP": lambda: b"S" + NOISE[:20],
        }[command]()

    def knows(self, command: str) -> bool:
        """Whether the level has the command at all."""
        return self.level >= {"NERP": 4, "SECD": 5, "AUCH": 5, "AURP": 5}.get(command, 1)
