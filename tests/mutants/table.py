"""The mutations, room by room: what the product may never do, and which test says so.

A text that is no longer in its file, or not once, fails `tests/unit/test_mutants.py`; a mutation that nothing notices
fails `make mutants`: write the test.
"""

from __future__ import annotations

from tests.mutants.mutation import Mutation, Promise

CORE = "glacier_provider/core"
POSTGRES = "glacier_provider/postgres"
PIPELINES = "glacier_provider/pipelines"
STORES = "glacier_provider/stores"
SQL = "glacier_provider/catalog/sql"
FENCES = "glacier_provider/catalog/migrations/versions/0007_fences.sql"

_table: list[Mutation] = []


def _mutation(name: str, promise: Promise, file: str, text: str, instead: str, *tests: str) -> None:
    _table.append(Mutation(name, promise, file, text, instead, tests))


# --- dumps ---------------------------------------------------------------------------------------------------------

_mutation(
    "the exit status of a tool is ignored",
    Promise.COMPLETE,
    f"{POSTGRES}/tools/run.py",
    "        return self.status != 0 or bool(self.errors)\n",
    "        return bool(self.errors)\n",
    "tests/unit/postgres/tools/test_find.py::test_psql_fails_by_its_exit_status_alone",
)
_mutation(
    "a dump of which pg_dump said that it failed is taken",
    Promise.COMPLETE,
    f"{POSTGRES}/dump/pg_dump.py",
    "    if ended.failed:\n        raise failure(ended, server, partial)\n",
    "",
    "tests/integration/postgres/test_dump_failures.py::test_a_lock_that_is_not_freed_in_time_fails_the_dump",
)
_mutation(
    "a dump is not read through",
    Promise.COMPLETE,
    f"{POSTGRES}/dump/pg_dump.py",
    "    if follower is None or not follower.all_read:\n        read_through(tools, partial, toc, progress)\n",
    "",
    "tests/integration/postgres/test_dump_failures.py::test_a_pg_dump_that_writes_half_and_says_nothing_is_found_out",
)
_mutation(
    "what pg_restore says of a dump that it reads through is ignored",
    Promise.COMPLETE,
    f"{POSTGRES}/dump/disk.py",
    '    if ended.failed:\n        raise DumpInvalid(f"The dump {dump} cannot be read through: {ended.reason}.")\n\n\n'
    "def _count_tables(",
    "\n\ndef _count_tables(",
    "tests/integration/postgres/test_dump_failures.py::test_a_cut_file_cannot_be_read_through",
)
_mutation(
    "the name of a dump is not made durable",
    Promise.CRASH,
    f"{POSTGRES}/dump/pg_dump.py",
    "        os.fsync(descriptor)\n",
    "        pass\n",
    "tests/integration/postgres/test_dump_failures.py::test_the_name_of_a_dump_is_on_the_disk_when_it_is_told",
)
_mutation(
    "pg_dump takes a snapshot of its own",
    Promise.ORDER,
    f"{POSTGRES}/tools/commands.py",
    '    argv += [f"--snapshot={snapshot}"] if snapshot else []\n',
    "",
    "tests/integration/postgres/test_dump_failures.py::test_references_are_read_in_the_snapshot_of_the_dump",
)
_mutation(
    "the files are scanned before the dump",
    Promise.ORDER,
    "dags/glacier_backup.py",
    "        opened >> dump >> [scan, upload_database, rehearse]\n",
    "        opened >> scan >> dump >> [upload_database, rehearse]\n",
    "tests/unit/test_dags.py::test_the_dump_comes_before_the_scan_and_both_before_the_end",
)
_mutation(
    "the catalog's schema is dumped with the application",
    Promise.CATALOG,
    f"{PIPELINES}/backup/forms.py",
    "exclude_schemas=(self.application.catalog_schema, *dump.exclude_schemas),",
    "exclude_schemas=(*dump.exclude_schemas,),",
    "tests/integration/test_round_trip.py::"
    "test_a_catalog_in_the_application_s_database_is_in_no_dump_and_outlives_every_restore",
)
_mutation(
    "the password of a tool stands in its arguments",
    Promise.SECRETS,
    f"{POSTGRES}/tools/run.py",
    '"-c", *guard, *argv]\n',
    '"-c", *guard, "/usr/bin/env", f"PGPASSWORD={server.password if server else str()}", *argv]\n',
    "tests/unit/postgres/tools/test_find.py::test_a_tool_is_started_without_the_password_in_its_arguments",
)
_mutation(
    "a tool gets all of the worker's environment",
    Promise.SECRETS,
    f"{POSTGRES}/tools/run.py",
    "for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)}",
    "for name, value in os.environ.items()}",
    "tests/unit/postgres/tools/test_messages.py::test_a_tool_gets_none_of_the_workers_secrets",
)
_mutation(
    "what a tool says keeps the password",
    Promise.SECRETS,
    f"{POSTGRES}/tools/run.py",
    "server.redact if server else str, hear)",
    "str, hear)",
    "tests/unit/postgres/tools/test_find.py::test_a_tool_gets_the_password_by_environment_and_its_messages_lose_it",
)

# --- a backup ------------------------------------------------------------------------------------------------------

