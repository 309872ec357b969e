"""A month of one application on one page, to be printed and read by somebody who was not there. Pure.

HTML in one file: no script, nothing from the network, and all that comes from elsewhere is text and nothing but text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from glacier_provider.core.proof import Finding, ProofKind, finding_lines, proof_words
from glacier_provider.core.text import counted, readable_seconds, readable_size

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 1.8rem 0 .5rem; }
p.small, td.small { font-size: .85rem; color: #444; }
table { border-collapse: collapse; width: 100%; } thead { display: table-header-group; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #ccc;
         overflow-wrap: anywhere; }
th { font-weight: 600; } tr { break-inside: avoid; } td.number { text-align: right; white-space: nowrap; }
.bad { color: #a40000; font-weight: 600; } code { font-size: .85em; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } h2 { break-after: avoid; } }
"""


@dataclass(frozen=True, slots=True)
class MonthFacts:
    """What the catalog knows of a month. Times are aware; `until` is the first moment after the month, or now.

    `backups` have `id`, `state`, `opened_at`, `closed_at`, `database_bytes`, `files_count`, `files_bytes`,
    `new_files_count`, `error`; `proofs` the columns of a proof, with `number` and `sha256` of its evidence; `restores`
    `id`, `state`, `opened_at`, `backup_id`. `newest_backup` and `passed` are as of the end, `known_since` is when the
    first backup was opened, `last_evidence` the number and SHA-256 of the last document. `storage` is money a month.
    """

    application: str
    month: str
    since: datetime
    until: datetime
    made_at: datetime
    version: str
    store: str
    schedule: str | None
    backups: Sequence[Mapping[str, Any]]
    proofs: Sequence[Mapping[str, Any]]
    restores: Sequence[Mapping[str, Any]]
    newest_backup: Mapping[str, Any] | None
    passed: Mapping[ProofKind, datetime] = field(default_factory=dict)
    known_since: datetime | None = None
    last_evidence: tuple[int, str] | None = None
    storage: str = ""
    prices: str = ""


