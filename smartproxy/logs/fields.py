"""The fields of events: one name, one type and one meaning for all events.

A field called ``session`` is the same thing in every record of every daemon, so that records can be joined and a
search engine needs one mapping. What a value may be is its :class:`FieldKind`. Trusts no caller:
:meth:`EventField.check` refuses what is of another kind.
"""

import enum
import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import attrs

from smartproxy.policy import limits

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = str | int | float | bool | list[str] | dict[str, Scalar]
_T = TypeVar("_T")


class FieldRefused(ValueError):
    """A value is not of its field's kind; names the field and the type, never the value."""


class FieldKind(enum.Enum):
    """What the values of a field are."""

    TEXT = "text"  #: our own words, or an operator's
    CODE = "code"  #: a stable word of ours, in lower case, such as a :class:`~smartproxy.policy.causes.Cause`
    PEER = "peer text"  #: chosen outside: escaped and cut short wherever it is shown
    NUMBER = "number"
    SECONDS = "seconds"
    FLAG = "yes or no"
    TIME = "time"  #: an aware datetime, or its ISO 8601 text
    TEXTS = "texts"  #: a list of texts from outside
    FACTS = "facts"  #: a flat mapping of names to plain values from outside
    SECRET = "secret"  #: shown as ``***`` always


SECRET_MASK = "***"
CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
"""The form of a code."""
CODE_CHARACTERS_MOST = 64
SESSION_CHARACTERS_MOST = 64
"""Characters of a session's id."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EARLIEST = datetime(limits.TOLD_YEARS[0], 1, 1, tzinfo=UTC)
_LATEST = datetime(limits.TOLD_YEARS[-1], 12, 31, 23, 59, 59, tzinfo=UTC)
"""The bounds of times: some days may be added to any of them, or subtracted from it."""


@attrs.frozen
class EventField:
    """One field: its name in records, what it holds, and what it means.

    :ivar least: the smallest number that it holds.
    :ivar longest: characters of the longest text that it holds, which is printable then; any text if it is not given.
    :ivar plain: the type whose values stand in records as they are, if they are within these bounds; ``None`` if each
        has to be looked at.
    """

    name: str
    kind: FieldKind
    doc: str
    least: int = 0
    longest: int | None = None
    plain: type | None = attrs.field(init=False, repr=False)

    @plain.default
    def _plain(self) -> type | None:
        match self.kind:
            case FieldKind.TEXT | FieldKind.PEER:
                return str
            case FieldKind.NUMBER:
                return int
            case FieldKind.FLAG:
                return bool
        return None

    def check(self, value: object) -> Value:
        """Bring a value into the form in which records hold it.

        :raises FieldRefused: when it is of another type.
        """
        match self.kind, value:
            case FieldKind.SECRET, _:
                return SECRET_MASK
            case ((FieldKind.TEXT | FieldKind.PEER), str()):
                if self.longest is not None and not is_name(value, self.longest):
                    raise FieldRefused(f"{self.name} is not at most {self.longest} printable characters")
                return str(value)
            case FieldKind.CODE, str() if len(value) <= CODE_CHARACTERS_MOST and CODE.fullmatch(value):
                return str(value)
            case FieldKind.FLAG, bool():
                return value
            case FieldKind.NUMBER, int() if not isinstance(value, bool):
                if not self.least <= value <= limits.NUMBER_MOST:
                    raise FieldRefused(f"{self.name} is not between {self.least} and {limits.NUMBER_MOST}")
                return int(value)
            case FieldKind.SECONDS, int() | float() if not isinstance(value, bool) and _is_bounded(value):
                return round(float(value), 6)
            case FieldKind.TIME, datetime() | str():
                try:
                    return isotime(read_time(value) if isinstance(value, str) else _bounded(value))
                except ValueError as error:
                    raise FieldRefused(f"{self.name} {error}") from None
            case FieldKind.TEXTS, list() | tuple() | set() | frozenset() if all(
                isinstance(item, str) for item in value
            ):
                return sorted(value) if isinstance(value, set | frozenset) else list(value)
            case FieldKind.FACTS, (dict() | Mapping()) if _are_facts(value):
                return dict(value)
        raise FieldRefused(f"{self.name} is {self.kind.value}, not {type(value).__name__}")


def is_name(text: str, most: int) -> bool:
    """Whether a text is short and printable: it stands in keys of the store."""
    return len(text) <= most and text.isprintable()


@functools.lru_cache(maxsize=128)
def read_time(text: str) -> datetime:
    """A time in the form in which records hold it: date, ``T``, time with seconds, and zone.

    Remembers some: where events are many, many are of one millisecond.

    :raises ValueError: when it has another form, is none, or is before 1970 or after 9998.
    """
    if _TIME.fullmatch(text) is None:
        raise ValueError("is not a time such as 2026-11-20T12:00:00.000Z")
    moment = utc_of(text)
    if not _EARLIEST <= moment <= _LATEST.replace(microsecond=999_999):
        raise ValueError("is out of range")
    return moment


def _bounded(moment: datetime) -> datetime:
    """A time of our own within what records hold: a certificate without an end has one in 9999 (RFC 5280, 4.1.2.5)."""
    return min(max(utc_of(moment), _EARLIEST), _LATEST)


def utc_of(value: datetime | str) -> datetime:
    """An aware time, or its ISO 8601 text, in UTC.

    :raises ValueError: when it is not ISO 8601, has no zone, or is before or after every time that UTC can express.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("is not ISO 8601") from None
    if moment.tzinfo is None:
        raise ValueError("has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


def isotime(moment: datetime) -> str:
    """Write an aware time as UTC, ISO 8601 with milliseconds and ``Z``."""
    universal = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return universal.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _is_bounded(value: int | float) -> bool:
    """Whether a number is one that databases and JSON readers take: finite, and exact."""
    return -limits.NUMBER_MOST <= value <= limits.NUMBER_MOST


def _are_facts(facts: Mapping[object, object]) -> bool:
    for name, value in facts.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, str | int | float)):
            return False
        if isinstance(value, int | float) and not _is_bounded(value):
            return False
    return True


