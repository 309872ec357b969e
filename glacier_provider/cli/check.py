"""``glacier-backup check``: are the backups well, in the manners of monitoring plug-ins.

One line with the state first, performance data behind a bar, and the state as the exit code: 0 OK, 1 WARNING,
2 CRITICAL, 3 UNKNOWN (https://www.monitoring-plugins.org/doc/guidelines.html). It asks the catalog alone.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from glacier_provider.cli.arguments import (
    Arguments,
    add_command,
    add_named,
    expected_of_one_catalog,
    right_applications,
)
from glacier_provider.cli.connections import open_catalog
from glacier_provider.cli.mistakes import told
from glacier_provider.cli.output import for_terminal, print_json
from glacier_provider.core.condition import (
    DEFAULT_ANOMALIES,
    AgeLimits,
    Condition,
    Event,
    Grade,
    Trouble,
    overall_grade,
    readable_age,
    troubles_of,
)
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.text import counted, nearest
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from glacier_provider.applications import Applications

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands, "check", _check, "say in one line whether all is well, for Nagios, Icinga and other monitoring"
    )
    add_named(command)
    command.error = _wrong_usage  # type: ignore[method-assign]
    command.set_defaults(wrong_usage=_wrong_usage)
    told_of = "of the last complete backup: older is worth a warning (default %(default)s)"
    command.add_argument("--warning", "-w", type=_age, default="26h", metavar="AGE", help=told_of)
    command.add_argument(
        "--critical", "-c", type=_age, default="50h", metavar="AGE", help="older is critical (default %(default)s)"
    )
    for kind in ProofKind:
        for grade in ("warning", "critical"):
            command.add_argument(
                f"--{kind.value}-{grade}",
                type=_age,
                metavar="AGE",
                help=f"the same of the last {kind.value} that passed; without it, none is overdue",
            )
    command.add_argument("--except", dest="besides", action="append", default=[], metavar="NAME", help="not this one")
    command.add_argument("--timeout", type=_age, default="30s", metavar="AGE", help="for all of it (default 30s)")


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)([smhdw]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; examples: 26h, 90m, 8d")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])


def _wrong_usage(message: str) -> NoReturn:
    print(f"UNKNOWN - {message}")
    sys.exit(Grade.UNKNOWN)


def _check(arguments: Arguments) -> int:
    """Print the answer and return its code: whatever cannot be asked is UNKNOWN."""
    try:
        with _time_limit(arguments.timeout):
            now, conditions, troubles = _looked_at(arguments)
    except Exception as error:  # noqa: BLE001 - a plug-in tells its errors in its line, and by its code
        answer = " ".join(for_terminal(told(error)).split())
        as_json = {"state": Grade.UNKNOWN.name, "code": int(Grade.UNKNOWN), "error": answer, "applications": {}}
        return _answered(arguments, Grade.UNKNOWN, as_json, f"UNKNOWN - {answer}".replace("|", "/"))
    grade = overall_grade(one.grade for one in troubles)
    line = f"{grade.name} - {_summary(conditions, troubles, now)} | {_figures(arguments, conditions, now)}"
    return _answered(arguments, grade, _as_json(grade, conditions, troubles, now), line)


def _answered(arguments: Arguments, grade: Grade, as_json: dict[str, Any], line: str) -> int:
    """Print the answer and return its code, which is told also where nobody takes the line."""
    try:
        if arguments.json:
            print_json(as_json)
        else:
            print(line)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(grade)


def _looked_at(arguments: Arguments) -> tuple[datetime, dict[str, Condition], list[Trouble]]:
    with open_catalog(arguments) as catalog:
        conditions = catalog.conditions.of()
    now = datetime.now(UTC)
    applications = right_applications(arguments) if arguments.applications else None
    # Without any backup the catalog does not know it, and that there is none is what is to be told.
    configured = {} if applications is None else expected_of_one_catalog(applications, now)
    conditions = {**{name: Condition(name) for name in configured}, **conditions}
    wrong = {} if applications is None else _wrong(applications)
    names = (
        [arguments.application]
        if arguments.application
        else [one for one in {**conditions, **wrong} if one not in arguments.besides]
    )
    if not names:
        raise ConfigurationError("The catalog knows no application.", hint="The first backup makes it known.")
    if unknown := [one for one in names if one not in conditions and one not in wrong]:
        hint = f"Has it ever been backed up{nearest(unknown[0], conditions)}" if conditions else ""
        raise ConfigurationError(f"The catalog knows no application {unknown[0]!r}.", hint=hint)
    conditions = {name: conditions[name] for name in names if name in conditions}
    backup, proofs = AgeLimits(arguments.warning, arguments.critical), _proof_limits(arguments)
    # What applications.yaml says is unlike before, where it is named; to read it takes as long as the rest.
    anomalies = {name: one.anomalies for name, one in (applications or {}).items()}
    troubles = [
        one
        for name, each in conditions.items()
        for one in troubles_of(
            each, now=now, backup=backup, proofs=proofs, anomalies=anomalies.get(name, DEFAULT_ANOMALIES)
        )
    ]
    return now, conditions, [*(wrong[name] for name in names if name in wrong), *troubles]


def _wrong(applications: Applications) -> dict[str, Trouble]:
    """Return of each entry that is wrong that it is: no backup of it is made."""
    told, hint = "its entry in applications.yaml is wrong", "glacier-backup applications names every mistake."
    return {
        name: Trouble(name, Event.APPLICATION_WRONG, Grade.CRITICAL, f"{told}: {problems[0]}", hint)
        for name, problems in applications.wrong.items()
        if name
    }


def _proof_limits(arguments: Arguments) -> dict[ProofKind, AgeLimits]:
    values = vars(arguments)
    return {kind: AgeLimits(values[f"{kind.value}_warning"], values[f"{kind.value}_critical"]) for kind in ProofKind}


@contextmanager
def _time_limit(limit: timedelta) -> Iterator[None]:
    """Raise TimeoutError in the block after so long: whoever asks would end this process without an answer."""

    def over(_number: int, _frame: object) -> NoReturn:
        raise TimeoutError(f"no answer from the catalog within {limit.total_seconds():g} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(limit.total_seconds(), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _summary(conditions: Mapping[str, Condition], troubles: list[Trouble], now: datetime) -> str:
    """Return what is wrong with each application, the worst first, in one line without a bar."""
    worst: dict[str, list[Trouble]] = {}
    for one in sorted(troubles, key=lambda one: -one.grade):
        worst.setdefault(one.application, []).append(one)
    said = [f"{name}: {'; '.join(one.told for one in found)}" for name, found in worst.items()]
    well = [
        f"{name}: backup {one.complete_id} is {_age_of(one, now)} old"
        for name, one in conditions.items()
        if name not in worst
    ]
    said += well if len(well) <= 3 else [f"{counted(len(well), 'other application')} well"]
    return for_terminal(" ".join(". ".join(said).split())).replace("|", "/")


def _age_of(condition: Condition, now: datetime) -> str:
    age = condition.backup_age(now)
    return "" if age is None else readable_age(age)


def _figures(arguments: Arguments, conditions: Mapping[str, Condition], now: datetime) -> str:
    """Return performance data: ``'label'=value[unit];warning;critical;least``."""
    return " ".join(figure for name, one in conditions.items() for figure in _figures_of(arguments, name, one, now))


def _figures_of(arguments: Arguments, name: str, condition: Condition, now: datetime) -> Iterator[str]:
    limits = f"{_seconds(arguments.warning)};{_seconds(arguments.critical)};0"
    ages = [("backup_age", condition.backup_age(now), limits)]
    for kind, limit in _proof_limits(arguments).items():
        told_of = f"{_seconds(limit.warning)};{_seconds(limit.critical)};0"
        ages.append((f"{kind.value}_age", condition.proof_age(kind, now), told_of))
    yield from (f"'{name}_{what}'={_seconds(age)}s;{limit}" for what, age, limit in ages if age is not None)
    yield f"'{name}_files'={condition.files};;;0"
    yield f"'{name}_size'={condition.bytes}B;;;0"
    yield f"'{name}_lost'={condition.lost};;0;0"


def _seconds(age: timedelta | None) -> str:
    return "" if age is None else str(round(age.total_seconds()))


def _as_json(
    grade: Grade, conditions: Mapping[str, Condition], troubles: list[Trouble], now: datetime
) -> dict[str, Any]:
    return {
        "state": grade.name,
        "code": int(grade),
        "applications": {
            name: {
                "state": overall_grade(mine.grade for mine in troubles if mine.application == name).name,
                "troubles": [mine.as_dict() for mine in troubles if mine.application == name],
                "backup_id": one.complete_id,
                "backup_at": one.complete_at,
                "backup_age_seconds": _maybe_seconds(one.backup_age(now)),
                "running_backup_id": one.running_id,
                "files": one.files,
                "bytes": one.bytes,
                "lost": one.lost,
                **{f"{kind.value}_age_seconds": _maybe_seconds(one.proof_age(kind, now)) for kind in ProofKind},
            }
            for name, one in {**{one.application: Condition(one.application) for one in troubles}, **conditions}.items()
        },
    }


def _maybe_seconds(age: timedelta | None) -> int | None:
    return None if age is None else round(age.total_seconds())