def month_bounds(text: str) -> tuple[datetime, datetime]:
    """Return the first moment of a month like 2026-11, and of the next one; raise ValueError for no month."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}", text):
        raise ValueError(f"{text!r} is no month")
    if text >= "9999-12":
        raise ValueError(f"{text!r} has no month after it")
    since = datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC)
    return since, (since + timedelta(days=32)).replace(day=1)


def days_without_backup(facts: MonthFacts) -> list[int]:
    """Return the days of the month that have ended and on which no complete backup was opened."""
    begin = facts.since if facts.known_since is None else max(facts.since, facts.known_since)
    done = {one["opened_at"].astimezone(UTC).date() for one in facts.backups if _outcome(one) == "complete"}
    days = []
    day = begin.astimezone(UTC).date()
    while datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) <= facts.until:
        if facts.known_since is not None and day not in done:
            days.append(day.day)
        day += timedelta(days=1)
    return days


def _outcome(backup: Mapping[str, Any]) -> str:
    """Return how a backup ended: one that was deleted since says still why, if it failed."""
    if backup["state"] in ("deleting", "deleted"):
        return "failed" if backup["error"] else "complete"
    return str(backup["state"])


def month_page(facts: MonthFacts) -> str:
    """Return the page."""
    name, month = escape(facts.application), facts.since.strftime("%B %Y")
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>Backups of {name}, {month}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>Backups of {name}, {month}</h1>",
            f'<p class="small">Made {_at(facts.made_at)} by glacier-provider {escape(facts.version)} from its catalog; '
            f"times are UTC. Store: {_text(facts.store)}. Schedule: {_text(facts.schedule or 'by hand')}.</p>",
            _summary(facts),
            "<h2>Drills: backups restored elsewhere, compared and thrown away</h2>",
            _proofs(facts, ProofKind.DRILL, "No drill ended in this month."),
            "<h2>Verifications: archives compared with the catalog where they lie</h2>",
            _proofs(facts, ProofKind.VERIFICATION, "No verification ended in this month."),
            "<h2>Restores</h2>",
            _table(
                ["restore", "begun", "of backup", "outcome"],
                [
                    [_text(one["id"]), _at(one["opened_at"]), _text(one["backup_id"]), _state(one["state"])]
                    for one in facts.restores
                ],
                "Nothing was restored in this month.",
            ),
            "<h2>Backups</h2>",
            _backups(facts),
            "<h2>How to check this page</h2>",
            _how(facts),
            "</body></html>",
            "",
        ]
    )


def _summary(facts: MonthFacts) -> str:
    outcomes = [_outcome(one) for one in facts.backups]
    failed, complete = outcomes.count("failed"), outcomes.count("complete")
    missing = days_without_backup(facts)
    rows = [
        ["Backups", f"{complete} complete, {_bad(f'{failed} failed', failed)}"],
        ["Days without a complete backup", _bad(", ".join(map(str, missing)), 1) if missing else "none"],
        [
            "Age of the newest complete backup, at the end",
            _age(facts, facts.newest_backup["closed_at"] if facts.newest_backup else None),
        ],
    ]
    for kind in (ProofKind.DRILL, ProofKind.VERIFICATION):
        of_kind = [one["state"] for one in facts.proofs if one["kind"] == kind]
        wrong = len(of_kind) - of_kind.count("passed")
        rows.append([f"{kind.value.capitalize()}s", f"{of_kind.count('passed')} passed, {_bad(f'{wrong} not', wrong)}"])
        rows.append([f"Age of the last {kind.value} that passed, at the end", _age(facts, facts.passed.get(kind))])
    spent = [_part(one["figures"], "plan") for one in facts.proofs if one["kind"] == ProofKind.DRILL]
    told = [f"{one['cost']} {one.get('currency', '')}" for one in spent if one.get("cost") is not None]
    rows += [
        ["Storage, a month, as of now", f"{escape(facts.storage)} <span class=small>({escape(facts.prices)})</span>"],
        ["Drills, by their estimates", _text(", ".join(told)) or "nothing"],
    ]
    body = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<table><tbody>{body}</tbody></table>"


def _proofs(facts: MonthFacts, kind: ProofKind, none: str) -> str:
    return _table(
        ["ended", "took", "outcome", "what was looked at, and found", "by", "evidence"],
        [
            [
                _at(one["ended_at"]),
                readable_seconds((one["ended_at"] - one["began_at"]).total_seconds()),
                _state(one["state"]),
                _found(kind, one),
                _text(one["asked_by"] or one["dag_run_id"] or ""),
                f"{one['number']}<br><code>{_text(one['sha256'])}</code>" if one["number"] else "none yet",
            ]
            for one in facts.proofs
            if one["kind"] == kind
        ],
        none,
    )


def _found(kind: ProofKind, proof: Mapping[str, Any]) -> str:
    of_backup = f"Backup {proof['backup_id']}: " if proof["backup_id"] else ""
    lines = [of_backup + proof_words(kind, proof["figures"])]
    checks = _part(proof["figures"], "database").get("checks")
    if isinstance(checks, list) and checks:
        each = (one for one in checks if isinstance(one, Mapping))
        told = (f"{one.get('name')} {'passed' if one.get('passed') else 'NOT passed'}" for one in each)
        lines.append(f"Checks: {', '.join(told)}.")
    lines += [str(proof["error"])] if proof["error"] else []
    lines += finding_lines([Finding.from_dict(one) for one in proof["findings"]])
    return "<br>".join(_text(line) for line in lines if line)


def _part(figures: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    """Return what a step told; of a catalog that was rebuilt it may be anything."""
    told = figures.get(step)
    return told if isinstance(told, Mapping) else {}


def _backups(facts: MonthFacts) -> str:
    return _table(
        ["backup", "begun", "took", "outcome", "dump", "files", "new"],
        [
            [
                _text(one["id"]),
                _at(one["opened_at"]),
                readable_seconds((one["closed_at"] - one["opened_at"]).total_seconds()) if one["closed_at"] else "",
                _state(one["state"]) + (f"<br>{_text(one['error'])}" if one["error"] else ""),
                _size(one["database_bytes"]),
                f"{one['files_count'] or 0:,} ({_size(one['files_bytes'])})",
                f"{one['new_files_count'] or 0:,}",
            ]
            for one in facts.backups
        ],
        "No backup was begun in this month.",
    )


def _how(facts: MonthFacts) -> str:
    name = escape(facts.application)
    last = (
        f"The last document is number {facts.last_evidence[0]}, SHA-256 <code>{escape(facts.last_evidence[1])}</code>."
        if facts.last_evidence
        else "There is none yet."
    )
    return (
        "<p>Each drill and verification left a document in the store, which names the SHA-256 of the one before it. "
        f"{last} <code>glacier-backup evidence {name} --verify</code> reads them all and compares them with the "
        "catalog; <code>glacier-backup evidence --verify --directory DIR</code> does so with downloaded ones, without "
        "network. What it tells of a number has to be what stands here.</p>"
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], none: str) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return f"<p>{escape(none)}</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _age(facts: MonthFacts, at: datetime | None) -> str:
    if at is None:
        return '<span class="bad">never</span>'
    age = facts.until - at
    hours = round(age.total_seconds() / 3600)
    return f"{counted(hours, 'hour') if hours < 72 else counted(age.days, 'day')} ({_at(at)})"


def _bad(text: str, count: int) -> str:
    return f'<span class="bad">{escape(text)}</span>' if count else escape(text)


def _state(state: object) -> str:
    return _bad(str(state), int(str(state) in ("failed", "found")))


def _at(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"


def _size(value: int | None) -> str:
    return "" if value is None else readable_size(int(value))


def _text(value: object) -> str:
    text = str(value)
    return escape("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text))
