"""``glacier-backup doctor``: what is wrong in the first hour, each with its mend; nothing is changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named
from glacier_provider.cli.connections import airflow_at_hand
from glacier_provider.cli.output import for_terminal, print_json
from glacier_provider.core.diagnosis import Diagnosis, Judgement, Needed, policy_of, role_of, terraform_of

if TYPE_CHECKING:
    from glacier_provider.applications import Application

_MARKS = {Judgement.WELL: "ok", Judgement.DOUBTFUL: "!", Judgement.WRONG: "WRONG", Judgement.UNTRIED: "?"}


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands,
        "doctor",
        _doctor,
        "try connections, privileges, directories, the store and Airflow, and say what to mend",
    )
    add_named(command)
    command.add_argument("--all", action="store_true", help="also what is well")
    command.add_argument(
        "--fix-print", action="store_true", help="print IAM policies, SQL and Terraform for this configuration"
    )


def _doctor(arguments: Arguments) -> int:
    from glacier_provider.applications import load_applications

    applications = load_applications(arguments.applications)
    chosen = [arguments.application] if arguments.application else list(applications)
    if arguments.fix_print:
        fixes = {name: _fixes(applications.named(name)) for name in chosen}
        if arguments.json:
            print_json(fixes)
        for name, fix in {} if arguments.json else fixes.items():
            _print_fixes(name, fix)
        return 0
    found: dict[str, list[Diagnosis]] = {}
    if not arguments.application or arguments.application in applications.wrong:
        for name, problems in applications.wrong.items():
            mend = "See: glacier-backup applications"
            found[name or applications.origin] = [
                Diagnosis("applications.yaml", Judgement.WRONG, problem, mend) for problem in problems
            ]
    with airflow_at_hand():
        from glacier_provider.hooks.doctor import examine

        for name in chosen:
            if name in applications:
                found[name] = list(examine(applications[name]))
    if arguments.json:
        print_json({name: [one.as_dict() for one in diagnoses] for name, diagnoses in found.items()})
    else:
        _print(arguments, found)
    return 1 if any(one.judgement is Judgement.WRONG for diagnoses in found.values() for one in diagnoses) else 0


def _print(arguments: Arguments, found: dict[str, list[Diagnosis]]) -> None:
    for name, diagnoses in found.items():
        print(f"{name}:")
        for one in diagnoses:
            if one.judgement is Judgement.WELL and not arguments.all:
                continue
            print(f"  {_MARKS[one.judgement]:>5}  {for_terminal(one.about)}: {for_terminal(one.told)}")
            if one.mend:
                print(f"         {for_terminal(one.mend)}")
        wrong = sum(one.judgement is Judgement.WRONG for one in diagnoses)
        well = sum(one.judgement is Judgement.WELL for one in diagnoses)
        print(f"  {wrong} wrong, {well} well.")


def _fixes(application: Application) -> dict[str, Any]:
    from glacier_provider.core.store_uri import parse_store_uri
    from glacier_provider.pipelines.doctor import statements_of

    with airflow_at_hand():
        from glacier_provider.hooks.doctor import users_of

        users = users_of(application)
    user, database = users.get(application.postgres_conn_id, (application.name, application.name))
    catalog = users.get(application.catalog_conn_id, ("glacier", "glacier"))
    uri = parse_store_uri(application.store)
    needs = Needed(
        queue=application.notifications.queue,
        role_arn=application.verify.role_arn,
        account=application.verify.account,
        verifies=application.verify.by != "off",
        asks_by_batch=application.retrieval_batch == "auto",
        report_prefix=application.verify.report_prefix,
    )
    return {
        "policy": policy_of(uri, needs),
        "role": role_of(uri, needs),
        "sql": statements_of(application, user or application.name, database, catalog),
        "terraform": terraform_of(application.name, uri, needs),
    }


def _print_fixes(name: str, fix: dict[str, Any]) -> None:
    print(f"# --- {name}: IAM policy ---\n{json.dumps(fix['policy'], indent=2)}\n")
    if role := fix["role"]:
        for what, title in (("trust", "trust policy"), ("policy", "policy")):
            print(f"# --- {name}: {title} of the role {role['arn']} ---\n{json.dumps(role[what], indent=2)}\n")
    print(f"-- --- {name}: SQL ---")
    print("\n".join(fix["sql"]))
    print(f"\n# --- {name}: Terraform ---\n{fix['terraform']}")
