"""The catalog: what was backed up, where it lies, what was asked back. It is the only memory between tasks.

Read `catalog` first. It opens the others, each with the verbs of one topic, whose SQL has its name in ``sql/``:

- a backup: `backups` (its life, and the lease), `scans` (what a walk through the directory means), `archives` (planned,
  being sent, archived)
- a restore: `restores` (its plan, what was asked for and paid, what is in place, the journal of orphans)
- what comes after: `deletions`, `reconciliation`, `rebuild`; `writers` tells our archives from those of other catalogs
- for people: `pages` (Airflow's UI), `lists` (the command line), `counts` (figures kept for pages)

Below them, `database` runs the queries that `queries` has read, `copy_format` writes lines for COPY, and `migrate`
brings the schema of ``migrations/`` up to date.
"""
