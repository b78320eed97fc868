"""The departures from the RFC that living programs are known for.

The default profile lets exactly these pass and records each; the strict profile refuses them (6 and 25 are recorded in
both: they are the receiving station's to judge). What is relayed is never repaired.
"""

from collections.abc import Mapping
from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Anomaly:
    """A departure from the RFC that living programs are known for and that was let pass.

    :ivar number: its number in the list of tolerated departures.
    :ivar rule: the rule that the strict profile would have refused it by.
    :ivar section: of RFC 5024.
    :ivar text: what it is, for the operator.
    :ivar command: the command's name.
    :ivar field: the field's name, if it is about one.
    """

    number: int
    rule: str
    section: str
    text: str
    command: str
    field: str | None = None


ANOMALIES: Final[Mapping[int, str]] = {
    2: "the carriage return is 0A",
    3: "Data Exchange Buffers are one octet longer than agreed",
    4: "ESID with reason 00 where the session cannot end normally",
    6: "the last record of the file has no end-of-record flag",
    8: "the dataset name has octets outside the RFC's set",
    9: "the time stamp's counter is 0000",
    11: "CDT without its reserved octets",
    14: "a hash in an end response without signature",
    15: "an end response without hash and signature lengths",
    18: "ESID in the layout of another release level",
    21: "an identification code that does not have the form of section 5.4",
    24: "special logic offered over TCP",
    25: "the counts of EFID are not those of what was sent",
}


def note(number: int, rule: str, section: str, command: str, field: str | None = None) -> Anomaly:
    """Make the record of a tolerated departure."""
    return Anomaly(number=number, rule=rule, section=section, text=ANOMALIES[number], command=command, field=field)