_mutation(
    "a backup is complete without its dump",
    Promise.COMPLETE,
    f"{SQL}/backups.sql",
    "   AND EXISTS (SELECT FROM glacier_archives a WHERE a.id = b.database_archive_id AND a.state = 'archived')\n",
    "",
    "tests/integration/catalog/test_backups.py::test_a_backup_of_which_something_is_lost_is_not_complete",
    "tests/integration/catalog/test_backups.py::test_a_backup_without_dump_is_not_complete",
)
_mutation(
    "a backup is complete without its manifest",
    Promise.COMPLETE,
    f"{SQL}/backups.sql",
    "   AND EXISTS (SELECT FROM glacier_archives a WHERE a.id = %(manifest_archive_id)s AND a.state = 'archived')\n",
    "",
    "tests/integration/catalog/test_backups.py::test_a_backup_whose_manifest_is_not_archived_is_not_complete",
)
_mutation(
    "a backup is complete with files that are not archived",
    Promise.COMPLETE,
    f"{SQL}/backups.sql",
    "WHERE a.application_id = b.application_id AND a.state IN ('planned', 'uploading')\n"
    "          AND f.first_backup_id <= b.id",
    "WHERE a.application_id = b.application_id AND a.state IN ('failed')\n          AND f.first_backup_id <= b.id",
    "tests/integration/catalog/test_backups.py::test_a_backup_with_a_file_that_is_not_archived_is_not_complete",
)
_mutation(
    "a backup is complete with files that are lost",
    Promise.WORLD,
    f"{SQL}/backups.sql",
    "WHERE a.application_id = b.application_id AND a.state = 'lost'\n",
    "WHERE a.application_id = b.application_id AND a.state = 'failed'\n",
    "tests/integration/catalog/test_backups.py::test_a_backup_of_which_something_is_lost_is_not_complete",
)
_mutation(
    "a backup that failed becomes complete",
    Promise.COMPLETE,
    f"{SQL}/backups.sql",
    " WHERE b.id = %(backup_id)s AND b.state = 'running' AND b.scanned_at IS NOT NULL\n",
    " WHERE b.id = %(backup_id)s AND b.scanned_at IS NOT NULL\n",
    "tests/integration/catalog/test_backups.py::test_a_backup_that_failed_does_not_become_complete",
)
_mutation(
    "a complete backup fails afterwards",
    Promise.COMPLETE,
    f"{SQL}/backups.sql",
    "       failed_step = %(step)s\n WHERE id = %(backup_id)s AND state IN ('running', 'failed')\n",
    "       failed_step = %(step)s\n WHERE id = %(backup_id)s\n",
    "tests/integration/catalog/test_backups.py::test_a_complete_backup_stays_complete",
)
_mutation(
    "a file that is archived is planned again",
    Promise.ONCE,
    f"{SQL}/scans.sql",
    "AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived') AND NOT a.superseded)\n ORDER BY",
    "AND a.kind = 'file' AND a.state IN ('planned', 'uploading') AND NOT a.superseded)\n ORDER BY",
    "tests/integration/catalog/test_backups.py::test_a_later_backup_plans_only_what_is_new",
)
_mutation(
    "a lost archive counts as archived",
    Promise.WORLD,
    f"{SQL}/scans.sql",
    "AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived') AND NOT a.superseded)\n ORDER BY",
    "AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived', 'lost') AND NOT a.superseded)\n ORDER BY",
    "tests/integration/test_lost.py::test_the_day_after_a_loss_it_is_known_and_healed_in_every_backup",
)
_mutation(
    "a file with another time and inode is taken for what it was",
    Promise.ONCE,
    f"{SQL}/scans.sql",
    "OR NOT %(sizes_only)s AND (f.archive_id IS NULL OR i.mtime_ns <> s.mtime_ns OR i.inode <> s.inode));",
    "OR NOT %(sizes_only)s AND f.archive_id IS NULL);",
    "tests/integration/test_versions.py::"
    "test_another_content_under_a_name_is_another_archive_and_each_backup_has_its_own",
)
_mutation(
    "the content of a file is not compared with that of its earlier archive",
    Promise.ONCE,
    f"{PIPELINES}/backup/upload.py",
    "for version, verifier in found if verifier.matches()), None)",
    "for version, verifier in found), None)",
    "tests/integration/test_versions.py::"
    "test_another_content_under_a_name_is_another_archive_and_each_backup_has_its_own",
    "tests/integration/test_versions.py::test_a_content_that_comes_back_is_not_archived_again",
)
_mutation(
    "a directory that did not change is written anew",
    Promise.CHANGES,
    f"{SQL}/scans.sql",
    " WHERE (d.files, d.bytes, d.names, d.sizes, d.inode, d.changed_ns)\n"
    "       IS DISTINCT FROM (excluded.files, excluded.bytes, excluded.names, excluded.sizes, excluded.inode, "
    "excluded.changed_ns);",
    ";",
    "tests/integration/catalog/test_scan_layers.py::"
    "test_a_scan_that_believes_nothing_writes_no_row_of_what_did_not_change",
)
_mutation(
    "each manifest lists every file",
    Promise.CHANGES,
    f"{PIPELINES}/backup/close.py",
    '    return previous if changes <= max(catalog.backups.get(backup_id)["files_count"], 100) else 0\n',
    "    return 0\n",
    "tests/integration/test_round_trip.py::test_manifests_follow_each_other_and_tell_every_change",
)
_mutation(
    "what was finished is forgotten when a page of uploads ends early",
    Promise.CRASH,
    f"{PIPELINES}/shared/group.py",
    "    def __exit__(self, *_: object) -> None:\n        self.commit()\n",
    "    def __exit__(self, *_: object) -> None:\n        pass\n",
    "tests/unit/pipelines/shared/test_group.py",
)
_mutation(
    "what a backup wrote is not looked at again",
    Promise.WORLD,
    f"{PIPELINES}/backup/close.py",
    "            look_back(backup_id, catalog=catalog, store=store)\n",
    "",
    "tests/integration/test_lost.py::test_what_was_written_and_is_not_there_when_it_is_looked_at_fails_the_backup",
)
_mutation(
    "the store of another catalog is taken for that of yesterday",
    Promise.WORLD,
    f"{PIPELINES}/backup/check.py",
    '    if data is not None and _mark_of(data) == known["mark"]:\n',
    "    if data is not None:\n",
    "tests/integration/test_lost.py::test_a_store_with_the_marker_of_another_catalog_is_not_that_of_yesterday",
)
_mutation(
    "an archive of another size is not missed",
    Promise.WORLD,
    f"{SQL}/checks.sql",
    "AND (l.key IS NULL OR l.size <> a.stored_size OR l.checksum <> a.checksum)",
    "AND (l.key IS NULL OR l.checksum <> a.checksum)",
    "tests/integration/test_lost.py::test_an_archive_that_is_not_as_long_as_it_was_written_is_lost",
)
_mutation(
    "an archive with another checksum is not missed",
    Promise.WORLD,
    f"{SQL}/checks.sql",
    "AND (l.key IS NULL OR l.size <> a.stored_size OR l.checksum <> a.checksum)",
    "AND (l.key IS NULL OR l.size <> a.stored_size)",
    "tests/integration/test_verification.py::test_a_vault_is_verified_by_the_tree_hashes_of_its_inventory",
)
_mutation(
    "an id that the store knows is given again",
    Promise.REBUILT,
    f"{PIPELINES}/backup/open.py",
    "    catalog.writers.skip_ids(archive_id=used[0], backup_id=used[1])\n",
    "",
    "tests/integration/test_back_in_time.py::test_ids_are_not_given_twice_and_both_lives_come_back",
)
_mutation(
    "what a rehearsal could not make is swallowed",
    Promise.RESTORABLE,
    f"{PIPELINES}/backup/rehearse.py",
    "        if failures:\n            place = ",
    "        if False:\n            place = ",
    "tests/integration/test_rehearsed.py::test_a_backup_that_cannot_be_brought_back_is_complete_and_says_why",
)
_mutation(
    "an error of the rehearsal fails the backup",
    Promise.RESTORABLE,
    f"{PIPELINES}/backup/rehearse.py",
    "        except Exception as error:  # an error of ours must not fail the only copy\n",
    "        except MemoryError as error:\n",
    "tests/integration/test_rehearsed.py::test_an_error_of_the_rehearsal_itself_fails_no_backup",
)
_mutation(
    "what was given up is archived by who still sends it",
    Promise.COMPLETE,
    f"{SQL}/archives.sql",
    " WHERE a.id = r.id AND a.state || '' IN ('uploading', 'planned')\nRETURNING a.id;",
    " WHERE a.id = r.id\nRETURNING a.id;",
    "tests/integration/catalog/test_backups.py::test_what_was_given_up_meanwhile_is_not_archived_by_who_still_sends_it",
)
_mutation(
    "what was never archived is lost",
    Promise.WORLD,
    f"{SQL}/lost.sql",
    "AND id = ANY(%(archive_ids)s) AND state = 'archived'\n    RETURNING id, kind, filename, backup_id),",
    "AND id = ANY(%(archive_ids)s)\n    RETURNING id, kind, filename, backup_id),",
    "tests/integration/catalog/test_backups.py::test_only_what_was_archived_can_be_lost",
)
_mutation(
    "an emptied directory makes every file vanish",
    Promise.WORLD,
    "glacier_provider/catalog/scans.py",
    "            self._refuse_emptied(walk.files)\n",
    "",
    "tests/integration/catalog/test_scan_layers.py::test_an_emptied_directory_is_refused_whatever_is_remembered",
)
_mutation(
    "an error that lasts is tried again and again",
    Promise.COMPLETE,
    "glacier_provider/operators/base.py",
    "        if error.retryable:\n            raise\n",
    "        if True:\n            raise\n",
    "tests/unit/operators/test_operators.py::test_an_error_that_lasts_fails_the_task_without_another_try",
)
_mutation(
    "the failure of a task is not noted",
    Promise.COMPLETE,
    "glacier_provider/operators/base.py",
    "            note_failure(run, reason, step=step_of(error), catalog=resources.catalog)\n",
    "            pass\n",
    "tests/unit/operators/test_record_failure.py::test_a_backups_failure_is_noted_with_task_and_reason",
)
_mutation(
    "a manifest names what is not in the store",
    Promise.COMPLETE,
    f"{PIPELINES}/backup/close.py",
    "            catalog.backups.require_archived(backup_id)  # a manifest names only what is in the store\n",
    "",
    "tests/integration/test_runs_that_ended.py::test_a_backup_that_was_completed_after_all_tells_what_it_archived",
)
_mutation(
    "what a verification found is told anew after its end",
    Promise.WORLD,
    f"{SQL}/proofs.sql",
    "                           '[]') || %(findings)s::jsonb\n WHERE id = %(proof_id)s AND state = 'running';",
    "                           '[]') || %(findings)s::jsonb\n WHERE id = %(proof_id)s;",
    "tests/integration/catalog/test_proofs.py",
)

# --- stores --------------------------------------------------------------------------------------------------------

_mutation(
    "a bucket's checksum is not compared",
    Promise.COMPLETE,
    f"{STORES}/s3/bucket.py",
    "        if checksum != expected:\n",
    "        if False:\n",
    "tests/contract/test_s3_store.py::test_what_a_store_confirms_with_another_checksum_is_not_archived",
)
_mutation(
    "a bucket's checksum of a part is not compared",
    Promise.COMPLETE,
    f"{STORES}/s3/upload.py",
    '        if reply.get("ChecksumSHA256", checksum) != checksum:\n',
    "        if False:\n",
    "tests/contract/test_s3_store.py::test_what_a_store_confirms_with_another_checksum_is_not_archived",
)
_mutation(
    "an upload process takes any answer for a proof",
    Promise.COMPLETE,
    f"{STORES}/s3/fast/process.py",
    "        if reply.status == 200 and _is_proof(reply, file):\n",
    "        if reply.status == 200:\n",
    "tests/unit/stores/s3/fast/test_process.py::test_what_a_process_says_of_a_file_is_what_the_reply_proves",
)
_mutation(
    "a process names what it brought without comparing it",
    Promise.WHOLE,
    f"{STORES}/s3/fast/fetch.py",
    "        if len(data) != wanted.size or hashlib.sha256(data).hexdigest() != wanted.sha256:\n",
    "        if len(data) != wanted.size:\n",
    "tests/unit/stores/s3/fast/test_fetch.py::test_only_the_bytes_that_were_archived_get_their_name",
)
_mutation(
    "a process names what it brought without asking",
    Promise.FENCED,
    f"{STORES}/s3/fast/fetch.py",
    "            if not self._has_leave():  # asked for each: the process may be stopped between any two\n",
    "            if not place and not self._has_leave():\n",
    "tests/unit/stores/s3/fast/test_fetch.py"
    "::test_who_is_stopped_among_the_names_of_a_group_gives_no_more_when_it_wakes_up",
)
_mutation(
    "a process pays for retrievals without asking",
    Promise.FENCED,
    f"{STORES}/s3/fast/ask.py",
    "        return super()._may_start() and self._has_leave()\n",
    "        return super()._may_start()\n",
    "tests/unit/stores/s3/fast/test_fetch.py::test_what_the_store_has_taken_is_asked_for",
)
_mutation(
    "an upload process sends a file that is still being written",
    Promise.COMPLETE,
    f"{STORES}/s3/fast/process.py",
    "open_source(root, filename, settle_seconds=setup.settle_seconds, now=time.time()) as source:",
    "open_source(root, filename) as source:",
    "tests/faults/test_many_files.py::test_a_file_that_is_still_being_written_is_named_and_the_others_are_archived",
)
_mutation(
    "a vault's checksum is not compared",
    Promise.COMPLETE,
    f"{STORES}/vault/upload.py",
    '        if reply.get("checksum", checksum) != checksum:\n'
    '            raise ArchiveCorrupt(f"{self.vault.url(key)} was stored',
    '        if False:\n            raise ArchiveCorrupt(f"{self.vault.url(key)} was stored',
    "tests/contract/test_vault_store.py::test_what_a_vault_confirms_with_another_checksum_is_not_archived",
)
_mutation(
    "a dump that grew is not made durable",
    Promise.CRASH,
    "glacier_provider/staging/stream.py",
    "            os.fsync(self._fd)\n",
    "",
    "tests/unit/staging/test_stream.py::"
    "test_a_dump_that_grew_is_on_the_disk_before_it_has_its_name_and_then_the_name_is",
)
_mutation(
    "the layout of a dump is not made durable",
    Promise.CRASH,
    "glacier_provider/staging/layout.py",
    "        os.fsync(file.fileno())\n",
    "",
    "tests/unit/staging/test_stream.py::test_a_layout_is_on_the_disk_when_it_is_written",
)
_mutation(
    "the names that the database knows are not made durable",
    Promise.ORDER,
    f"{PIPELINES}/backup/references.py",
    "        os.fsync(file.fileno())\n",
    "",
    "tests/unit/pipelines/backup/test_references.py",
)
_mutation(
    "a vault's checksum of an archive in one piece is not compared",
    Promise.COMPLETE,
    f"{STORES}/vault/store.py",
    '        if reply.get("checksum", checksum) != checksum:\n',
    "        if False:\n",
    "tests/contract/test_vault_store.py::test_what_a_vault_confirms_with_another_checksum_is_not_archived",
)
_mutation(
    "a key that is taken is written over",
    Promise.ONCE,
    f"{STORES}/s3/store.py",
    '            "IfNoneMatch": "*",\n',
    "",
    "tests/contract/test_store_contract.py::test_a_place_that_holds_other_content_is_never_overwritten",
)
_mutation(
    "parts that the store has are sent again",
    Promise.CRASH,
    f"{STORES}/s3/upload.py",
    "            lambda part: self.send_part(source, upload_id, part, stored.get(part.number)),\n",
    "            lambda part: self.send_part(source, upload_id, part),\n",
    "tests/contract/test_store_contract.py::test_an_upload_that_broke_off_goes_on_at_the_next_part",
)
_mutation(
    "an archive is not signed",
    Promise.REBUILT,
    f"{STORES}/s3/keys.py",
    '        metadata["written-by"] = description.written_by\n',
    "        pass\n",
    "tests/unit/stores/s3/test_keys.py",
)
_mutation(
    "an archive that another catalog signed is adopted",
    Promise.WORLD,
    f"{STORES}/s3/bucket.py",
    '        if head.metadata.get("written-by") != description.written_by:\n',
    "        if False:\n",
    "tests/contract/test_s3_store.py::test_the_same_content_that_another_catalog_sent_is_not_adopted",
)
_mutation(
    "each request for an archive of a vault begins another job",
    Promise.RETRIEVED,
    f"{STORES}/vault/jobs.py",
    '        return self.status == "InProgress" and _TIERS.index(self.tier or "Standard") <= _TIERS.index(tier)\n',
    "        return False\n",
    "tests/contract/test_store_contract.py::test_a_second_request_joins_the_first",
)
_mutation(
    "an upload process gets all of the worker's environment",
    Promise.SECRETS,
    f"{STORES}/s3/fast/pool.py",
    "            env=_environment(),\n",
    "            env=dict(os.environ),\n",
    "tests/faults/test_many_files.py::test_a_process_has_no_secret_in_its_arguments_or_environment",
)
_mutation(
    "a key that is not of the archive is deleted",
    Promise.UNTRUSTED,
    f"{STORES}/s3/delete.py",
    "        if _is_key_of(bucket.uri.prefix, key, description):\n",
    "        if True:\n",
    "tests/contract/test_store_contract.py::test_a_key_that_is_not_of_the_archive_described_is_left_alone",
)

