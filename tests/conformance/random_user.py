"""The User Monitor of a simulated entity (RFC 5024 section 3), which wants random things at random times."""

from collections.abc import Callable
from random import Random

from tests.conformance.section9 import Entity

BEFORE_ABORT = frozenset({"IDLE", "WF_NDISC", "I_WF_RM", "A_NC_ONLY", "I_WF_SSID", "A_WF_CONRS"})
STORED = {"CD": "CDSTWFCD", "FILE": "SFSTWFCD", "EERP": "ERSTWFCD", "NERP": "NRSTWFCD"}


class Party(Entity):
    """An entity together with its user."""

    def __init__(self, rng: Random, *, caller: bool, authentication: bool) -> None:
        super().__init__(rng, caller=caller, authentication=authentication)
        self.files = rng.choice((0, 1, 1, 2, 3, 5))
        self.responses = rng.choice((0, 0, 1, 2, 4))
        self.patient = rng.random() < 0.7
        self.aborts = 0.02 if rng.random() < 0.15 else 0.0

    # -- the user ------------------------------------------------------------------------------------------------

    def act(self) -> bool:
        """Let the user do one thing that the state allows; False if there is nothing to do."""
        if self.aborts and self.state not in BEFORE_ABORT and self.rng.random() < self.aborts:
            self.abort(self.rng.choice((1, 2, 5, 6, 7, 8, 9, 99)))
            return True
        todo = USER.get(self.state)
        return todo is not None and todo(self)

    def _user_connects(self) -> bool:
        self.connect_response()
        return True

    def _user_answers_file(self) -> bool:
        self.start_file_response()
        return True

    def _user_listens(self) -> bool:
        if not self.credit_owed:
            return False
        self.give_credit()
        return True

    def _user_answers_close(self) -> bool:
        self.close_file_response()
        return True

    def _user_answers_response(self) -> bool:
        self.ready_response()
        return True

    def _user_sends(self) -> bool:
        if self.buffers_left:
            self.speaker_M()
        else:
            self.close_A()
        return True

    def _user_waits_for_credit(self) -> bool:
        if self.patient or self.buffers_left:
            return False
        self.close_A()
        return True

    def _wish(self) -> str:
        """What the user would like to do next with the turn."""
        wishes = []
        if self.responses:
            wishes.append("EERP")
            if self.level >= 4:
                wishes.append("NERP")
        if self.files and self.may_send:
            wishes.append("FILE")
        if not wishes or self.rng.random() < 0.15:
            return "CD"
        return self.rng.choice(wishes)

    def _take_wish(self, wish: str) -> Callable[[], None]:
        if wish == "CD":
            return self.speaker_D
        if wish == "FILE":
            self.files -= 1
            return self.speaker_B
        self.responses -= 1
        return self.speaker_A if wish == "EERP" else self.speaker_Y

    def _user_speaks(self) -> bool:
        self._take_wish(self._wish())()
        return True

    def _user_speaks_after_turn(self) -> bool:
        wish = self._wish()
        if wish == "CD":
            self.speaker_E()
        else:
            self._take_wish(wish)()
        return True

    def _user_stores(self) -> bool:
        """A request before CD is here: F, Z, G and T."""
        if self.rng.random() < 0.5:
            return False
        wish = self._wish()
        self.state = STORED[wish]
        self.req_buf = self._take_wish(wish)
        return True


USER: dict[str, Callable[[Party], bool]] = {
    "A_WF_CONRS": Party._user_connects,
    "OPIP": Party._user_answers_file,
    "OPI": Party._user_listens,
    "CLIP": Party._user_answers_close,
    "RTRP": Party._user_answers_response,
    "OPO": Party._user_sends,
    "OPOWFC": Party._user_waits_for_credit,
    "IDLESP": Party._user_speaks,
    "IDLESPCD": Party._user_speaks_after_turn,
    "WF_CD": Party._user_stores,
}
