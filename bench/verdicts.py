"""Whether targets are met: by an interval that the rounds give, not by one figure.

The interval is one of the median, without assumptions about how times spread: from the k-th smallest ratio to the k-th
largest, k as large as a level of nine tenths allows (the sign test's interval; up to seven rounds it is the range). Of
n rounds, the range holds the true median with a probability of 1 - 2 ** (1 - n): 0.75 of three, 0.94 of five.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.harness import NOISE, Case, Sample, Target
from bench.processes import BenchFailed

#: A comparison with one of these is of one item: both sides are divided by their contender's items.
PER_ITEM = ("wall", "cpu", "inside", "inside_cpu", "server_cpu")
#: Fewer quiet rounds than this are no verdict on a time.
LEAST_ROUNDS = 3
LEVEL = 0.9


class Met(StrEnum):
    """Whether a target is met: its whole interval is within the limit, or beyond it, or neither."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target with what was measured.

    `ratio` is the median of the rounds that count, `low` to `high` its interval: of times the quiet rounds (all where
    none was quiet: then nothing is known), of what is counted every round. `ratios` are those of all rounds.
    """

    case: str
    name: str
    ratio: float
    low: float
    high: float
    target: float
    met: Met
    measure: str
    ratios: Sequence[float]
    quiet_rounds: int
    at_least: bool = False


def verdict(case: Case, target: Target, samples: Sequence[Sample], items: Mapping[str, int]) -> Verdict:
    """Return a target's verdict from a case's samples; `items` by contender's name. Raise BenchFailed without any."""
    rounds = list(_rounds(target, samples))
    if not rounds:
        raise BenchFailed(f"{case.name}: no round has both {target.ours!r} and {target.peer!r}.")
    ratios = [_ratio(target, ours, peer, items) for ours, peer in rounds]
    quiet = [max(ours.foreign, peer.foreign if peer else 0) <= NOISE for ours, peer in rounds]
    counted = target.counted or target.measure == "rss"
    counting = [ratio for ratio, still in zip(ratios, quiet, strict=True) if still or counted]
    low, high = interval(counting or ratios)
    return Verdict(
        case=case.name,
        name=target.name,
        ratio=round(statistics.median(counting or ratios), 4),
        low=round(low, 4),
        high=round(high, 4),
        target=target.limit,
        met=_met(target, low, high) if len(counting) >= (1 if counted else LEAST_ROUNDS) else Met.UNKNOWN,
        measure=target.measure,
        ratios=[round(each, 4) for each in ratios],
        quiet_rounds=sum(quiet),
        at_least=target.at_least,
    )


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the median of some ratios.

    >>> interval([3, 1, 2]), interval([1, 2, 3, 4, 5, 6, 7, 80])
    ((1, 3), (2, 7))
    """
    ordered, cut, count = sorted(ratios), 0, len(ratios)
    while 1 - 2 * sum(math.comb(count, below) for below in range(cut + 2)) / 2**count >= LEVEL:
        cut += 1
    return ordered[cut], ordered[-1 - cut]


def _met(target: Target, low: float, high: float) -> Met:
    if target.at_least:
        low, high = -high, -low
    limit = -target.limit if target.at_least else target.limit
    return Met.YES if high <= limit else Met.NO if low > limit else Met.UNKNOWN


def _rounds(target: Target, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample | None]]:
    peers = {sample.round: sample for sample in samples if sample.contender == target.peer}
    for sample in samples:
        if sample.contender == target.ours and (target.peer is None or sample.round in peers):
            yield sample, peers.get(sample.round)


def _ratio(target: Target, ours: Sample, peer: Sample | None, items: Mapping[str, int]) -> float:
    value = ours.value(target.measure) - target.plus
    if peer is None:
        return value
    peer_measure = target.peer_measure or target.measure
    other = peer.value(peer_measure)
    if target.measure in PER_ITEM or peer_measure in PER_ITEM:
        value /= items.get(ours.contender, 1)
        other /= items.get(peer.contender, 1)
    return other / value if target.at_least else value / other