# --- files ---------------------------------------------------------------------------------------------------------

_mutation(
    "a file that changes while it is read is archived",
    Promise.COMPLETE,
    "glacier_provider/files/source.py",
    "        if _stamp(info) != self.stamp:\n",
    "        if False:\n",
    "tests/unit/files/test_source.py::test_a_file_that_changes_while_it_is_read_is_no_archive",
)
_mutation(
    "a name may lead upwards",
    Promise.UNTRUSTED,
    f"{CORE}/names.py",
    '    b"..": "the part \'..\'",\n',
    "",
    "tests/unit/files/test_names.py::test_a_name_that_could_lead_elsewhere_is_refused",
)
_mutation(
    "a directory that is a link is followed",
    Promise.UNTRUSTED,
    "glacier_provider/files/root.py",
    "NOFOLLOW_DIRECTORY = DIRECTORY | os.O_NOFOLLOW\n",
    "NOFOLLOW_DIRECTORY = DIRECTORY\n",
    "tests/unit/files/test_source.py",
    "tests/unit/files/test_move.py",
)
_mutation(
    "a file gets its name before it is verified",
    Promise.WHOLE,
    "glacier_provider/files/place.py",
    "            _fill(pending, chunks, size, verifier, self._root.where(parts))\n"
    "            pending.make_durable(mtime_ns)\n"
    "            return self.commit(pending, name, size=size)\n",
    "            placed = self.commit(pending, name, size=size)\n"
    "            _fill(pending, chunks, size, verifier, self._root.where(parts))\n"
    "            pending.make_durable(mtime_ns)\n"
    "            return placed\n",
    "tests/unit/files/test_place.py::test_wrong_content_never_gets_the_name",
    "tests/unit/files/test_place.py::test_content_is_on_the_disk_before_it_has_its_name_and_then_the_name_is",
)
_mutation(
    "the checksum of a file that is brought is not compared",
    Promise.WHOLE,
    "glacier_provider/files/place.py",
    "    if verifier is not None and not verifier.matches():\n",
    "    if False:\n",
    "tests/unit/files/test_place.py::test_wrong_content_never_gets_the_name",
)
_mutation(
    "a file that is brought is not made durable",
    Promise.WHOLE,
    "glacier_provider/files/temporary.py",
    "            os.fsync(self.fd)\n",
    "            pass\n",
    "tests/unit/files/test_place.py::test_content_is_on_the_disk_before_it_has_its_name_and_then_the_name_is",
)
_mutation(
    "the name of a file that is brought is not made durable",
    Promise.WHOLE,
    "glacier_provider/files/temporary.py",
    "        if durable:\n            sync_directory(target_dir)\n",
    "",
    "tests/unit/files/test_place.py::test_content_is_on_the_disk_before_it_has_its_name_and_then_the_name_is",
)
_mutation(
    "a directory that is made for a file is not durable",
    Promise.WHOLE,
    "glacier_provider/files/root.py",
    "        sync_directory(parent)\n",
    "",
    "tests/unit/files/test_place.py::test_content_is_on_the_disk_before_it_has_its_name_and_then_the_name_is",
)
_mutation(
    "a file that was moved aside may be in neither place after a crash",
    Promise.WHOLE,
    "glacier_provider/files/move.py",
    "        sync_directory(to_dir)\n        sync_directory(from_dir)\n",
    "",
    "tests/unit/files/test_move.py::test_a_move_is_on_the_disk_at_both_ends",
)
_mutation(
    "a file of another content that lies aside lets the original go",
    Promise.WHOLE,
    "glacier_provider/files/move.py",
    "    return one.size == other.size and hash_source(one) == hash_source(other)\n",
    "    return one.size == other.size\n",
    "tests/unit/files/test_move.py",
)
_mutation(
    "a file that is there is written over",
    Promise.WHOLE,
    "glacier_provider/files/link.py",
    "_RENAME_NOREPLACE = 1\n",
    "_RENAME_NOREPLACE = 0\n",
    "tests/unit/files/test_place.py::test_a_file_that_appears_while_another_is_written_is_kept",
)
_mutation(
    "a directory that took the place of the root is walked",
    Promise.WORLD,
    "glacier_provider/files/walk.py",
    "    if not same:\n",
    "    if False:\n",
    "tests/unit/files/test_walk.py::test_a_root_that_is_replaced_during_the_walk_is_an_error",
)
_mutation(
    "a member of an archive overwrites another",
    Promise.UNTRUSTED,
    "glacier_provider/staging/tar.py",
    "flags | os.O_CREAT | os.O_EXCL, 0o600",
    "flags | os.O_CREAT, 0o600",
    "tests/unit/staging/test_tar.py::test_a_name_given_twice_does_not_overwrite",
)
_mutation(
    "an archive that is cut is unpacked",
    Promise.WHOLE,
    "glacier_provider/staging/tar.py",
    "                stream.require_end(tar.offset)\n",
    "",
    "tests/unit/staging/test_tar.py::test_an_archive_that_is_cut_between_two_files_is_refused",
)

# --- a restore -----------------------------------------------------------------------------------------------------

