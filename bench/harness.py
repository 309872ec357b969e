"""How contenders are measured: whole processes, interleaved, in rounds that each begin with another one.

A case is a group of contenders that do the same work on the same data, and targets that compare two of them. Each
sample is one process with all that it starts; its wall time, CPU seconds and peak memory are its own, whatever else the
machine does meanwhile. What the rest of the machine used is kept with the sample as `foreign` cores.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import CHECKOUT, BenchFailed, clean_environment
from bench.workshop import Workshop

#: Names the file into which a measured process may write values of its own; see bench/child.py.
REPORT_VARIABLE = "BENCH_REPORT"
PR_SET_CHILD_SUBREAPER = 36
SAMPLING_SECONDS = 0.25
TICK = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024
#: More than this many cores used by others make a sample noisy.
NOISE = 0.5


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a case's work: a command, and what happens around each of its samples without being measured.

    `before` runs before each sample, `after` gets the finished sample and raises BenchFailed when the work was not
    done. `items` (files, bytes) is how much work it is: times are compared for one item. `quiet_exit` lists the exit
    statuses that are no failure. `reads` are files and trees that are read before each sample, so that all contenders
    find them in the page cache alike, whatever ran before them.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    items: int = 1
    before: Callable[[], object] | None = None
    after: Callable[[Sample], object] | None = None
    quiet_exit: Sequence[int] = (0,)
    timeout: float = 900
    reads: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """One comparison: `measure` of `ours` against that of `peer`, at most `limit` (at least, where said so).

    Measures: wall, cpu, server_cpu, rss (MB), inside and inside_cpu (the function's own, without the process's start),
    or any value that the process reported. Without `peer` the measure itself is compared. `plus` is what the limit
    allows on top (seconds for all items). With `at_least` the ratio is that of rates: peer's time by ours. What is
    `counted` (rows, say) is the same whatever else the machine does, as memory is.
    """

    name: str
    ours: str
    peer: str | None
    limit: float
    measure: str = "wall"
    peer_measure: str | None = None
    plus: float = 0.0
    at_least: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A group of contenders. `make` prepares data and servers, yields the contenders, and cleans up."""

    name: str
    title: str
    make: Callable[[Workshop], AbstractContextManager[Sequence[Contender]]]
    targets: Sequence[Target] = ()
    #: Each contender runs once without being counted: caches fill, servers make their directories.
    warm_up: bool = False
    #: More rounds than this tell nothing new (a whole simulated year, say).
    most_rounds: int = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a contender. Seconds, MB, and cores used by others (`foreign`); `values` are what it reported."""

    contender: str
    round: int
    wall: float
    cpu: float
    rss: float
    server_cpu: float
    foreign: float
    status: int
    values: Mapping[str, float] = field(default_factory=dict)
    output: str = ""

    def value(self, measure: str) -> float:
        """Return one measure; raise BenchFailed for a value that the process did not report."""
        if measure in ("wall", "cpu", "rss", "server_cpu", "foreign"):
            return float(getattr(self, measure))
        if measure not in self.values:
            raise BenchFailed(f"{self.contender} reported no {measure!r}, only {sorted(self.values)}.")
        return float(self.values[measure])


# --- running a case ------------------------------------------------------------------------------------------------


def run_case(
    case: Case,
    workshop: Workshop,
    *,
    rounds: int,
    quiet_seconds: float = 0,
    tell: Callable[[str], None] = lambda _line: None,
) -> list[Sample]:
    """Measure all contenders of a case in `rounds` interleaved rounds; return the samples."""
    samples: list[Sample] = []
    with case.make(workshop) as contenders:
        _check_names(case, contenders)
        if case.warm_up:
            for contender in contenders:
                measure(contender, round_number=-1, servers=workshop.server_ids())
        for number in range(min(rounds, case.most_rounds)):
            for contender in rotated(contenders, number):
                sample = measure(
                    contender, round_number=number, servers=workshop.server_ids(), quiet_seconds=quiet_seconds
                )
                samples.append(sample)
                tell(line_of(sample))
    return samples


def rotated(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Return the contenders in the order of a round: each round begins with the next one."""
    start = number % len(contenders)
    return [*contenders[start:], *contenders[:start]]


def line_of(sample: Sample) -> str:
    noisy = "  noisy" if sample.foreign > NOISE else ""
    return (
        f"  {sample.round + 1}. {sample.contender:38} wall {sample.wall:8.2f} s  cpu {sample.cpu:8.2f} s  "
        f"peak {sample.rss:6.0f} MB  servers {sample.server_cpu:6.2f} s  others {sample.foreign:4.2f}{noisy}"
    )


def _check_names(case: Case, contenders: Sequence[Contender]) -> None:
    names = [contender.name for contender in contenders]
    if len(set(names)) != len(names):
        raise BenchFailed(f"{case.name}: two contenders have the same name: {names}")


def measure(
    contender: Contender, *, round_number: int = 0, servers: Iterable[int] = (), quiet_seconds: float = 0
) -> Sample:
    """Run a contender once. Raise BenchFailed, with the end of its output, when it fails."""
    if contender.before is not None:
        contender.before()
    wait_for_quiet(quiet_seconds)
    for path in contender.reads:
        _read(path)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        sample = _measured(contender, round_number, tuple(servers), Path(scratch))
    if sample.status not in contender.quiet_exit:
        raise BenchFailed(f"{contender.name} ended with status {sample.status}:\n{sample.output}")
    if contender.after is not None:
        contender.after(sample)
    return sample


