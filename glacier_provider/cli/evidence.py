"""``glacier-backup evidence``: what verifications and drills came to, and whether that is still as it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named, add_paging, right_applications
from glacier_provider.cli.connections import airflow_at_hand, open_catalog
from glacier_provider.cli.output import print_answer, print_rows, shortened, shown_time
from glacier_provider.core.text import counted, some
from glacier_provider.errors import ConfigurationError, ProofFailed

if TYPE_CHECKING:
    from glacier_provider.core.evidence import Chain

_HINT = (
    "Somebody changed or removed documents: look who may write to the store. `glacier-backup verify` writes again what "
    "is missing."
)
_DOCUMENT = re.compile(r"([0-9]{12,15})\.json")


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(commands, "evidence", _evidence, "list what verifications and drills came to, or verify that")
    add_named(command)
    command.add_argument(
        "--verify", action="store_true", help="read the documents in the store: is each there, as it was written"
    )
    command.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="with --verify: look at documents that were downloaded, without store and catalog",
    )
    command.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write the documents of the catalog that DIR does not have yet to it, and verify the chain there",
    )
    command.add_argument("--month", metavar="YYYY-MM", help="with --html: a page to print, of this month")
    command.add_argument("--html", type=Path, metavar="FILE", help="where the page is written")
    add_paging(command, 20)


def _evidence(arguments: Arguments) -> None:
    if arguments.directory is not None:
        if not arguments.verify:
            raise ConfigurationError("--directory is for --verify.", hint="Add --verify.")
        _tell(arguments, {str(arguments.directory): _in_directory(arguments)})
    elif arguments.verify:
        _tell(arguments, _in_stores(arguments))
    elif arguments.month is not None or arguments.html is not None:
        _write_page(arguments)
    elif arguments.save is not None:
        _save(arguments)
    else:
        _list(arguments)


def _named(arguments: Arguments) -> list[str]:
    applications = right_applications(arguments)
    return [applications.named(arguments.application).name] if arguments.application else list(applications)


def _list(arguments: Arguments) -> None:
    from glacier_provider.core.evidence import read_evidence
    from glacier_provider.core.told import ToldWrong

    def told(name: str) -> Iterator[dict[str, Any]]:
        arguments.application = name
        with open_catalog(arguments) as catalog:
            rows = catalog.evidence.listed(limit=arguments.limit, offset=arguments.offset)
        for row in rows:
            where = {"application": name, **{one: row[one] for one in ("number", "sha256", "store_uri", "key")}}
            try:
                document = read_evidence(row["document"].encode())
            except ToldWrong:
                yield {**where, "kind": None, "outcome": None, "ended_at": None, "backup_id": None}
            else:
                yield {
                    **where,
                    "kind": document.kind.value,
                    "outcome": document.outcome.value,
                    "ended_at": document.ended_at,
                    "backup_id": document.backup_id,
                }

    print_rows(
        arguments,
        [row for name in _named(arguments) for row in told(name)],
        {
            "application": "application",
            "number": "number",
            "what": "kind",
            "ended (UTC)": lambda row: shown_time(row["ended_at"]),
            "outcome": "outcome",
            "backup": lambda row: row["backup_id"] or "",
            "SHA-256": lambda row: shortened(row["sha256"], 13),
            "in": lambda row: row["store_uri"].partition("?")[0] if row["store_uri"] else "the catalog alone",
        },
    )


def _in_stores(arguments: Arguments) -> dict[str, Chain]:
    """Return the chain of each application, by its name; of one in a vault, that of the catalog."""
    from glacier_provider.hooks.resources import Resources, open_store_anywhere
    from glacier_provider.pipelines.evidence import evidence_in_stores, evidence_of_catalog, is_kept_by_store

    applications = right_applications(arguments)
    chains = {}
    for name in _named(arguments):
        arguments.application = name
        resources = Resources(applications.named(name), open_store=open_store_anywhere)
        with airflow_at_hand(), open_catalog(arguments) as catalog:
            application, stores = resources.application, resources.stores
            if is_kept_by_store(application, stores=stores):
                chains[name] = evidence_in_stores(application, catalog=catalog, stores=stores)
            else:
                chains[f"{name} (the catalog alone has it)"] = evidence_of_catalog(application, catalog=catalog)
    return chains


def _in_directory(arguments: Arguments) -> Chain:
    from glacier_provider.core.evidence import LARGEST_EVIDENCE, chain_of

    found: list[tuple[int, bytes]] = []
    try:
        for path in sorted(arguments.directory.iterdir()):
            if name := _DOCUMENT.fullmatch(path.name):
                with path.open("rb") as file:
                    found.append((int(name.group(1)), file.read(LARGEST_EVIDENCE + 1)))
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}.", hint="") from error
    if not found:
        raise ConfigurationError(
            f"There is no document of evidence in {arguments.directory}.",
            hint="Download the folder evidence/ of the application, with the names as they are: 000000000001.json.",
        )
    return chain_of(found, application=arguments.application)


def _tell(arguments: Arguments, chains: Mapping[str, Chain], *before: str) -> None:
    lines = list(before)
    answer: dict[str, Any] = {}
    for name, chain in chains.items():
        whole = "whole" if not chain.faults else "NOT whole"
        count = len(chain.documents)
        documents = counted(count, "document")
        last = "" if chain.last is None else f"; the last is {chain.last[0]}, SHA-256 {chain.last[1]}"
        lines += [f"{name}: {documents}, {whole}{last}.", *(f"  {fault}" for fault in chain.faults)]
        answer[name] = {
            "documents": count,
            "faults": chain.faults,
            "last": None if chain.last is None else {"number": chain.last[0], "sha256": chain.last[1]},
        }
    print_answer(arguments, answer, "\n".join(lines))
    broken = [name for name, chain in chains.items() if chain.faults]
    if broken:
        raise ProofFailed(f"The evidence is not as it was written: {', '.join(broken)}.", hint=_HINT)


def _save(arguments: Arguments) -> None:
    """Add what is not there yet, and overwrite nothing: what was kept earlier tells what the catalog says otherwise."""
    name = _one(arguments)
    with open_catalog(arguments) as catalog:
        rows = catalog.evidence.listed(limit=10**9)
    written, other = 0, []
    try:
        arguments.save.mkdir(parents=True, exist_ok=True)
        for row in reversed(rows):
            path, data = arguments.save / f"{row['number']:012d}.json", row["document"].encode()
            if not path.exists():
                _write_whole(path, data)
                written += 1
            elif path.read_bytes() != data:
                other.append(str(row["number"]))
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}.", hint="") from error
    if other:
        raise ProofFailed(
            f"{arguments.save} has {counted(len(other), 'document')} that the catalog has with another content: "
            f"{some(other)}. It was left as it is.",
            hint="One of the two was altered, or the directory is another application's, or another catalog's.",
        )
    told = f"{counted(written, 'new document')} written to {arguments.save}."
    if not rows:
        print_answer(arguments, {"written": 0}, told)
        return
    arguments.directory, arguments.application = arguments.save, name
    _tell(arguments, {str(arguments.save): _in_directory(arguments)}, told)


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there as a whole, or not at all."""
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.rename(path)


def _write_page(arguments: Arguments) -> None:
    from glacier_provider.core.month import month_page
    from glacier_provider.pipelines.month import facts_of_month

    if arguments.month is None or arguments.html is None:
        raise ConfigurationError("A page needs --month and --html.", hint="Example: --month 2026-11 --html page.html")
    name = _one(arguments)
    application = right_applications(arguments).named(name)
    with open_catalog(arguments) as catalog:
        page = month_page(facts_of_month(application, arguments.month, catalog=catalog))
    try:
        arguments.html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{arguments.html} cannot be written: {error.strerror}.", hint="") from error
    print_answer(arguments, {"page": str(arguments.html)}, f"{arguments.html} written: {name}, {arguments.month}.")


def _one(arguments: Arguments) -> str:
    """Return the name of the application that is meant; raise ConfigurationError where there are several."""
    names = _named(arguments)
    if len(names) != 1:
        raise ConfigurationError("This is for one application.", hint=f"Name one of: {', '.join(names)}.")
    arguments.application = names[0]
    return names[0]