_mutation(
    "the pieces of a large archive are not compared with its checksum",
    Promise.WHOLE,
    f"{PIPELINES}/restore/download.py",
    "        if not pieces.match(digests):\n",
    "        if False:\n",
    "tests/integration/test_large_restore.py::"
    "test_pieces_that_are_damaged_otherwise_each_time_never_get_their_name_and_nothing_is_lost",
)
_mutation(
    "a staged dump is not hashed before it replaces a database",
    Promise.WHOLE,
    f"{PIPELINES}/restore/database.py",
    '        intact = archive["sha256"] in (None, hash_source(source))\n',
    "        intact = True\n",
    "tests/integration/test_restore_again.py::"
    "test_a_staged_dump_that_is_not_what_was_archived_any_more_replaces_nothing",
)
_mutation(
    "rows are committed though pg_restore failed",
    Promise.WHOLE,
    f"{POSTGRES}/restore/transaction.py",
    "        if rows.ended().failed:\n",
    "        if False:\n",
    "tests/integration/postgres/test_restore_failures.py::test_a_pg_restore_that_fails_after_the_last_row_rolls_back",
)
_mutation(
    "a restore that pg_restore could not finish beside is swapped",
    Promise.WHOLE,
    f"{POSTGRES}/restore/swap/fill.py",
    "            _refuse(ended, failed, lenient)\n",
    "",
    "tests/integration/postgres/test_swap_as_owner.py::test_a_statement_that_fails_restores_nothing_and_is_named",
)
_mutation(
    "orphans are moved before the database is in place",
    Promise.WHOLE,
    f"{PIPELINES}/restore/orphans.py",
    '    if request.database and "database" not in restore["outcome"]:\n',
    "    if False:\n",
    "tests/integration/test_runs_that_ended.py::test_a_restore_whose_database_was_marked_by_hand_is_not_complete",
)
_mutation(
    "what is lost and still in the directory goes aside as an orphan",
    Promise.WHOLE,
    f"{SQL}/restores.sql",
    " WHERE NOT s.young AND NOT EXISTS (\n"
    "       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id\n"
    "        WHERE a.application_id = %(application_id)s AND a.filename = s.name AND a.kind = 'file'\n"
    "          AND a.state IN ('planned', 'uploading', 'archived', 'lost', 'deleting', 'deleted')\n",
    " WHERE NOT s.young AND NOT EXISTS (\n"
    "       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id\n"
    "        WHERE a.application_id = %(application_id)s AND a.filename = s.name AND a.kind = 'file'\n"
    "          AND a.state IN ('planned', 'uploading', 'archived')\n",
    "tests/integration/test_lost.py::test_what_is_lost_and_still_in_the_directory_is_no_orphan",
)
_mutation(
    "a restore is complete without its files",
    Promise.WHOLE,
    f"{PIPELINES}/restore/close.py",
    "    if unplaced:\n",
    "    if False:\n",
    "tests/integration/test_restore_again.py::test_a_restore_without_all_of_its_files_is_not_complete",
)
_mutation(
    "a restore drops the catalog that lives in the same database",
    Promise.CATALOG,
    f"{PIPELINES}/restore/database.py",
    "        exclude_schemas=(call.application.catalog_schema, *(wanted.exclude_schemas if here else ())),\n",
    "        exclude_schemas=(*(wanted.exclude_schemas if here else ()),),\n",
    "tests/integration/test_round_trip.py::"
    "test_a_catalog_in_the_application_s_database_is_in_no_dump_and_outlives_every_restore",
)
_mutation(
    "a foreign key that rows break is left out instead of holding from now on",
    Promise.RESTORABLE,
    f"{POSTGRES}/restore/transaction.py",
    '        statement = re.sub(r";\\s*\\Z", " NOT VALID;", sql)\n',
    "        statement = sql\n",
    "tests/integration/postgres/test_what_stays.py::"
    "test_a_foreign_key_to_rows_that_went_from_what_stays_holds_from_now_on_and_is_listed",
)
_mutation(
    "a foreign key of a table that stays is left out when rows break it",
    Promise.RESTORABLE,
    f"{POSTGRES}/restore/transaction.py",
    "{after} NOT VALID;\\nRELEASE",
    "{after};\\nRELEASE",
    "tests/integration/postgres/test_what_stays.py::"
    "test_a_foreign_key_that_no_longer_fits_holds_from_now_on_and_is_listed",
)
_mutation(
    "what has to stay may go with what is replaced",
    Promise.RESTORABLE,
    f"{POSTGRES}/restore/transaction.py",
    "        if lost:\n",
    "        if False:\n",
    "tests/integration/postgres/test_what_stays.py::"
    "test_when_something_that_has_to_stay_goes_all_the_same_nothing_is_changed",
)
_mutation(
    "what is there is asked for",
    Promise.PRESENT,
    f"{SQL}/restores.sql",
    "       AND m.source = 'store' AND m.status = 'available' AND m.stored_size > 0 OFFSET 0) AS one\n",
    "       AND m.source = 'store' AND m.stored_size > 0 OFFSET 0) AS one\n",
    "tests/integration/catalog/test_restore_plans.py",
)
_mutation(
    "a listing's word of one archive is taken for another's",
    Promise.WHOLE,
    f"{STORES}/s3/listing.py",
    "        if len(keys) != len(entries) or not all(is_whole):\n            return None\n",
    "",
    "tests/contract/test_listed_retrievals.py",
)
_mutation(
    "an offer that ended is not asked for again by a look without other news",
    Promise.RETRIEVED,
    f"{PIPELINES}/restore/wait.py",
    "        if looked is None or expired or looked.to_request:\n",
    "        if looked is None:\n",
    "tests/integration/test_looks.py",
)
_mutation(
    "that nothing is left is believed though something changed meanwhile",
    Promise.WHOLE,
    f"{PIPELINES}/restore/wait.py",
    "    if looked is None or looked.is_news or not looked.pending:\n        looked = None\n",
    "",
    "tests/integration/test_looks.py",
)
_mutation(
    "what was set aside is paid for",
    Promise.PRESENT,
    f"{SQL}/restores.sql",
    "AND o.state = 'moved' AND o.orphan_directory = %(orphan_directory)s\n ORDER BY a.id, o.id DESC;",
    "AND false\n ORDER BY a.id, o.id DESC;",
    "tests/integration/test_round_trip.py::test_a_large_file_moved_aside_is_moved_back_rather_than_paid_for",
)
_mutation(
    "a retrieval that was requested is requested again",
    Promise.RETRIEVED,
    f"{PIPELINES}/restore/request.py",
    "    if intent.confirmed:\n        return Retrieval(location, intent.tier, intent.job_id)\n",
    "",
    "tests/integration/test_restore_again.py::test_what_another_restore_asked_for_a_moment_before_is_not_asked_for_again",
)
_mutation(
    "copies whose time is over count as ready",
    Promise.RETRIEVED,
    f"{SQL}/restores.sql",
    "g.expires_at <= statement_timestamp() + make_interval(secs => %(margin)s)",
    "g.expires_at <= clock_timestamp() - interval '1 year'",
    "tests/integration/test_clocks.py::test_copies_whose_time_is_over_are_cold_wherever_somebody_looks",
)
_mutation(
    "a retrieval that failed is waited for for ever",
    Promise.RETRIEVED,
    f"{PIPELINES}/restore/wait.py",
    '            failed.append((row["id"], report.failure))\n',
    "",
    "tests/integration/test_vault_round_trip.py::test_a_retrieval_that_the_vault_gives_up_ends_the_wait_by_its_name",
)
_mutation(
    "a backup that is not complete is restored",
    Promise.WHOLE,
    f"{SQL}/restores.sql",
    "    SELECT id FROM application_data_backups WHERE id = %(backup_id)s AND state = 'complete' FOR SHARE) AS b\n"
    "ON CONFLICT",
    "    SELECT id FROM application_data_backups WHERE id = %(backup_id)s FOR SHARE) AS b\nON CONFLICT",
    "tests/faults/test_two_at_once.py::test_a_restore_that_is_planned_while_its_backup_is_deleted_never_begins",
)
_mutation(
    "a restore that failed becomes complete",
    Promise.WHOLE,
    f"{SQL}/restores.sql",
    "outcome = outcome || %(outcome)s\n WHERE id = %(restore_id)s AND state = 'running'\n",
    "outcome = outcome || %(outcome)s\n WHERE id = %(restore_id)s\n",
    "tests/integration/catalog/test_restore_plans.py::test_a_restore_that_failed_does_not_become_complete",
)
_mutation(
    "messages that are about something else are deleted",
    Promise.UNTRUSTED,
    "glacier_provider/triggers/queue_listener.py",
    "    return bool(notifications) and notifications <= (outcome.confirmed | given_up)\n",
    "    return True\n",
    "tests/unit/triggers/test_queue_listener.py",
)
_mutation(
    "a retrieval that failed becomes ready",
    Promise.RETRIEVED,
    f"{SQL}/restores.sql",
    "     WHERE g.id = r.id AND coalesce(g.state, '') = 'requested'\n    RETURNING g.archive_id)\n"
    "UPDATE glacier_archives a SET retrieval_status = 'ready' FROM done\n",
    "     WHERE g.id = r.id\n    RETURNING g.archive_id)\n"
    "UPDATE glacier_archives a SET retrieval_status = 'ready' FROM done\n",
    "tests/integration/catalog/test_restore_plans.py::test_a_retrieval_that_failed_does_not_become_ready",
)

# --- leases and fences ---------------------------------------------------------------------------------------------

_mutation(
    "a lease that another run has is taken",
    Promise.FENCED,
    f"{SQL}/backups.sql",
    "       AND (lease_holder IS NULL OR lease_holder = %(holder)s OR lease_until < clock_timestamp())\n",
    "",
    "tests/integration/catalog/test_backups.py::test_a_lease_that_another_run_took_a_moment_before_is_not_taken",
)
_mutation(
    "a stale lease is prolonged",
    Promise.FENCED,
    f"{SQL}/backups.sql",
    "            OR EXISTS (SELECT FROM fences WHERE application_id = %(application_id)s AND token = %(token)s))\n",
    "            OR true)\n",
    "tests/integration/catalog/test_backups.py::test_a_lease_that_another_run_had_meanwhile_is_not_prolonged",
)
_mutation(
    "whoever has any token passes the fence",
    Promise.FENCED,
    FENCES,
    "application_id = split_part(fence, ' ', 1)::integer AND token = split_part(fence, ' ', 2)::bigint\n",
    "application_id = split_part(fence, ' ', 1)::integer\n",
    "tests/integration/catalog/test_fences.py",
)
_mutation(
    "a table of the catalog has no fence",
    Promise.FENCED,
    FENCES,
    "CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON restore_archives EXECUTE FUNCTION check_fence();\n",
    "",
    "tests/integration/catalog/test_fences.py::test_every_table_has_a_fence_or_there_is_a_reason",
)
_mutation(
    "what is known of an application has no fence",
    Promise.FENCED,
    FENCES,
    "BEFORE UPDATE OF name, full_walk_at, scan_rules ON applications",
    "BEFORE UPDATE OF name ON applications",
    "tests/integration/catalog/test_fences.py::test_what_is_known_of_an_application_has_a_fence_or_there_is_a_reason",
)
_mutation(
    "the token does not grow when another one takes the lease",
    Promise.FENCED,
    f"{SQL}/backups.sql",
    "DO UPDATE SET token = f.token + 1, holder",
    "DO UPDATE SET holder",
    "tests/integration/test_runs_that_ended.py::test_who_lost_its_lease_changes_nothing_whatever_it_does_next",
)
_mutation(
    "a connection that is opened again has no fence",
    Promise.FENCED,
    "glacier_provider/catalog/database.py",
    "        self._shown, self._is_known = None, self.fence is None\n",
    "        self._shown, self._is_known = self.fence, True\n",
    "tests/integration/test_runs_that_ended.py::"
    "test_who_lost_its_lease_and_its_connection_changes_nothing_by_another_one",
)
_mutation(
    "two processes do the same step",
    Promise.FENCED,
    "glacier_provider/catalog/catalog.py",
    "            if not is_alone:\n",
    "            if False:\n",
    "tests/faults/test_two_at_once.py::test_a_worker_that_was_given_up_and_is_still_alive_keeps_its_successor_waiting",
)
_mutation(
    "a backup goes on after a restore changed something",
    Promise.FENCED,
    f"{SQL}/backups.sql",
    "WHERE r.application_id = b.application_id AND r.last_lease_token > b.lease_token)\nRETURNING",
    "WHERE false)\nRETURNING",
    "tests/integration/test_runs_that_ended.py::test_a_backup_does_not_go_on_after_a_restore_changed_something",
)
_mutation(
    "a restore that is over goes on bringing files",
    Promise.FENCED,
    f"{PIPELINES}/restore/download.py",
    "        yield from chunks\n        self._may_go_on()\n",
    "        yield from chunks\n",
    "tests/faults/test_sleepers.py::test_a_restore_that_is_over_brings_nothing_more",
)
_mutation(
    "the lease of a run that is over is waited for",
    Promise.WORLD,
    "glacier_provider/catalog/backups.py",
    "        if run is None or state is None:\n            return False\n",
    "        if True:\n            return False\n",
    "tests/integration/test_runs_that_ended.py::test_the_lease_of_a_run_that_is_over_is_taken_at_once",
)

