"""Malformed input is refused with the right reason, no later than the octet that makes it wrong, however it comes."""

import json
from collections import Counter
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.cases import REASONS, RULES, Case
from tests.conformance.facts import DATA
from tests.conformance.malformed import cases
from tests.conformance.openings import opening, streamed
from tests.conformance.verdicts import told


@cache
def every_case() -> tuple[Case, ...]:
    """Generated once for all tests."""
    return tuple(cases())


def prepared(case: Case, profile: Profile = Profile.DEFAULT) -> Monitor:
    """A monitor that has seen the case's opening."""
    monitor = Monitor(profile)
    for sender, octets in streamed(opening(case.state, case.speaker, case.terms, case.restart)):
        judgement = monitor.judge(sender, octets)
        assert judgement.error is None, (case.name, judgement.error)
        assert judgement.octets == octets, case.name
    return monitor


class MalformedTests(SynchronousTestCase):
    """Every generated case, twice: whole and octet by octet."""

    def verdicts(self, case: Case) -> list[str]:
        """What is wrong with the verdicts on a case; nothing if all is right."""
        wrong = []
        whole = prepared(case).judge(case.sender, case.octets)
        error = whole.error
        if error is None:
            return [f"{case.name}: not refused"]
        if (type(error).__name__, error.reason) != (case.family, case.reason):
            wrong.append(f"{case.name}: {error!r}, expected {case.family} {case.reason:02d}")
        if not error.rule.startswith(RULES[case.family]):
            wrong.append(f"{case.name}: rule {error.rule}, expected one of {RULES[case.family]}")
        if case.command is not None and error.command != case.command:
            wrong.append(f"{case.name}: command {error.command}")
        if case.field is not None and error.field != case.field:
            wrong.append(f"{case.name}: field {error.field}, expected {case.field}")
        if whole.octets:
            wrong.append(f"{case.name}: {len(whole.octets)} octets passed")
        monitor = prepared(case)
        for index in range(len(case.octets)):
            judgement = monitor.judge(case.sender, case.octets[index : index + 1])
            if judgement.error is not None:
                break
        if judgement.error is None or index > case.offset:
            wrong.append(f"{case.name}: refused at {index}, expected {case.offset}")
        elif case.exact and index < case.offset:
            wrong.append(f"{case.name}: refused at {index}, but {case.offset} makes it wrong")
        elif error.offset != index:
            wrong.append(f"{case.name}: says {error.offset}, refused at {index}")
        if told(judgement.error) != told(error):
            wrong.append(f"{case.name}: whole {told(error)}, octet by octet {told(judgement.error)}")
        if judgement.octets:
            wrong.append(f"{case.name}: {len(judgement.octets)} octets passed, octet by octet")
        return wrong

    def check(self, part: int) -> None:
        """A quarter of the cases."""
        wrong = [line for case in every_case()[part::4] for line in self.verdicts(case)]
        self.assertEqual(wrong[:20], [], f"{len(wrong)} verdicts are wrong")

    def test_first_quarter(self) -> None:
        """Cases 0, 4, 8...: family, ESID reason and octet are those derived from the RFC."""
        self.check(0)

    def test_second_quarter(self) -> None:
        """Cases 1, 5, 9...: family, ESID reason and octet are those derived from the RFC."""
        self.check(1)

    def test_third_quarter(self) -> None:
        """Cases 2, 6, 10...: family, ESID reason and octet are those derived from the RFC."""
        self.check(2)

    def test_fourth_quarter(self) -> None:
        """Cases 3, 7, 11...: family, ESID reason and octet are those derived from the RFC."""
        self.check(3)

    def test_strict_profile(self) -> None:
        """What the default profile refuses, the strict one refuses too: with the same reason and no later."""
        wrong = []
        for case in every_case():
            judgement = prepared(case, Profile.STRICT).judge(case.sender, case.octets)
            error = judgement.error
            if error is None or error.reason != case.reason or (error.offset or 0) > case.offset or judgement.octets:
                wrong.append(f"{case.name}: {error!r}, expected {case.reason:02d} at {case.offset}")
        self.assertEqual(wrong[:20], [], f"{len(wrong)} verdicts are wrong")

    def test_frozen_summary(self) -> None:
        """The generator makes the cases that were reviewed: the counts by command, family and reason are frozen."""
        counts = Counter(
            f"{case.name.split()[0] if case.family == 'BadField' else '*'} {case.family} {case.reason:02d}"
            for case in every_case()
        )
        frozen = json.loads((DATA / "malformed_summary.json").read_text())
        self.assertEqual(dict(sorted(counts.items())), frozen)
        self.assertGreater(sum(frozen.values()), 5000)

    def test_reasons_match_the_classes(self) -> None:
        """The reason codes written down from section 5.3.11 are those on the error classes."""
        from smartproxy.oftp2 import errors

        for family, reason in REASONS.items():
            self.assertEqual(getattr(errors, family).reason, reason, family)

    def test_silence_after_a_refusal(self) -> None:
        """After an error every call, from either side, returns the same error and passes nothing."""
        case = every_case()[0]
        monitor = prepared(case)
        error = monitor.judge(case.sender, case.octets).error
        for sender in Role:
            again = monitor.judge(sender, b"\x10\x00\x00\x05R")
            self.assertIs(again.error, error)
            self.assertEqual(again.octets, b"")
