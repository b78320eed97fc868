"""From Virtual Files and end responses to the commands that carry them at a release level, and back.

Standards: RFC 5024 sections 5.3.3 (SFID), 5.3.13 (EERP), 5.3.14 (NERP); RFC 2204 for levels 1 and 2.
"""

from smartproxy.oftp2.commands import EERP, EFNA, NERP, SFID, SFNA
from smartproxy.oftp2.roles import Level
from smartproxy.testing.events import EndResponse
from smartproxy.testing.user_monitor import Response
from smartproxy.testing.virtual_file import FileIdentity, Format, VirtualFile

_MOST_BLOCKS = {True: 10**13 - 1, False: 10**7 - 1}


def wire_identity(identity: FileIdentity, level: Level) -> FileIdentity:
    """The identity as commands of a release level carry it."""
    return identity.reduced if level < Level.OFTP_1_4 else identity


def sfid(file: VirtualFile, level: Level, restart_at: int) -> SFID:
    """Start File."""
    identity = wire_identity(file.identity, level)
    second = level is Level.OFTP_2_0
    return SFID(
        dsn=identity.dataset,
        date=identity.date,
        time=identity.time,
        user=file.user,
        dest=identity.destination,
        orig=identity.originator,
        fmt=file.format.value,
        lrecl=file.record_length if file.format.has_records else 0,
        fsiz=min(file.blocks, _MOST_BLOCKS[second]),
        osiz=file.blocks if second else None,
        rest=restart_at,
        sec=0 if second else None,
        ciph=0 if second else None,
        comp=0 if second else None,
        env=0 if second else None,
        sign="N" if second else None,
        desc=file.description if second else None,
    )


def offered(command: SFID) -> tuple[FileIdentity, Format]:
    """The identity and the format of the file that a peer offers."""
    identity = FileIdentity(
        dataset=command.dsn, date=command.date, time=command.time, originator=command.orig, destination=command.dest
    )
    # A secured or compressed file is unstructured on its way, whatever it was before (section 5.3.3).
    return identity, Format.UNSTRUCTURED if command.sec or command.comp else Format(command.fmt)


def sfna(reason: int, text: str, retry: bool, level: Level) -> SFNA:
    """Start File Negative Answer."""
    return SFNA(reas=reason, rrtr="Y" if retry else "N", reast=text if level is Level.OFTP_2_0 else None)


def efna(reason: int, text: str, level: Level) -> EFNA:
    """End File Negative Answer."""
    return EFNA(reas=reason, reast=text if level is Level.OFTP_2_0 else None)


def end_response(response: Response, creator: str, level: Level) -> EERP | NERP | None:
    """The end response, or ``None`` for a NERP at a level that has none.

    Destination and originator are those of the response: the file's, exchanged.

    :param creator: our own code, NERPCREA.
    """
    identity = wire_identity(response.identity, level)
    second = level is Level.OFTP_2_0
    unsigned = b"" if second else None
    if response.kind is EndResponse.EERP:
        return EERP(
            dsn=identity.dataset,
            date=identity.date,
            time=identity.time,
            dest=identity.originator,
            orig=identity.destination,
            hsh=unsigned,
            sig=unsigned,
        )
    if level < Level.OFTP_1_4:
        return None
    return NERP(
        dsn=identity.dataset,
        date=identity.date,
        time=identity.time,
        dest=identity.originator,
        orig=identity.destination,
        crea=creator,
        reas=response.reason,
        reast=response.text if second else None,
        hsh=unsigned,
        sig=unsigned,
    )


def answered(command: EERP | NERP) -> FileIdentity:
    """The identity of the file that an end response is about."""
    return FileIdentity(
        dataset=command.dsn, date=command.date, time=command.time, originator=command.dest, destination=command.orig
    )