# --- deletion, reconciliation, rebuild -----------------------------------------------------------------------------

_mutation(
    "what may be the last copy is deleted",
    Promise.WORLD,
    f"{CORE}/reconciliation.py",
    "    if verdict is Verdict.SURPLUS and known.lost:\n",
    "    if False:\n",
    "tests/unit/core/test_reconciliation.py",
)
_mutation(
    "what another catalog wrote is adopted or deleted",
    Promise.WORLD,
    f"{CORE}/reconciliation.py",
    "    return verdict if _is_written_here(found, known) else Verdict.STRAY\n",
    "    return verdict\n",
    "tests/unit/core/test_reconciliation.py",
)
_mutation(
    "a backup is deleted though nobody confirmed it",
    Promise.BILL,
    f"{PIPELINES}/delete.py",
    "    request.check(application.name)\n",
    "",
    "tests/unit/operators/test_delete_steps.py",
)
_mutation(
    "a file that another backup contains is deleted",
    Promise.WHOLE,
    f"{SQL}/deletions.sql",
    "(b.state IN ('complete', 'running') OR b.state = 'failed' AND",
    "(b.state IN ('running') OR b.state = 'failed' AND",
    "tests/integration/test_deletion.py::test_a_deleted_backup_takes_with_it_what_it_alone_needs",
    "tests/integration/test_deletion.py::test_a_file_of_deleted_backups_between_goes_with_the_last_of_them",
)
_mutation(
    "a file of a backup whose dump is lost, and may come back, is deleted",
    Promise.WORLD,
    f"{SQL}/deletions.sql",
    " OR b.state = 'failed' AND b.manifest_archive_id IS NOT NULL)",
    ")",
    "tests/integration/test_meanwhile.py::test_a_backup_whose_dump_comes_back_still_has_the_files_that_it_had",
)
_mutation(
    "a database is replaced though files went while its restore waited",
    Promise.WORLD,
    f"{PIPELINES}/restore/database.py",
    "        require_still_there(application, restore_id, catalog=catalog)\n",
    "",
    "tests/integration/test_meanwhile.py::test_a_restore_that_waited_while_a_person_deleted_files_brings_them",
)
_mutation(
    "a database that another restore replaced since counts as restored",
    Promise.FENCED,
    f"{SQL}/restores.sql",
    "CASE WHEN jsonb_exists(r.outcome, 'database') THEN r.last_lease_token END",
    "NULL",
    "tests/integration/test_meanwhile.py::"
    "test_a_restore_that_is_planned_again_after_another_one_restores_the_database_again",
)
_mutation(
    "the newest complete backup may go by a rule",
    Promise.BILL,
    f"{CORE}/retention.py",
    '        reasons[complete[0][0]].append("it is the newest complete backup")\n',
    "        pass\n",
    "tests/unit/core/test_retention.py::test_the_newest_complete_backup_stays_also_when_no_other_rule_keeps_it",
)
_mutation(
    "estimates leave out early deletion",
    Promise.BILL,
    f"{CORE}/cost.py",
    "    left = max(0, rules.minimum_days - max(0, age))\n",
    "    left = 0\n",
    "tests/unit/core/test_cost.py",
)
_mutation(
    "estimates leave out the temporary copy",
    Promise.BILL,
    f"{CORE}/cost.py",
    "        return self.requests + self.bytes + self.reading + self.temporary_copy + self.transfer_out\n",
    "        return self.requests + self.bytes + self.reading + self.transfer_out\n",
    "tests/unit/core/test_cost.py",
)
_mutation(
    "the bytes of a manifest are not compared with its SHA-256",
    Promise.UNTRUSTED,
    f"{PIPELINES}/rebuild.py",
    "        if manifest.description.sha256 not in (None, sha256):\n",
    "        if False:\n",
    "tests/integration/test_hostile_manifests.py::"
    "test_other_bytes_than_were_written_and_places_that_nobody_named_are_left_out",
)
_mutation(
    "a manifest sends us to any place with our credentials",
    Promise.UNTRUSTED,
    f"{PIPELINES}/rebuild.py",
    "        if place_of(uri) not in known:\n",
    "        if False:\n",
    "tests/integration/test_hostile_manifests.py::"
    "test_other_bytes_than_were_written_and_places_that_nobody_named_are_left_out",
)
_mutation(
    "a manifest may unpack without end",
    Promise.UNTRUSTED,
    f"{CORE}/told.py",
    "        if room < 0:\n",
    "        if False:\n",
    "tests/unit/core/test_told.py::test_what_unpacks_without_end_takes_little_room",
)
_mutation(
    "a backup whose chain of manifests is torn comes back as complete",
    Promise.REBUILT,
    f"{PIPELINES}/rebuild.py",
    "        self.errors |= {ids[number]: error for number, error in errors.items()}\n",
    "        errors = {}\n",
    "tests/integration/test_rebuild.py::test_backups_behind_an_unreadable_manifest_are_named_and_the_others_come_back",
)
_mutation(
    "what is not being deleted counts as deleted",
    Promise.WHOLE,
    f"{SQL}/deletions.sql",
    "     WHERE id = ANY(%(archive_ids)s) AND state = 'deleting'\n    RETURNING id)\n",
    "     WHERE id = ANY(%(archive_ids)s)\n    RETURNING id)\n",
    "tests/integration/catalog/test_backups.py::test_only_what_is_being_deleted_can_be_gone",
)
_mutation(
    "what a store refused to delete counts as deleted",
    Promise.WHOLE,
    f"{PIPELINES}/delete.py",
    "        gone = [doomed for doomed in page if doomed.id not in errors]\n",
    "        gone = list(page)\n",
    "tests/integration/test_deletion.py::test_a_denied_deletion_goes_on_when_it_is_allowed",
)
_mutation(
    "retention goes on after a sudden rewrite of everything",
    Promise.BILL,
    "glacier_provider/cli/deletion.py",
    "        refuse_after_rewrite(application, catalog=catalog, despite=arguments.despite_rewrite)\n",
    "",
    "tests/integration/test_cli_deletion.py::"
    "test_retention_deletes_nothing_after_a_sudden_rewrite_until_a_person_has_seen_it",
)

# --- proofs -------------------------------------------------------------------------------------------------------

