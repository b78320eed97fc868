"""What a complete, valid command changes in the facts of a session: the actions of the state table, by name.

Standards: RFC 5024 sections 9.8.3 to 9.12.3 (actions), 1.5.3, 5.3.8.
"""

from collections.abc import Iterable

from smartproxy.oftp2 import negotiation
from smartproxy.oftp2.anomalies import Anomaly, note
from smartproxy.oftp2.commands import CD, CDT, EFID, EFPA, ESID, SFID, SFPA, SSID, Command
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.witness import Transfer, Witness


def nothing(witness: Witness, command: Command) -> Iterable[Anomaly]:
    """Change nothing but the state."""
    return ()


def offer(witness: Witness, command: SSID) -> Iterable[Anomaly]:
    """Take the Initiator's SSID."""
    witness.offer = command
    return ()


def agree(witness: Witness, command: SSID) -> Iterable[Anomaly]:
    """Take the Responder's SSID; the Initiator becomes the Speaker (9.8.3 action 5)."""
    assert witness.offer is not None
    witness.answer = command
    witness.agreed = negotiation.agree(witness.offer, command, witness.profile)
    witness.speaker = Role.INITIATOR
    return ()


def authentication_agreed(witness: Witness, command: SSID) -> bool:
    """Tell whether secure authentication comes next (9.8.3 P9, P11)."""
    return witness.terms.authentication


def turn(witness: Witness, command: CD) -> Iterable[Anomaly]:
    """Exchange Speaker and Listener."""
    assert witness.speaker is not None
    witness.speaker = witness.speaker.other
    return ()


def open_file(witness: Witness, command: SFID) -> Iterable[Anomaly]:
    """Take up a Virtual File (9.12.3 action 3)."""
    assert witness.speaker is not None
    witness.transfer = Transfer(
        sender=witness.speaker,
        dataset_name=command.dsn,
        date=command.date,
        time=command.time,
        destination=command.dest,
        originator=command.orig,
        format=command.fmt,
        unstructured=command.fmt in "UT" or bool(command.sec) or bool(command.comp),
        offered=command.rest,
    )
    return ()


def start_sending(witness: Witness, command: SFPA) -> Iterable[Anomaly]:
    """Give the Speaker its first credit (9.10.3 action 12)."""
    witness.file.restart = command.acnt
    witness.file.credit = witness.terms.credit
    return ()


def renew_credit(witness: Witness, command: CDT) -> Iterable[Anomaly]:
    """Give the Speaker its credit again (9.10.3 action 12)."""
    witness.file.credit = witness.terms.credit
    return ()


def count(witness: Witness, command: EFID) -> Iterable[Anomaly]:
    """Compare what was announced as the file's end with what was sent (sections 1.5.3, 5.3.8, 7.2)."""
    transfer = witness.file
    if transfer.ended is False:
        yield note(6, "file.end_of_record", "7.2", "EFID")
    skipped = 1024 * transfer.restart if transfer.unstructured else 0
    known = transfer.unstructured or transfer.restart == 0
    if known and command.ucnt != skipped + transfer.octets:
        yield note(25, "file.unit_count", "5.3.8", "EFID", "EFIDUCNT")


def accept_file(witness: Witness, command: EFPA) -> Iterable[Anomaly]:
    """Take the file for delivered."""
    witness.file.accepted = True
    return close_file(witness, command)


def turn_requested(witness: Witness, command: EFPA) -> bool:
    """Tell whether the Listener asks for the turn (9.11.3 P1)."""
    return command.cd == "Y"


def close_file(witness: Witness, command: Command) -> Iterable[Anomaly]:
    """Be done with the file, whatever became of it."""
    witness.transfer = None
    return ()


def end(witness: Witness, command: ESID) -> Iterable[Anomaly]:
    """Be done with the session."""
    witness.transfer = None
    return ()