def _read(path: Path) -> None:
    """Read a file, or all that lies below a directory; of empty files the directory entry alone."""
    if not path.is_dir():
        with path.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass
        return
    for folder, _, names in os.walk(path):
        for name in names:
            place = Path(folder, name)
            with suppress(OSError):  # a server's directory changes meanwhile
                if place.lstat().st_size:
                    _read(place)


def _measured(contender: Contender, round_number: int, servers: Sequence[int], scratch: Path) -> Sample:
    report, output = scratch / "report.json", scratch / "output"
    env = clean_environment() | dict(contender.env) | {REPORT_VARIABLE: str(report)}
    become_subreaper()
    with output.open("wb") as out:
        known = frozenset(_children(os.getpid()))
        servers_before, machine_before, own_before = _cpu_of_trees(servers), machine_busy(), _own_cpu()
        begun = time.perf_counter()
        process = subprocess.Popen(
            list(contender.argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=CHECKOUT,
            start_new_session=True,
        )  # fmt: skip
        with Watch(process.pid) as watch:
            status, cpu = _wait(process, contender.timeout)
        wall = time.perf_counter() - begun
        cpu += _end_the_rest(process.pid, known)
        server_cpu = _cpu_of_trees(servers) - servers_before
        others = machine_busy() - machine_before - cpu - server_cpu - (_own_cpu() - own_before)
    values = json.loads(report.read_text()) if report.exists() else {}
    return Sample(
        contender=contender.name,
        round=round_number,
        wall=wall,
        cpu=cpu,
        rss=watch.peak / MIB,
        server_cpu=server_cpu,
        foreign=max(0.0, others / wall),
        status=status,
        values=values,
        output=_end_of(output),
    )


def _wait(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, float]:
    """Return the exit status of a child and the CPU seconds of it and of all descendants that were waited for."""
    expired = threading.Timer(seconds, lambda: _kill_session(process.pid))
    expired.daemon = True
    expired.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # an interrupted bench leaves nothing behind
        _kill_session(process.pid)
        process.wait()
        raise
    finally:
        expired.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def _end_the_rest(session: int, known: frozenset[int]) -> float:
    """End what a finished child left running, whatever session it is in; return the CPU seconds of it."""
    spent = 0.0
    _kill_session(session)
    while left := set(_children(os.getpid())) - known:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            usage = os.wait4(pid, 0)[2]
            spent += usage.ru_utime + usage.ru_stime
    return spent


def _kill_session(session: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)


def wait_for_quiet(seconds: float, *, cores: float = 0.3) -> None:
    """Wait at most so long until the machine uses less than `cores`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        busy, begun = machine_busy(), time.monotonic()
        time.sleep(0.5)  # the span that is measured
        if (machine_busy() - busy) / (time.monotonic() - begun) < cores:
            return


# --- what the kernel counts ----------------------------------------------------------------------------------------


class Watch:
    """Looks at a process and its descendants four times a second; `peak` is the most memory of all together, in bytes.

    One process counts with its high-water mark. Several count with what each has alone plus its share of what they
    have in common (PSS), so that forked workers do not count their parent's memory once more each.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.peak = max(self.peak, _memory(tree_of(self.pid)))
            if self._ended.wait(SAMPLING_SECONDS):
                return


def _memory(pids: Sequence[int]) -> int:
    marks = [_kib(f"/proc/{pid}/status", "VmHWM:") for pid in pids]
    if len(pids) < 2:
        return max(marks, default=0)
    return max(max(marks), sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids))


def _kib(path: str, label: str) -> int:
    """Return a value of a file of /proc in bytes; 0 when the process ended or may not be looked at."""
    try:
        with open(path) as lines:
            return next((1024 * int(line.split()[1]) for line in lines if line.startswith(label)), 0)
    except OSError:
        return 0


def tree_of(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    found = [pid]
    for each in found:
        found += _children(each)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as ids:
                found += [int(each) for each in ids.read().split()]
    except OSError:
        pass
    return found


def _cpu_of_trees(pids: Iterable[int]) -> float:
    """Return the CPU seconds of some processes, of their living descendants and of those already waited for."""
    return sum(_cpu_of(each) for pid in pids for each in tree_of(pid))


def _cpu_of(pid: int) -> float:
    fields = _stat(pid)
    return sum(int(value) for value in fields[11:15]) / TICK if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system


def machine_busy() -> float:
    """Return the CPU seconds that the machine's cores have spent on anything, stolen time included."""
    user, nice, system, _idle, _iowait, *others = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(int(ticks) for ticks in (user, nice, system, *others)) / TICK


def become_subreaper() -> None:
    """Processes that lose their parent become children of this one, so that none escapes its account."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


# --- what was measured --------------------------------------------------------------------------------------------


def medians(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return the median of each measure by contender, in the order in which they first ran."""
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(sample.contender for sample in samples):
        of_one = [sample for sample in samples if sample.contender == name]
        measures = ["wall", "cpu", "rss", "server_cpu", "foreign", *of_one[0].values]
        found[name] = {each: statistics.median(sample.value(each) for sample in of_one) for each in measures}
    return found


def as_json(sample: Sample) -> dict[str, Any]:
    """Return a sample for the file of results; what it printed stays out."""
    kept = asdict(sample)
    del kept["output"]
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in kept.items()}


def _end_of(path: Path, lines: int = 30) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