_mutation(
    "a drill that could not look counts as one that passed",
    Promise.RESTORABLE,
    f"{CORE}/proof.py",
    "    if state is not ProofState.PASSED:\n        return Standing.FAILED\n",
    "    if state is ProofState.FOUND:\n        return Standing.FAILED\n",
    "tests/unit/core/test_proof.py::test_what_found_something_and_what_could_not_look_have_both_failed",
)
_mutation(
    "a drill has passed though its files were not looked at",
    Promise.RESTORABLE,
    f"{PIPELINES}/drill/close.py",
    '    if "files" not in figures and figures["plan"]["files_wanted"]:\n',
    "    if False:\n",
    "tests/integration/test_drill.py::test_a_drill_has_passed_when_each_of_its_steps_has_looked",
)
_mutation(
    "what a drill could not bring is as it was",
    Promise.RESTORABLE,
    f"{PIPELINES}/drill/files.py",
    '    if not row["placed"]:\n        return "could',
    '    if not row["placed"]:\n        return None\n    if False:\n        return "could',
    "tests/integration/test_drill.py::test_a_drill_whose_retrievals_are_refused_or_do_not_come_says_so",
)
_mutation(
    "a place that cannot be reached counts as cleared",
    Promise.RESTORABLE,
    f"{PIPELINES}/drill/clear.py",
    "        if not never_began:\n            raise\n",
    "        pass\n",
    "tests/integration/test_drill.py::test_a_place_that_cannot_be_cleared_is_told_and_stays_to_be_cleared",
)
_mutation(
    "the drill of a command that lives is ended by another",
    Promise.FENCED,
    f"{PIPELINES}/drill/open.py",
    "            with beside.alone(work_of_command(application)):\n                return True\n",
    "            return True\n",
    "tests/integration/test_drill.py::test_a_drill_of_a_command_is_ended_only_when_its_process_is_gone",
)
_mutation(
    "a plan that is made again goes to another place",
    Promise.FENCED,
    f"{PIPELINES}/drill/plan.py",
    "    if restore_id is not None:\n",
    "    if False:\n",
    "tests/integration/test_drill.py::test_a_plan_that_is_made_again_keeps_its_place_and_its_sample",
)
_mutation(
    "a drill is charged with its own plan",
    Promise.BILL,
    f"{SQL}/drills.sql",
    "AND kind = 'drill' AND id <> %(proof_id)s\n",
    "AND kind = 'drill' AND %(proof_id)s > -1\n",
    "tests/integration/catalog/test_drills.py",
)
_mutation(
    "a drill is charged with those of all months",
    Promise.BILL,
    f"{SQL}/drills.sql",
    "   AND began_at >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';",
    ";",
    "tests/integration/catalog/test_drills.py",
)
_mutation(
    "a smaller sample is paid for as other files",
    Promise.BILL,
    f"{SQL}/drills.sql",
    "ORDER BY md5(%(seed)s::text || ' ' || id), id) AS place",
    "ORDER BY md5(%(seed)s::text), id) AS place",
    "tests/integration/catalog/test_drills.py",
)
_mutation(
    "complaints of pg_amcheck are ignored",
    Promise.RESTORABLE,
    f"{POSTGRES}/checks/amcheck.py",
    "    if ended.status == 0:\n",
    "    if ended.status in (0, _CORRUPTION):\n",
    "tests/integration/postgres/test_amcheck.py",
)
_mutation(
    "other definitions are no difference",
    Promise.RESTORABLE,
    f"{CORE}/checks.py",
    "        elif same_spelling and digest != its_digest and",
    "        elif False and",
    "tests/unit/core/test_checks.py::test_definitions_are_compared_where_both_servers_spell_them_alike",
)
_mutation(
    "a backup is known by rows of another snapshot",
    Promise.ORDER,
    f"{POSTGRES}/checks/meanwhile.py",
    '                connection.execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot.id)}".encode())\n',
    "",
    "tests/integration/test_checks.py::"
    "test_the_tables_of_a_fingerprint_are_locked_and_have_the_rows_of_the_dump_s_snapshot",
)
_mutation(
    "what is filled in another place is not checked",
    Promise.RESTORABLE,
    f"{POSTGRES}/restore/elsewhere.py",
    "            checking.of(server, in_part=bool(failed) or found.state == _IN_PART)\n",
    "            pass\n",
    "tests/integration/test_checks.py::test_what_is_filled_in_another_place_is_checked_there",
)
_mutation(
    "a subscription fills what was restored in another place",
    Promise.RESTORABLE,
    f"{POSTGRES}/restore/elsewhere.py",
    '        if entry.desc == "SUBSCRIPTION":\n',
    "        if False:\n",
    "tests/integration/test_restore_elsewhere.py::test_a_subscription_does_not_come_and_that_is_said",
)
_mutation(
    "a safety dump that was changed is brought back",
    Promise.UNTRUSTED,
    f"{PIPELINES}/restore/safety.py",
    "    if not intact:\n",
    "    if False:\n",
    "tests/integration/test_safety_dump.py::test_each_try_keeps_a_dump_of_its_own_until_its_days_are_over",
)
_mutation(
    "a safety dump holds the catalog",
    Promise.CATALOG,
    f"{PIPELINES}/restore/safety.py",
    "        exclude_schemas=(application.catalog_schema,),\n",
    "",
    "tests/integration/test_safety_dump.py::"
    "test_a_catalog_in_the_same_database_is_in_no_such_dump_and_outlives_its_return",
)
_mutation(
    "another content heals what is lost",
    Promise.WORLD,
    f"{SQL}/lost.sql",
    "AND n.stored_size = l.stored_size AND (n.sha256 = l.sha256 OR n.checksum = l.checksum)\n",
    "AND n.stored_size = l.stored_size\n",
    "tests/integration/test_lost.py::test_another_content_of_the_same_length_heals_nothing",
)
_mutation(
    "documents of evidence need not continue each other",
    Promise.UNTRUSTED,
    f"{CORE}/evidence.py",
    "told.previous_sha256 != before[1]:",
    "False:",
    "tests/unit/core/test_evidence.py::test_one_that_is_altered_is_noticed_without_any_catalog",
)
_mutation(
    "what the catalog has altered is written as evidence",
    Promise.UNTRUSTED,
    f"{PIPELINES}/evidence.py",
    '        if row["number"] not in wanted or sha256_of(data) != row["sha256"]:\n',
    '        if row["number"] not in wanted:\n',
    "tests/integration/test_evidence.py::test_what_is_missing_and_altered_in_the_catalog_is_not_written_as_evidence",
)
_mutation(
    "content of which no checksum was asked for is verified",
    Promise.COMPLETE,
    f"{PIPELINES}/verify/close.py",
    '.get("pending", 1):',
    '.get("pending", 0):',
    "tests/integration/test_verified_content.py::test_a_verification_that_asked_for_no_checksum_has_not_passed",
)
_mutation(
    "a report that tells two things of an archive proves the better one",
    Promise.UNTRUSTED,
    f"{SQL}/batch.sql",
    "GROUP BY a.id HAVING bool_and(t.status",
    "GROUP BY a.id HAVING bool_or(t.status",
    "tests/integration/catalog/test_batch.py",
)
_mutation(
    "a lock that ends too early counts as one",
    Promise.WORLD,
    f"{PIPELINES}/verify/listing.py",
    "        return until is not None and until >= wanted\n",
    "        return until is not None\n",
    "tests/integration/test_verification.py::test_archives_without_the_lock_that_was_asked_for_are_named",
)
_mutation(
    "a restore brings files to a place that another one has taken over",
    Promise.FENCED,
    f"{PIPELINES}/restore/elsewhere.py",
    "    if mark != place.mark:\n        raise LeaseLost(",
    "    if False:\n        raise LeaseLost(",
    "tests/integration/test_restore_elsewhere.py::test_a_restore_whose_place_was_taken_over_does_nothing_more",
)
_mutation(
    "a policy of rows is known by its name alone",
    Promise.RESTORABLE,
    f"{POSTGRES}/checks/fingerprint.py",
    "p.polcmd::text || p.polpermissive::text,",
    "''::text,",
    "tests/integration/postgres/test_fingerprint.py::test_what_has_its_name_and_another_definition_is_told",
)

# --- alerts and monitoring -----------------------------------------------------------------------------------------

_mutation(
    "a proof that never passed is not overdue",
    Promise.HEARD,
    f"{CORE}/condition.py",
    "(age is None or age > limit)",
    "(age is not None and age > limit)",
    "tests/unit/core/test_condition.py::test_nor_is_a_drill",
)
_mutation(
    "that there is no complete backup is judged by its age",
    Promise.HEARD,
    f"{CORE}/condition.py",
    "grade = Grade.CRITICAL if age is None else limits.grade(age)",
    "grade = limits.grade(age)",
    "tests/unit/core/test_condition.py::test_that_there_is_nothing_to_bring_back_is_critical_whatever_the_limits_are",
)
_mutation(
    "that more is lost by now is no news",
    Promise.HEARD,
    f"{CORE}/condition.py",
    "            str(condition.lost),\n",
    '            "lost",\n',
    "tests/unit/core/test_condition.py::test_who_was_told_is_told_again_of_what_is_news_and_of_nothing_else",
)
_mutation(
    "what each backup lacks is told each day",
    Promise.HEARD,
    f"{CORE}/condition.py",
    'f"glacier-backup show {condition.complete_id}", sentence)',
    'f"glacier-backup show {condition.complete_id}", f"{condition.complete_id} {sentence}")',
    "tests/unit/core/test_condition.py::test_who_was_told_is_told_again_of_what_is_news_and_of_nothing_else",
)
_mutation(
    "a backup under way hides that the last one is old",
    Promise.HEARD,
    f"{CORE}/condition.py",
    "    if grade is Grade.OK:\n        return\n    under_way",
    "    if grade is Grade.OK or condition.running_id:\n        return\n    under_way",
    "tests/unit/core/test_condition.py::test_a_backup_that_is_under_way_is_no_excuse_for_the_last_one",
)
_mutation(
    "a restore that fails again is no news",
    Promise.HEARD,
    f"{CORE}/alert.py",
    'f"{one.id} {one.at.isoformat()}"',
    "str(one.id)",
    "tests/unit/core/test_alert.py::test_what_happened_is_news_once",
)
_mutation(
    "a backup that is dated in the future is there for a year",
    Promise.HEARD,
    f"{PIPELINES}/alerts.py",
    "    if is_to_come(condition.complete_at, now):\n",
    "    if False:\n",
    "tests/integration/test_alerts.py::test_a_backup_is_there_when_one_began_since_it_was_due",
)
_mutation(
    "a drill that is dated in the future has passed",
    Promise.HEARD,
    "glacier_provider/applications/schedule.py",
    "for kind, at in passed.items() if not is_to_come(at, now)}",
    "for kind, at in passed.items()}",
    "tests/unit/applications/test_schedule.py::test_a_proof_is_missed_that_was_due_since_the_last_one",
)
_mutation(
    "who could not be told of a catalog that is away is never told",
    Promise.HEARD,
    f"{PIPELINES}/alerts.py",
    "        yield failure_of(target, alert, why)\n        return\n    for state",
    "        yield failure_of(target, alert, why)\n    for state",
    "tests/integration/test_alerts.py::"
    "test_who_could_not_be_told_of_a_catalog_that_is_away_is_told_as_soon_as_that_can_be",
)
_mutation(
    "an alert that did not arrive is noted as told",
    Promise.HEARD,
    f"{SQL}/alerts.sql",
    "CASE WHEN %(error)s::text IS NULL THEN clock_timestamp() END",
    "clock_timestamp()",
    "tests/integration/catalog/test_alerts.py",
)
_mutation(
    "an alert that did not arrive is tried ever more seldom",
    Promise.HEARD,
    f"{SQL}/alerts.sql",
    "least(5 * a.tries, 60)",
    "5 * a.tries",
    "tests/integration/catalog/test_alerts.py",
)
_mutation(
    "what comes back in another state is not told again",
    Promise.HEARD,
    f"{SQL}/alerts.sql",
    "WHERE n.event = a.event AND n.state = a.state)",
    "WHERE n.event = a.event)",
    "tests/integration/catalog/test_alerts.py",
)
_mutation(
    "a drill under way hides what the last one found",
    Promise.HEARD,
    f"{SQL}/conditions.sql",
    "AND o.state <> 'running' ORDER BY",
    "ORDER BY",
    "tests/integration/catalog/test_conditions.py",
)
_mutation(
    "a dump that is lost calls nobody",
    Promise.HEARD,
    f"{SQL}/conditions.sql",
    "\n                OR EXISTS (SELECT FROM application_data_backups d\n"
    "                            WHERE d.database_archive_id = a.id AND d.state NOT IN ('deleting', 'deleted'))))",
    "))",
    "tests/integration/catalog/test_conditions.py::test_lost_is_what_a_backup_needs",
)
_mutation(
    "a restore that is to be approved waits without a word",
    Promise.HEARD,
    f"{SQL}/conditions.sql",
    "AND ((r.plan->>'over_budget')::boolean OR (r.request->>'approve')::boolean)",
    "AND (r.plan->>'over_budget')::boolean",
    "tests/integration/catalog/test_conditions.py::test_a_restore_is_told_that_waits_for_a_person_or_ended_lately",
)
_mutation(
    "a chat that took nothing was told",
    Promise.HEARD,
    "glacier_provider/hooks/alerts.py",
    '        raise NotTold(f"{target.name} did not take it.", hint="Apprise logged why just before; see its URL.")\n'
    "\n\ndef _by_notifier",
    "        pass\n\n\ndef _by_notifier",
    "tests/integration/test_alerts.py::test_a_chat_shows_how_bad_it_is_or_the_alert_has_not_arrived",
)
_mutation(
    "the DAG that calls people begins paused",
    Promise.HEARD,
    "dags/glacier_alerts.py",
    "        is_paused_upon_creation=False,\n",
    "",
    "tests/unit/test_dags.py::test_who_names_nobody_to_call_has_no_dag_for_it",
)
_mutation(
    "a ping that is answered drop by drop holds up a backup",
    Promise.HEARD,
    "glacier_provider/hooks/ping.py",
    "in_time(lambda: _post(application, what, run, body), PING_SECONDS)",
    "_post(application, what, run, body)",
    "tests/unit/hooks/test_ping.py::test_so_is_one_that_is_answered_drop_by_drop",
)
_mutation(
    "a monitor hears nothing of a backup whose run was over before it",
    Promise.HEARD,
    "glacier_provider/operators/base.py",
    'if any(one.startswith("backup ") for one in ended):',
    "if False:",
    "tests/unit/operators/test_record_failure.py::"
    "test_a_monitor_hears_of_a_backup_whose_run_was_over_before_it_and_no_task_told_why",
)
_mutation(
    "check ends well whatever it says",
    Promise.HEARD,
    "glacier_provider/cli/check.py",
    "    return int(grade)\n",
    "    return 0\n",
    "tests/integration/test_cli_check.py::test_of_many_applications_those_are_named_that_are_not_well",
    "tests/integration/test_cli_check.py::test_the_worst_of_several_applications_comes_first",
)
_mutation(
    "a drill that found something is a figure of one that passed",
    Promise.HEARD,
    f"{CORE}/metrics.py",
    "float(proven.state is ProofState.PASSED)",
    "float(proven.state is not ProofState.FAILED)",
    "tests/unit/core/test_metrics.py::test_each_figure_of_each_application_is_told_as_it_is",
)
_mutation(
    "a catalog that is away leaves the figures of yesterday",
    Promise.HEARD,
    "glacier_provider/cli/metrics.py",
    "            _write(Path(arguments.output), metrics_text([], catalogs={_CATALOG: False}, now=now, wrong=wrong))\n",
    "            pass\n",
    "tests/integration/test_metrics.py::test_the_collectors_file_is_whole_at_any_instant_and_readable",
)
_mutation(
    "the doctor takes a store that is down for one that allows everything",
    Promise.HEARD,
    f"{STORES}/s3/examine.py",
    "        if http_status(error) != 404:\n",
    "        if False:\n",
    "tests/integration/test_doctor.py::test_what_could_not_be_looked_at_is_said_and_taken_for_neither_well_nor_wrong",
)
_mutation(
    "an Airflow whose triggerer a waiting task ends is taken",
    Promise.HEARD,
    "glacier_provider/operators/__init__.py",
    "\n\nrequire_airflow(_AIRFLOW)\n",
    "\n",
    "tests/unit/operators/test_airflow_version.py::test_that_is_said_before_anything_else_of_it_is_imported",
)

