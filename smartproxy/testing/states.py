"""The states of an entity of the test kit: those of RFC 5024 section 9.3, by what is waited for."""

import enum


class EntityState(enum.Enum):
    """What an entity waits for; the names in parentheses are those of RFC 5024 section 9.3."""

    AWAIT_SSRM = "SSRM of the Responder (I_WF_RM)"
    AWAIT_SSID = "SSID of the peer (I_WF_SSID, A_NC_ONLY)"
    AWAIT_FIRST_SECD = "SECD of the Initiator (A_WF_SECD)"
    AWAIT_SECOND_SECD = "SECD of the Responder (I_WF_SECD)"
    AWAIT_AUCH = "challenge (WF_AUCH)"
    AWAIT_AURP = "response to our challenge (WF_AURP)"
    LISTENER = "commands of the Speaker (IDLELI)"
    LISTENER_TURNED = "commands of the Speaker, after our CD (IDLELICD)"
    RECEIVING = "DATA or EFID (OPI)"
    AWAIT_CD = "CD, which our EFPA asked for (WF_CD)"
    AWAIT_RTR = "RTR (WF_RTR)"
    OPENING = "answer to our SFID (OPOP)"
    SENDING = "credit, or nothing (OPO, OPOWFC)"
    CLOSING = "answer to our EFID (CLOP)"
    ENDED = "nothing: the session is over (WF_NDISC, IDLE)"
