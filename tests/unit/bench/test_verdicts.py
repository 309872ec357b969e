"""Verdicts: ratios of rounds, their interval, and whether that is within the limit."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from bench.__main__ import all_cases, judged, table
from bench.harness import Case, Contender, Sample, Target, as_json
from bench.processes import BenchFailed
from bench.verdicts import Met, Verdict, interval, verdict
from bench.workshop import Workshop


@contextmanager
def no_contenders(_workshop: Workshop) -> Iterator[Sequence[Contender]]:
    yield []


def a_sample(contender: str, number: int, wall: float, *, foreign: float = 0.0, **values: float) -> Sample:
    return Sample(contender, number, wall, wall / 2, 10.0, 0.0, foreign, 0, values)


def in_rounds(*ratios: float, noisy: Sequence[int] = ()) -> list[Sample]:
    """Samples of rounds with these ratios; some are noisy for the one or the other."""
    found: list[Sample] = []
    for number, ratio in enumerate(ratios):
        of_ours, of_peer = (1.0 * (number in noisy and number % 2 == each) for each in (0, 1))
        found += [a_sample("peer", number, 4.0, foreign=of_peer), a_sample("ours", number, 4 * ratio, foreign=of_ours)]
    return found


SAMPLES = in_rounds(0.25, 0.75, 0.5)


def told(target: Target, samples: Sequence[Sample] = SAMPLES, **items: int) -> Verdict:
    return verdict(Case("t", "title", no_contenders, (target,)), target, samples, items)


def met(*ratios: float, limit: float = 0.5, noisy: Sequence[int] = ()) -> Met:
    return told(Target("T", "ours", "peer", limit), in_rounds(*ratios, noisy=noisy)).met


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    found = told(Target("T", "ours", "peer", 0.5))
    assert list(found.ratios) == [0.25, 0.75, 0.5]
    assert (found.ratio, found.low, found.high, found.quiet_rounds) == (0.5, 0.25, 0.75, 3)


def test_a_target_is_met_only_with_its_whole_interval() -> None:
    assert met(0.3, 0.4, 0.5) is Met.YES
    assert met(0.3, 0.4, 0.51) is Met.UNKNOWN
    assert met(0.51, 0.6, 0.7) is Met.NO


def test_noisy_rounds_are_no_part_of_a_verdict_on_times() -> None:
    assert met(0.3, 0.9, 0.4, 0.8, 0.5, noisy=(1, 3)) is Met.YES
    assert met(0.3, 0.9, 0.4, 0.9, noisy=(1, 3)) is Met.UNKNOWN, "of two rounds nothing is known"
    noisy = told(Target("T", "ours", "peer", 0.5), in_rounds(0.3, 0.4, noisy=(0, 1)))
    assert (noisy.ratio, noisy.met, noisy.quiet_rounds) == (0.35, Met.UNKNOWN, 0)


def test_what_is_counted_needs_no_quiet_round() -> None:
    samples = [a_sample("ours", 0, 1.0, foreign=2.0, rows=110.0, allowed=100.0)]
    target = Target("T", "ours", "ours", 1.1, measure="rows", peer_measure="allowed", counted=True)
    assert (told(target, samples, ours=1000).ratio, told(target, samples).met) == (1.1, Met.YES)
    memory = Target("T", "ours", None, 9, measure="rss")
    assert (told(memory, ours=1000).ratio, told(memory).met) == (10.0, Met.NO)


def test_times_are_compared_for_one_item() -> None:
    found = told(Target("T", "ours", "peer", 0.15), ours=100, peer=20)
    assert (found.ratio, found.met) == (0.1, Met.YES)


def test_what_a_limit_allows_on_top_comes_off_first() -> None:
    assert told(Target("T", "ours", "peer", 0.1, plus=1.0)).ratio == 0.25


def test_rates_are_compared_the_other_way_round() -> None:
    rates = {limit: told(Target("T", "ours", "peer", limit, at_least=True)) for limit in (1, 2, 5)}
    assert rates[1].ratio == 2.0
    assert [each.met for each in rates.values()] == [Met.YES, Met.UNKNOWN, Met.NO]


def test_a_target_without_samples_of_both_is_an_error() -> None:
    with pytest.raises(BenchFailed, match="no round has both"):
        told(Target("T", "ours", "theirs", 1))


@pytest.mark.parametrize(("rounds", "least"), [(5, 0.93), (9, 0.9), (15, 0.9)])
def test_intervals_hold_the_median_as_often_as_they_say(rounds: int, least: float) -> None:
    chance, held = random.Random(rounds), 0
    for _ in range(2000):
        low, high = interval([chance.lognormvariate(0, 0.3) for _ in range(rounds)])
        held += low <= 1 <= high
    assert held / 2000 > least - 0.02


def test_more_rounds_make_an_interval_narrower() -> None:
    chance = random.Random(1)
    widths = {
        rounds: statistics.mean(
            high - low for low, high in (interval([chance.gauss(1, 0.1) for _ in range(rounds)]) for _ in range(200))
        )
        for rounds in (7, 15, 31)
    }
    assert widths[7] > widths[15] > widths[31]


def test_verdicts_are_given_anew_from_kept_samples() -> None:
    case = next(case for case in all_cases() if case.name.startswith("t22"))
    (target,) = case.targets
    samples = [
        as_json(Sample(target.ours, number, 9.0, 1.0, 10.0, 0.0, 0.0, 0, {"inside": 6.0 + number}))
        for number in range(3)
    ]
    (again,) = judged(case, {"samples": samples, "items": {target.ours: 1}})
    assert (again["ratio"], again["low"], again["high"], again["met"]) == (7.0, 6.0, 8.0, "yes")
    assert judged(case, {"samples": [], "items": {}}) == []


def test_the_table_shows_ratio_interval_limit_and_verdict() -> None:
    row = {"name": "T1", "measure": "wall", "ratio": 0.5, "low": 0.4, "high": 0.6, "target": 0.33, "met": Met.NO,
           "quiet_rounds": 1, "ratios": [0.5, 0.5], "at_least": False}  # fmt: skip
    assert table([row]).splitlines()[1].split() == [
        *("T1", "wall", "0.500", "0.400-0.600", "<=", "0.330", "NO", "1", "of", "2"),
    ]