# --- restores at scale ---------------------------------------------------------------------------------------------

_mutation(
    "a process names files before their contents are on the disk",
    Promise.WHOLE,
    f"{STORES}/s3/fast/fetch.py",
    "        self._to_disk.put(self._group)\n",
    "        self._on_disk.put(self._group)\n",
    "tests/unit/stores/s3/fast/test_fetch_in_groups.py::test_contents_are_durable_before_their_names_"
    "and_names_before_they_are_told",
)
_mutation(
    "a process tells of files before their names are on the disk",
    Promise.CRASH,
    f"{STORES}/s3/fast/fetch.py",
    "        if group.named:\n            self._to_disk.put(group)\n",
    "        if group.named:\n            self._on_disk.put(group)\n",
    "tests/unit/stores/s3/fast/test_fetch_in_groups.py::test_contents_are_durable_before_their_names_"
    "and_names_before_they_are_told",
)
_mutation(
    "what the disk did not take keeps its name",
    Promise.WHOLE,
    f"{STORES}/s3/fast/fetch.py",
    "                self._place.take_back(file)\n",
    "",
    "tests/unit/stores/s3/fast/test_fetch_in_groups.py::test_what_the_disk_does_not_take_has_no_name_"
    "and_what_has_none_gets_none",
)
_mutation(
    "a process holds any number of files that wait for the disk",
    Promise.CHANGES,
    f"{STORES}/s3/fast/fetch.py",
    "return self._under_way < _GROUPS and super()._may_start()",
    "return super()._may_start()",
    "tests/unit/stores/s3/fast/test_fetch_in_groups.py::test_no_more_files_are_open_than_a_process_may_have",
)
_mutation(
    "processes ask for a day whatever the plan says",
    Promise.BILL,
    f"{STORES}/s3/store.py",
    "wish = _WISH.format(days=days, tier=tier)",
    "wish = _WISH.format(days=1, tier=tier)",
    "tests/integration/test_wishes.py::test_archives_are_asked_for_by_the_tier_and_for_the_days_of_the_plan",
)
_mutation(
    "a job asks by Standard whatever the plan says",
    Promise.BILL,
    f"{PIPELINES}/restore/batch.py",
    '"GlacierJobTier": job["variant"].upper()',
    '"GlacierJobTier": "STANDARD"',
    "tests/integration/test_wishes.py::test_archives_are_asked_for_by_the_tier_and_for_the_days_of_the_plan",
)
_mutation(
    "a job that AWS does not know is waited for for ever",
    Promise.RETRIEVED,
    f"{PIPELINES}/restore/batch.py",
    "_give_up(job, f\"AWS does not know the job {job['job_id']} any more.\", catalog)",
    "pass",
    "tests/integration/test_wishes.py::test_a_job_that_aws_does_not_know_any_more_is_not_waited_for",
)
_mutation(
    "a job asks for archives of another store",
    Promise.BILL,
    f"{SQL}/batch.sql",
    " AND m.stored_size > 0\n   AND m.store_uri = %(store_uri)s\n",
    " AND m.stored_size > 0\n",
    "tests/integration/catalog/test_jobs_of_restores.py::test_a_job_is_to_ask_for_what_only_the_cold_of_its_store_has",
)
_mutation(
    "a process that dies leaves intents that no job asks for",
    Promise.CRASH,
    "glacier_provider/catalog/batch.py",
    '        with self._db.transaction():\n            count = self._db.run("intend_by_job"',
    '        if True:\n            count = self._db.run("intend_by_job"',
    "tests/integration/catalog/test_jobs_of_restores.py::test_a_process_that_dies_at_any_statement_ha"
    "s_done_all_of_a_step_or_nothing",
)
_mutation(
    "what was under way when a job came is paid for again",
    Promise.RETRIEVED,
    f"{SQL}/batch.sql",
    "(t.status < 300 OR t.code = 'RestoreAlreadyInProgress')",
    "(t.status < 300)",
    "tests/integration/catalog/test_jobs_of_restores.py::test_a_report_tells_what_failed_and_what_was"
    "_asked_for_already_did_not",
)
_mutation(
    "a job that is given up takes files from their places",
    Promise.PRESENT,
    f"{SQL}/batch.sql",
    " WHERE a.id = missed.archive_id AND a.retrieval_status IN ('available', 'pending');\n\n-- name: release_untold",
    " WHERE a.id = missed.archive_id;\n\n-- name: release_untold",
    "tests/integration/catalog/test_jobs_of_restores.py::test_a_job_that_missed_archives_takes_nothin"
    "g_from_its_place_and_no_offer",
)
_mutation(
    "a restore goes on with the jobs of verifications",
    Promise.RETRIEVED,
    f"{SQL}/batch.sql",
    " AND NOT j.cleared AND j.operation = 'S3InitiateRestoreObject'\n",
    " AND NOT j.cleared\n",
    "tests/integration/catalog/test_jobs_of_restores.py::test_the_jobs_of_others_and_of_verifications"
    "_ask_for_nothing_of_a_restore",
)
_mutation(
    "a retrieval that failed takes a file from its place",
    Promise.PRESENT,
    f"{SQL}/restores.sql",
    "       retrieval_status = CASE a.retrieval_status WHEN 'exists' THEN 'exists' ELSE 'available' END\n",
    "       retrieval_status = 'available'\n",
    "tests/integration/catalog/test_retrieval_states.py::test_a_file_that_is_in_its_place_stays_there"
    "_whatever_becomes_of_its_retrieval",
)
_mutation(
    "offers of every restore are paid for again",
    Promise.BILL,
    f"{SQL}/restores.sql",
    "       AND (%(restore_id)s::bigint IS NULL\n            OR EXISTS (",
    "       AND (true OR %(restore_id)s::bigint IS NULL\n            OR EXISTS (",
    "tests/integration/catalog/test_retrieval_states.py::test_offers_that_end_are_renewed_for_the_res"
    "tore_that_waits_and_for_no_other",
)
_mutation(
    "an offer that ends while others are awaited is not renewed",
    Promise.RETRIEVED,
    f"{PIPELINES}/restore/wait.py",
    "margin = RENEWAL_MARGIN_SECONDS if pending else 0.0",
    "margin = 0.0",
    "tests/integration/test_offers.py::test_an_offer_that_ends_soon_is_asked_for_again_while_others_are_awaited",
)
_mutation(
    "what is lost again and again is paid for for ever",
    Promise.BILL,
    f"{PIPELINES}/restore/wait.py",
    "    failed += len(catalog.restores.often_lost(restore_id, times=MOST_RENEWALS))\n",
    "",
    "tests/integration/test_offers.py::test_what_is_lost_again_and_again_ends_the_wait_and_is_named",
)
_mutation(
    "an archive as large as small ones may be is never brought",
    Promise.WHOLE,
    f"{PIPELINES}/restore/download.py",
    'for row in careful if row["stored_size"] <= SMALL)',
    'for row in careful if row["stored_size"] < SMALL)',
    "tests/integration/test_offers.py::test_archives_of_any_size_come_wherever_small_ones_end",
)
_mutation(
    "processes ask by the plan's tier for what was meant by another",
    Promise.BILL,
    f"{PIPELINES}/restore/request.py",
    "not intent.confirmed and (intent.tier, intent.days) == (self.tier, self.days)",
    "not intent.confirmed",
    "tests/integration/test_offers.py::test_what_nobody_knows_to_be_sent_is_asked_for_by_the_tier_that_was_meant",
)
_mutation(
    "a leave to go on is of when it was given",
    Promise.FENCED,
    f"{STORES}/s3/fast/pool.py",
    "        now = clock()\n        self._work.may_go_on()\n        return now\n",
    "        self._work.may_go_on()\n        return clock()\n",
    "tests/unit/stores/s3/fast/test_pool.py::test_a_leave_is_of_the_moment_before_it_was_asked_for",
)
_mutation(
    "a signed request follows where an answer leads",
    Promise.UNTRUSTED,
    f"{STORES}/s3/fast/sender.py",
    "pycurl.FOLLOWLOCATION, 0",
    "pycurl.FOLLOWLOCATION, 1",
    "tests/unit/stores/s3/fast/test_sender.py::test_what_leads_elsewhere_is_no_answer_that_is_followed",
)
_mutation(
    "processes find no place for files once another task has tidied up",
    Promise.CHANGES,
    "glacier_provider/files/temporary.py",
    "if not isinstance(exc, FileNotFoundError) and os.fstat(self._fd).st_nlink > 0:",
    "if not isinstance(exc, FileNotFoundError):",
    "tests/unit/files/test_temporary.py::test_a_directory_that_another_process_removed_is_made_again",
)
_mutation(
    "the names of a group are not synchronised",
    Promise.CRASH,
    "glacier_provider/files/together.py",
    "                list(threads.map(self._sync_directory, {file.parts[:-1] for file in named}))\n",
    "",
    "tests/unit/files/test_together.py::test_where_each_is_synchronised_by_itself_contents_directories_and_names_are",
)
_mutation(
    "what somebody else has put under a name is taken back",
    Promise.WHOLE,
    "glacier_provider/files/together.py",
    "        if file.named:\n",
    "        if True:\n",
    "tests/unit/files/test_together.py::test_what_had_no_name_yet_is_taken_back_and_what_somebody_else_has_stays",
)
_mutation(
    "a call that could not synchronise a file system is believed",
    Promise.CRASH,
    "glacier_provider/files/together.py",
    "    if function(fd) != 0:\n",
    "    if False:\n",
    "tests/unit/files/test_together.py::test_one_call_says_when_it_fails",
)
_mutation(
    "figures of a dropped look are put together with new ones",
    Promise.CHANGES,
    "glacier_provider/catalog/progress.py",
    '            if database.rows("still_looked_at", restore_id=restore_id):\n',
    "            if True:\n",
    "tests/integration/catalog/test_progress_kept.py::test_figures_of_a_look_that_was_dropped_are_not_put_together",
)
_mutation(
    "how far a restore is goes on from figures of another store",
    Promise.WORLD,
    "glacier_provider/catalog/migrations/versions/0018_progress.sql",
    "n.stored_size IS DISTINCT FROM o.stored_size OR n.store_uri <> o.store_uri AS unlike",
    "n.stored_size IS DISTINCT FROM o.stored_size AS unlike",
    "tests/integration/catalog/test_progress_kept.py::test_whatever_somebody_changes_by_hand_is_counted_anew",
)
_mutation(
    "a job asks for what is known to be missing before that is known",
    Promise.BILL,
    "glacier_provider/pipelines/restore/request.py",
    '            if plan.get("by_batch"):\n',
    "            if False:\n",
    "tests/integration/test_restored_by_batch.py::test_one_job_asks_for_all_and_the_rest_is_as_ever",
)
_mutation(
    "a database is restored without the files that come with it",
    Promise.WHOLE,
    "glacier_provider/pipelines/restore/database.py",
    "        require_brought(restore_id, catalog=catalog)\n",
    "",
    "tests/integration/test_restore_again.py::test_a_database_is_not_restored_without_the_files_that_come_with_it",
)
_mutation(
    "a restore that is over notes as missing what others put in its place",
    Promise.FENCED,
    "glacier_provider/catalog/restores.py",
    "            self.require_going_on(restore_id)\n            self._db.row",
    "            self._db.row",
    "tests/integration/catalog/test_restore_plans.py::test_a_restore_that_is_over_notes_nothing_more_as_missing",
)
_mutation(
    "a job is paid for by a tier that knows none",
    Promise.BILL,
    f"{CORE}/plan.py",
    "tier: cost + TierCost(requests=fee) if tier in known else cost",
    "tier: cost + TierCost(requests=fee)",
    "tests/unit/core/test_plan.py::test_by_the_quickest_tier_each_is_asked_for_by_itself_and_no_job_is_paid",
)

