"""The state tables of RFC 5024, sections 9.8.1, 9.10.1, 9.11.1 and 9.12.1, as the RFC prints them.

Facts for the tests, to be laid beside the RFC; nothing of ``smartproxy`` is imported.
"""

CONNECTION = """
              IDLE I_WF_NC I_WF_RM I_WF_SSID A_NC_ONLY A_WF_CONRS WF_AUCH WF_AURP WF_SECD OTHER
F_CONNECT_RQ  A    X       X       X         X         X          X       X       X       X
N_CON_CF      X    C       X       X         X         X          X       X       X       X
SSRM          X    X       H       X         X         X          L       L       L       X
SSID          X    X       X       D         E         F          L       L       L       F
N_CON_IND     B    X       X       X         X         X          X       X       X       X
F_CONNECT_RS  X    U       U       U         U         G          X       X       X       U
ESID          X    X       X       F         X         X          F       F       F       X
AUCH          X    X       U       U         X         X          I       L       L       U
AURP          X    X       U       U         X         X          L       K       L       U
SECD          X    X       U       U         X         X          L       L       J       U
"""
SPEAKER_1 = """
                IDLESP IDLESPCD WF_RTR WF_CD ERSTWFCD NRSTWFCD SFSTWFCD CDSTWFCD OPOP OPO OPOWFC WF_NDISC OTHER
F_EERP_RQ       A      A        W      F     W        W        U        U        U    U   U      U        U
F_NERP_RQ       Y      Y        W      Z     W        W        U        U        U    U   U      U        U
F_START_FILE_RQ B      B        W      G     W        W        U        U        U    U   U      X        U
SFPA            C      C        C      C     C        C        C        C        K    C   C      S        C
SFNA            C      C        C      C     C        C        C        C        L    C   C      S        C
CD              C      C        C      H     R        Z1       I        J        C    C   C      S        C
F_DATA_RQ       U      U        U      U     U        U        U        U        U    M   U      S        U
CDT             C      C        C      C     C        C        C        C        C    P   O      S        C
F_CD_RQ         D      U        W      T     W        W        U        U        U    U   U      X        U
F_REL_RQ(Ok)    U      E        U      U     U        U        U        U        U    U   U      X        U
F_REL_RQ(Err)   Q      Q        Q      Q     Q        Q        Q        Q        Q    Q   Q      S        Q
RTR             C      C        N      C     C        C        C        C        C    C   C      S        C
"""
SPEAKER_2 = """
                OPO OPOWFC CLOP
F_CLOSE_FILE_RQ A   E      U
EFPA            B   B      C
EFNA            B   B      D
"""
LISTENER = """
                IDLELI IDLELICD OPIP OPI CLIP RTRP
SFID            A      A        B    B   B    B
DATA            B      B        B    I   B    B
EFID            B      B        B    J   B    B
F_START_FILE_RS U      U        H    U   U    U
F_CLOSE_FILE_RS U      U        U    U   K    U
CD              C      B        B    B   B    B
ESID            D      F        D    D   D    D
EERP            E      E        B    B   B    B
NERP            L      L        B    B   B    B
F_RTR_RS        U      U        U    U   U    M
"""

SUPPLEMENTS = {
    "ESID in every state": "3.4.2: abnormal release at any time; the Speaker's tables have no row for it",
    "CDT in CLOP": "live Listeners give credit that crosses EFID; the tables know only Speakers that wait for it",
    "EFID from OPOWFC": "9.11 note 1 forbids it, 9.12 J accepts it, live Speakers do it",
    "CDT kept back": "9.12 note 1: when the Listener gives credit depends on its user's capacity",
}


def _table(text: str) -> dict[tuple[str, str], str]:
    """Read a printed state table into {(event, state): transition index}."""
    header, *rows = (line.split() for line in text.strip().splitlines())
    return {(event, state): letter for event, *letters in rows for state, letter in zip(header, letters, strict=True)}


TABLES = {
    "9.8": _table(CONNECTION),
    "9.10": _table(SPEAKER_1),
    "9.11": _table(SPEAKER_2),
    "9.12": _table(LISTENER),
}


def reaction(event: str, state: str) -> tuple[str, str]:
    """The table and transition index for an event in a state; ("", "C") where no table has the pair."""
    for name, table in TABLES.items():
        letter = table.get((event, state))
        if letter is not None:
            return name, letter
    return "", "C"


REACTIONS = {
    (event, state): reaction(event, state)
    for event in {e for t in TABLES.values() for e, _ in t}
    for state in {s for t in TABLES.values() for _, s in t}
}

#: The transitions that a command of the peer makes when all is right, and the method of the entity that makes them.
TAKEN = {
    ("9.8", "H"): "connection_H",
    ("9.8", "E"): "connection_E",
    ("9.8", "D"): "connection_D",
    ("9.8", "I"): "connection_I",
    ("9.8", "J"): "connection_J",
    ("9.8", "K"): "connection_K",
    ("9.10", "H"): "speaker_CD",
    ("9.10", "R"): "speaker_stored",
    ("9.10", "Z1"): "speaker_stored",
    ("9.10", "I"): "speaker_stored",
    ("9.10", "J"): "speaker_stored",
    ("9.10", "K"): "speaker_K",
    ("9.10", "L"): "speaker_L",
    ("9.10", "N"): "speaker_N",
    ("9.10", "O"): "speaker_O",
    ("9.11", "C"): "close_C",
    ("9.11", "D"): "close_D",
    ("9.12", "A"): "listener_A",
    ("9.12", "C"): "listener_C",
    ("9.12", "E"): "listener_E",
    ("9.12", "L"): "listener_E",
    ("9.12", "I"): "listener_I",
    ("9.12", "J"): "listener_J",
}
#: The transitions that end in ESID.
REFUSALS = {
    (table, letter)
    for table, letter in set(REACTIONS.values())
    if (table, letter) not in TAKEN and letter not in ("X", "U", "S")
}
