"""The plots of the overview: which figures they show, and what their parts are called."""

from collections.abc import Mapping, Sequence
from typing import Final

from smartproxy.backend.figures import Span
from smartproxy.backend.operations.figures import FigureSeries
from smartproxy.backend.page.plots import Plot, Series, plot
from smartproxy.backend.page.rendering import decimal, octets_in_words
from smartproxy.backend.page.texts import later
from smartproxy.backend.page.visit import PageVisit
from smartproxy.policy.outcomes import Outcome

SUBJECTS: Final = (
    (later("certificate"), "first", "certificate"),
    (later("identity"), "second", "identity"),
    ("TLS", "third", "handshake"),
    (later("station"), "fourth", "station"),
    (later("other causes"), "fifth", ""),
)
"""What refusals are counted by: the name, the style's class, and the subject of the causes; the last takes others."""


def by_subject(refused: Sequence[Mapping[str, int]]) -> list[list[float]]:
    """For each subject, how many refusals there were in each part of the time.

    :param refused: for each part, the refusals by cause.
    """
    known = {subject for _, _, subject in SUBJECTS}
    found = []
    for _, _, subject in SUBJECTS:
        column = []
        for causes in refused:
            counts = [
                count
                for cause, count in causes.items()
                if (of if (of := cause.partition(".")[0]) in known else "") == subject
            ]
            column.append(float(sum(counts)))
        found.append(column)
    return found


def plots_of(visit: PageVisit, series: FigureSeries, span: Span) -> list[Plot]:
    """The four plots."""
    points, by_day = series.points, span is Span.MONTH
    moments = [each.begins for each in points]

    def count(value: float) -> str:
        return f"{value:g}"

    def rate(value: float) -> str:
        return f"{decimal(octets_in_words(value), visit.language)}/s"

    def time(value: float) -> str:
        return f"{value:.0f} ms" if value < 1000 else f"{decimal(f'{value / 1000:g}', visit.language)} s"

    good = [float(each.ended.get(Outcome.COMPLETED, 0)) for each in points]
    other = [float(sum(each.ended.values()) - each.ended.get(Outcome.COMPLETED, 0)) for each in points]
    return [
        plot(
            "sessions",
            visit.text("Sessions"),
            visit.text("by how they ended"),
            moments,
            [Series(visit.text("completed"), "good", good), Series(visit.text("other ends"), "warn", other)],
            worded=count,
            bars=True,
            by_day=by_day,
        ),
        plot(
            "octets",
            visit.text("Throughput"),
            visit.text("octets a second"),
            moments,
            [
                Series(visit.text("in"), "in", [each.octets_in / series.seconds for each in points]),
                Series(visit.text("out"), "out", [each.octets_out / series.seconds for each in points]),
            ],
            worded=rate,
            by_day=by_day,
        ),
        plot(
            "refusals",
            visit.text("Refusals"),
            visit.text("by cause"),
            moments,
            [
                Series(visit.text(name), look, values)
                for (name, look, _), values in zip(SUBJECTS, by_subject([each.refused for each in points]), strict=True)
            ],
            worded=count,
            bars=True,
            by_day=by_day,
        ),
        plot(
            "setup",
            visit.text("Set-up time"),
            visit.text("until both SSIDs are exchanged"),
            moments,
            [
                Series(visit.text("half of the sessions"), "in", [each.setup_p50 for each in points]),
                Series(visit.text("95 % of the sessions"), "out", [each.setup_p95 for each in points]),
            ],
            worded=time,
            by_day=by_day,
        ),
    ]