@attrs.frozen
class _Bounds:
    """What values of fields stay within, beside what their kind says."""

    least: int = 0
    longest: int | None = None


def _declare(kind: FieldKind, bounds: _Bounds = _Bounds(), /, **docs: str) -> dict[str, EventField]:
    return {name: EventField(name, kind, doc, bounds.least, bounds.longest) for name, doc in docs.items()}


def joined(*parts: Mapping[str, _T]) -> dict[str, _T]:
    """Tables as one.

    :raises ValueError: when a name stands in two of them: one would silently take the other's place.
    """
    whole: dict[str, _T] = {}
    for part in parts:
        if twice := sorted(whole.keys() & part.keys()):
            raise ValueError(f"declared twice: {', '.join(twice)}")
        whole.update(part)
    return whole


FIELDS: Mapping[str, EventField] = joined(
    _declare(
        FieldKind.TEXT,
        _Bounds(longest=limits.NAME_CHARACTERS_MOST),
        ca="the name of the CA's entry in the configuration",
        client="the name of the client",
        partner="the name of the partner's entry in the configuration",
    ),
    _declare(
        FieldKind.TEXT,
        _Bounds(longest=SESSION_CHARACTERS_MOST),
        session="the session's id, the same on both daemons: 16 hex digits",
    ),
    _declare(
        FieldKind.TEXT,
        address="the address listened on or dialled",
        advice="what to do about it",
        appender="where a log goes: a file, or the address of a syslog",
        by="the rule of the partner's entry that matched: certificate, key, subject or san, or name (the called "
        "host's name)",
        certificate_sha256="the SHA-256 of the certificate, in hex",
        key_sha256="the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), in hex",
        category="what of the log it is about: a subject or a heading of the catalogue",
        check="the status of a CA in its trust list",
        cipher="the TLS cipher suite",
        comment="why an operator made a change",
        command="the name of the OFTP2 command, or of the command that an operator gave",
        daemon="which daemon: server, client or backend",
        direction="inbound (a partner called) or outbound (the station called)",
        event="the name of the event that was wrongly emitted, was not written, or is meant",
        exception="the class of the exception",
        field="the RFC's name of the field, such as SSIDLEV",
        hash="the SHA-256 of the record in the audit trail, in hex",
        frames="the innermost calls that led to the exception, as file:line function",
        host="the name or address of the other end",
        ignored_by="the name of the ignore rule that silences the event",
        level_by="which side lowered the release level: partner or station",
        limit="the name of the limit",
        link="the file transfer's direction: in (towards the station) or out (towards the partner)",
        list="the name of the trust list; in events about revocation, the name of the revocation list or its issuer",
        list_part="what a revocation list covers that is only a part of its issuer's",
        message="what happened and why, in one sentence of our own",
        method="the method of the http call",
        mode="the mode or switch that is in force",
        network="the address prefix",
        option="the name of the command line option",
        ours="the version of this end",
        path="the path of the file, or of the http call",
        peer="address and port of the other end",
        phase="the phase of the session in which it happened",
        place="where in the document, such as server.partners[3].codes, or where in the program",
        profile="the profile that judges the session: default or strict",
        proxy_id="the Proxy ID of the server",
        rule="the stable name of the rule, such as field.range",
        section="the section of RFC 5024 that holds the rule",
        sender="whose octets they were: initiator or responder",
        site="the name of the site",
        state="the state of the session monitor",
        store="the id of the backend's store that the generation is of",
        step="the step of a call to a partner: policy, source, name, connect, tls or ssrm",
        station="address and port of the station",
        theirs="the version of the other end",
        timer="the name of the deadline that passed",
        told_partner="what the partner was told, such as ESID 02, a TLS alert, or closed",
        told_station="what the station was told, such as ESID 99",
        version="the version of the program",
        way="how a caller inside named its destination: port, http-connect or socks5",
    ),
    _declare(
        FieldKind.CODE,
        cause="why, as a stable code such as leg.lost; all are listed below",
        side="which side it was about: partner, station or tunnel",
        channel="how a change came in: command, api, page or backend",
        ended_by="who began the end: partner, station, server, client, operator or nobody (the tunnel was lost)",
        outcome="how it ended, as a stable word such as completed, refused, violated or lost",
    ),
    _declare(
        FieldKind.PEER,
        alert="the TLS alert that was sent or received",
        code="the SSIDCODE that the other end gave",
        dataset="the Virtual File Dataset Name",
        destination="the Virtual File's destination code",
        detail="more about the cause, where there is more",
        excerpt="the octets at fault in hex, at most 64, the last one being the wrong one; secrets and content are **",
        format="the Virtual File's format: U, T, F or V",
        issuer="the certificate's issuer, RFC 4514",
        originator="the Virtual File's originator code",
        reason_text="the text that came with the reason code",
        serial="the certificate's serial number, in hex",
        stamp="the Virtual File's date and time stamp",
        subject="the certificate's subject, RFC 4514",
        tls="the TLS version, such as TLSv1.3",
        url="an address with its credentials taken out",
    ),
    _declare(
        FieldKind.NUMBER,
        _Bounds(least=-limits.NUMBER_MOST),
        exit_status="the exit status of a program; negative: the signal that ended it",
    ),
    _declare(
        FieldKind.NUMBER,
        answer="the reason code in the answer (SFNA, EFNA, NERP)",
        anomalies="how many anomalies were seen",
        anomaly="the number of the anomaly in the table of tolerated departures",
        cas="how many CAs are configured",
        buffers_in="Exchange Buffers that came from the partner's side",
        buffers_out="Exchange Buffers that came from the station's side",
        count="how many",
        depth="the certificate's place in the chain, the peer's own being 0",
        discarded="octets that came in one piece with the ESID, behind it, and were thrown away",
        event_number="the event's number in the backend's store",
        files_in="Virtual Files completed towards the station",
        files_out="Virtual Files completed towards the partner",
        generation="the generation of the configuration",
        key_bits="the size of the certificate's key",
        length="octets in the Stream Transmission Buffer",
        listeners="how many listeners are open",
        most="the limit, or the number that is needed",
        octets="how many octets",
        octets_in="octets that came from the partner's side",
        octets_out="octets that came from the station's side",
        offset="the position, in the offending Stream Transmission Buffer, of the octet that made it wrong",
        partners="how many partners are configured",
        pid="the process's number",
        port="the TCP port",
        position="octets of that direction before the offending Stream Transmission Buffer",
        previous="the generation before",
        record="the number of the record in the audit trail",
        reason="the ESID reason code",
        records="how many records",
        release_level="the OFTP2 release level, SSIDLEV",
        sessions="how many sessions are live",
        size="how large",
        status="the http status of the answer",
        unconfirmed="Virtual Files that were sent whole, and that their receiver did not confirm",
        value="the number that was found",
    ),
    _declare(
        FieldKind.SECONDS,
        age="how old it is",
        duration="how long it took or lasted",
        seconds="for how long",
    ),
    _declare(
        FieldKind.FLAG,
        authentication="secure authentication was agreed",
        restart="restart was agreed",
    ),
    _declare(
        FieldKind.TIME,
        next_update="when the next revocation list is due (nextUpdate)",
        not_after="the end of the certificate's validity",
        not_before="the beginning of the certificate's validity",
        this_update="when the revocation list was made",
        until="until when",
        valid_from="the beginning of validity",
        valid_until="the end of validity",
    ),
    _declare(
        FieldKind.TEXTS,
        codes="SSIDCODEs",
        crl_points="the distribution points of its issuer's revocation lists that the certificate names",
        names="names of what it is about",
        sans="the certificate's names (subjectAltName)",
    ),
    _declare(
        FieldKind.FACTS,
        agreed="what both SSIDs agreed on",
        facts="further facts about the cause",
        fields="the command's fields; secrets are ***",
        tolerated="how many anomalies of each number were tolerated",
    ),
)