_mutation(
    "what is cleared after one job is that of all jobs",
    Promise.WORLD,
    f"{STORES}/s3/batch.py",
    ".strip('/')}/{token}/\"",
    ".strip('/')}/\"",
    "tests/contract/test_batch_operations.py::test_of_one_job_alone_all_is_cleared_and_what_may_not_be_is_told",
)
_mutation(
    "a job that is asked for again is another one",
    Promise.BILL,
    f"{STORES}/s3/batch.py",
    '"ClientRequestToken": token,',
    '"ClientRequestToken": str(uuid.uuid4()),',
    "tests/contract/test_batch_operations.py::test_the_same_token_is_the_same_job_also_when_aws_takes_the_request_for_another_one",
)
_mutation(
    "a job that AWS has already is looked for among the newest alone",
    Promise.BILL,
    f"{STORES}/s3/batch.py",
    '            if not page.get("NextToken"):\n                return None\n',
    "            return None\n",
    "tests/contract/test_batch_operations.py::test_a_job_is_found_by_its_token_on_whatever_page_it_is",
)
_mutation(
    "a job that a person cancelled is waited for",
    Promise.RETRIEVED,
    f"{STORES}/s3/batch.py",
    '_ENDED = ("Complete", "Failed", "Cancelled")',
    '_ENDED = ("Complete", "Failed")',
    "tests/contract/test_batch_operations.py::test_why_a_job_ended_is_told_in_the_words_of_aws",
)
_mutation(
    "the last objects are left out of a manifest",
    Promise.WHOLE,
    f"{STORES}/s3/batch.py",
    '    if held:\n        yield b"".join(held)\n\n\ndef _why',
    "\n\ndef _why",
    "tests/contract/test_batch_operations.py::test_a_manifest_names_each_object_as_s3_reads_it_encrypted_by_its_own_keys",
)
_mutation(
    "a part of a manifest that is refused leaves an upload that is billed",
    Promise.BILL,
    f"{STORES}/s3/batch.py",
    "                undo.callback(bucket.client.abort_multipart_upload, **address, UploadId=upload)\n",
    "",
    "tests/contract/test_batch_operations.py::test_a_part_that_is_refused_leaves_no_upload_that_is_billed",
)
_mutation(
    "a download of which something comes ends as if nothing came",
    Promise.WHOLE,
    f"{PIPELINES}/restore/download.py",
    "            failures.succeeded()\n",
    "",
    "tests/integration/test_restore_again.py::test_what_fails_among_what_comes_does_not_end_a_download_as_if_nothing_came",
)
_mutation(
    "what processes place is remembered by time and inode confused",
    Promise.CHANGES,
    f"{PIPELINES}/restore/download.py",
    'mtime_ns, inode = row["identity"]',
    'inode, mtime_ns = row["identity"]',
    "tests/integration/test_restore_again.py::test_what_processes_brought_is_known_by_its_time_and_inode_and_not_read_again",
)
_mutation(
    "a large file gets its name before it is durable",
    Promise.CRASH,
    f"{PIPELINES}/restore/download.py",
    "        pending.make_durable()\n        may_go_on()\n",
    "        may_go_on()\n",
    "tests/integration/test_large_restore.py::test_a_large_file_is_durable_and_its_restore_asked_for_before_it_gets_its_name",
)
_mutation(
    "a restore that is over names a large file",
    Promise.FENCED,
    f"{PIPELINES}/restore/download.py",
    "        pending.make_durable()\n        may_go_on()\n",
    "        pending.make_durable()\n",
    "tests/integration/test_large_restore.py::test_a_large_file_is_durable_and_its_restore_asked_for_before_it_gets_its_name",
)
_mutation(
    "a misspelt param of an undoing is passed over",
    Promise.BILL,
    "glacier_provider/operators/selective_pg_restore.py",
    "            refuse_unknown_params(context, self.params_known)\n",
    "",
    "tests/integration/airflow/test_undone.py::test_the_database_that_a_restore_replaced_is_brought_back",
)
_mutation(
    "a secrets back end that is away is a connection that there is not",
    Promise.WORLD,
    "glacier_provider/hooks/connections.py",
    "    if silent is not None:\n",
    "    if False:\n",
    "tests/unit/hooks/test_connections.py::test_a_secrets_back_end_that_is_away_costs_a_try_and_not_the_backup",
)
_mutation(
    "a day whose backup was deleted since is one on which it failed",
    Promise.WORLD,
    f"{SQL}/pages.sql",
    "WHEN 'failed' THEN 4 ELSE 3 END",
    "ELSE 4 END",
    "tests/integration/ui/test_api.py::test_a_day_whose_backup_was_deleted_since_is_no_day_on_which_it_failed",
)
_mutation(
    "a verification of all passes while an entry is wrong",
    Promise.HEARD,
    "glacier_provider/cli/verify.py",
    "    if unproven or wrong:\n",
    "    if unproven:\n",
    "tests/unit/cli/test_wrong_entries.py::test_a_verification_of_all_has_not_passed_while_an_entry_is_wrong",
)

# --- the page ------------------------------------------------------------------------------------------------------

_mutation(
    "the page shows an application to who may not see it",
    Promise.SECRETS,
    "glacier_provider/ui/web.py",
    '    if not rights.allowed("GET", [views.backup_dag_of(application)]):\n',
    "    if False:\n",
    "tests/integration/ui/test_api.py::test_who_may_not_read_the_runs_sees_nothing_of_the_application",
)
_mutation(
    "the page deletes a backup for who may not start deletions",
    Promise.BILL,
    "glacier_provider/ui/web.py",
    '    dag = views.delete_dag_of(application.name)\n    if not rights.allowed("POST", [dag]):\n',
    "    dag = views.delete_dag_of(application.name)\n    if False:\n",
    "tests/integration/ui/test_money_and_deletion.py::test_who_may_not_start_deletions_deletes_nothing",
)
_mutation(
    "the page deletes a backup without the words that confirm it",
    Promise.BILL,
    "glacier_provider/ui/web.py",
    "    if wanted.confirm.strip() != plan.confirm:\n",
    "    if False:\n",
    "tests/integration/ui/test_money_and_deletion.py::test_a_deletion_has_to_be_confirmed_by_typing",
)

MUTATIONS = tuple(_table)
