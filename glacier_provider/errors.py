"""The one error family of the package.

::

    GlacierProviderError
    ├── ConfigurationError        applications.yaml, a connection, a store URI: mend the configuration
    │   ├── UnsafeCatalogSchema   the catalog schema is one the application uses itself
    │   └── ConnectionAway        what keeps an Airflow connection does not answer (retry may help)
    ├── ToolError                 PostgreSQL client tools
    │   ├── ToolMissing           no pg_dump or pg_restore found
    │   ├── ToolTooOld            the client is older than the server
    │   ├── ToolFailed            a tool ended with an error
    │   └── ToolKilled            a tool was ended from outside (retry may help)
    ├── DatabaseError             a PostgreSQL server
    │   ├── DatabaseUnreachable   no connection (retry may help)
    │   ├── DatabaseBusy          another session holds a lock or changed the schema (retry may help)
    │   └── DatabaseRefused       wrong password, unknown database, missing privilege
    ├── DumpError                 the dump itself
    │   ├── DumpInvalid           cut, empty or damaged: never becomes an archive
    │   └── UnsupportedDump       a format this version cannot edit
    ├── RestoreError
    │   ├── SelectionConflict     restored and excluded objects depend on each other
    │   ├── MissingRoles          owners that the target cluster does not have
    │   ├── MissingExtensions     extensions that the target server cannot create
    │   ├── MissingTablespaces    tablespaces that the target server does not have
    │   ├── TargetRefused         the place that a restore is to go into is somebody's
    │   ├── ChecksFailed          what was restored is not what was dumped, and took no database's place
    │   ├── RestoredInPart        statements failed, and the database beside waits for a person
    │   └── RestoreFailed         the database was left as it was
    ├── FileError                 attached files and staging
    │   ├── DirectoryUnusable     missing, unreadable or unwritable
    │   ├── FileUnreadable        a file that this worker may not read, or too many that cannot be read
    │   ├── ReadFailed            an I/O error or a stale handle (retry may help)
    │   ├── OutOfSpace            a disk is full, or would be
    │   ├── FileChanged           a file changed while it was read (retry may help)
    │   ├── FileMissing           a file is not there, or no longer
    │   ├── NameTaken             another file or database has the name, and is not overwritten
    │   └── UnsafePath            a name that leads out of its root
    ├── StoreError                an archive store
    │   ├── StoreUnavailable      throttled, timed out, 5xx (retry may help)
    │   │   └── OutcomeUnknown    a write whose reply was lost: it may have taken effect (retry may help)
    │   ├── StoreDenied           credentials or policy
    │   ├── StoreUntrusted        its certificate cannot be verified
    │   ├── StoreMissing          no such bucket or vault
    │   ├── ArchiveMissing        no such archive
    │   ├── ArchiveCold           the archive must be retrieved first
    │   ├── ArchiveCorrupt        bytes differ from their checksum (retry may help)
    │   │   └── ContentDiffers    all of them came, and are not what was written (retry may help)
    │   ├── KeyTaken              a write-once key holds something else
    │   │   └── OtherContent      what the same file held earlier
    │   ├── RequestRejected       a parameter of a request is wrong
    │   ├── NotInVault            a vault does not know an archive, an upload or a job
    │   ├── RetrievalRefused      tier, capacity or policy
    │   └── RetrievalFailed       the store ended a retrieval without success
    ├── ProofFailed               a verification or drill found something, or could not look
    ├── NotTold                   an alert or a ping did not arrive (retry may help)
    └── CatalogError
        ├── CatalogUnavailable    no connection (retry may help)
        ├── CatalogNotReady       schema missing or newer than this package
        ├── IllegalMove           a state change that the lifecycle does not allow
        ├── LeaseHeld             another run works on the application (retry may help)
        │   └── LeaseLost         another run took the lease from this one
        ├── UnknownBackup         no such backup id
        ├── BackupNotRestorable   failed, running, deleted, or of another application
        ├── BackupNotDeletable    running, needed, or of another application
        └── RebuiltInPart         a rebuilt catalog names what no store has

Every class says whether a retry can help (`retryable`) and gives, in `hint`, what to do next. The text of an
error is ``what happened. what to do next``; it never carries a secret.
"""

from __future__ import annotations

from collections.abc import Mapping


class GlacierProviderError(Exception):
    """Something went wrong."""

    retryable: bool = False
    hint: str = ""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        if hint is not None:
            self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(cls: type[GlacierProviderError], message: str, hint: str) -> GlacierProviderError:
    return cls(message, hint=hint)


class ConfigurationError(GlacierProviderError):
    """The configuration is not valid."""

    hint = "Correct the configuration; nothing was changed."


class UnsafeCatalogSchema(ConfigurationError):
    """The catalog schema also holds objects of the application."""

    hint = "Give the catalog a schema of its own: set catalog_schema in applications.yaml."


class ConnectionAway(ConfigurationError):
    """What keeps Airflow's connections does not answer."""

    retryable = True
    hint = "See to Airflow's API server and database, and to its secrets back end; a task tries again."


class ToolError(GlacierProviderError):
    """A PostgreSQL client tool could not do its work."""


class ToolMissing(ToolError):
    """A PostgreSQL client tool was not found."""

    hint = "Install the PostgreSQL client package on this worker, or set pg_bin_directory in applications.yaml."


class ToolTooOld(ToolError):
    """The PostgreSQL client is older than the server."""

    hint = "Install client tools of the server's major version or newer, or point pg_bin_directory at them."


class ToolFailed(ToolError):
    """A PostgreSQL client tool ended with an error."""

    hint = "See its messages in the task log."


class ToolKilled(ToolError):
    """A PostgreSQL client tool was ended from outside."""

    retryable = True
    hint = "Look for a lack of memory on this worker, or for who ended the task; it is tried again."


class DatabaseError(GlacierProviderError):
    """The database answered with an error."""

    hint = "See the task log and the log of the database server; after mending the cause, clear this task."


class DatabaseUnreachable(DatabaseError):
    """No connection to the database."""

    retryable = True
    hint = "Check that the server runs and that host and port of the connection are right."


class DatabaseBusy(DatabaseError):
    """Another session of the database is in the way."""

    retryable = True
    hint = "It is tried again; if it lasts, end the other session or raise lock_timeout_seconds."


class DatabaseRefused(DatabaseError):
    """The database refused the connection or the operation."""

    hint = "Check user, password, database and privileges of the connection."


class DumpError(GlacierProviderError):
    """The dump cannot be used."""


class DumpInvalid(DumpError):
    """The dump is cut, empty or damaged."""

    hint = "It was not archived; run the backup again and look at the messages of pg_dump."


class UnsupportedDump(DumpError):
    """The dump has a format that cannot be read."""

    hint = "Upgrade glacier_provider, or restore the dump with pg_restore by hand."


class RestoreError(GlacierProviderError):
    """The restore cannot go on."""


class SelectionConflict(RestoreError):
    """Restored and excluded objects depend on each other."""

    hint = "Nothing was changed. Restore both sides or exclude both sides."


class MissingRoles(RestoreError):
    """The target cluster does not have roles that own objects of the dump."""

    hint = "Nothing was changed. Create the roles, or set restore.owner to drop in applications.yaml."


class MissingExtensions(RestoreError):
    """The target server does not have extensions that the dump needs."""

    hint = "Nothing was changed. Install the packages of these extensions on the database server."


class MissingTablespaces(RestoreError):
    """The target server does not have tablespaces that the dump names."""

    hint = "Nothing was changed. Create them on the server, or restore with restore: {tablespaces: drop}."


class TargetRefused(RestoreError):
    """The place that a restore is to go into is not one to restore into: an application's own, or somebody else's."""

    hint = "Nothing was changed. Choose another database or directory."


class ChecksFailed(RestoreError):
    """What was restored is not what was dumped."""

    hint = (
        "The database is as it was. To restore all the same, leave the check that failed out of restore.checks, or set "
        "restore.checks to [], then clear this task."
    )
    #: Each check: its name, how many things were compared, how many differ, the first of them.
    results: tuple[Mapping[str, object], ...] = ()


class RestoredInPart(RestoreError):
    """Statements of the dump failed; everything else is restored beside, and a person decides."""

    hint = (
        "Look at the restored database. To take it as it is: glacier-backup accept-errors ID (of the restore), then "
        "clear the task restore_database."
    )
    #: Each statement: its object, what the server said, the SQL.
    failed: tuple[Mapping[str, str], ...] = ()


class RestoreFailed(RestoreError):
    """The database could not be restored and was left as it was."""

    hint = "See the messages in the task log; after mending the cause, clear this task."


class FileError(GlacierProviderError):
    """A file could not be read or written."""


class DirectoryUnusable(FileError):
    """A directory is missing, unreadable or unwritable."""

    hint = "Check that the worker mounts the directory and may use it."


class FileUnreadable(FileError):
    """A file cannot be read by this worker."""

    hint = "Let the worker's user read it, or leave it out with exclude in applications.yaml."


class ReadFailed(FileError):
    """The disk or file server did not give what was to be read."""

    retryable = True
    hint = "It is tried again; if it lasts, look at the disk, or mount the file system anew."


class OutOfSpace(FileError):
    """There is not enough free space."""

    hint = "Free some space or choose another directory, then clear the task."


class FileChanged(FileError):
    """A file changed while it was read."""

    retryable = True
    hint = "Attached files must not change once written; the next run tries again."


class FileMissing(FileError):
    """A file is not there, or no longer."""

    hint = "It was deleted or moved meanwhile; the next run takes note of it."


class NameTaken(FileError):
    """Another file already has this name."""

    hint = "Nothing was overwritten. Compare the two files, move one of them away and clear the task."


class UnsafePath(FileError):
    """A name leads out of its root directory."""

    hint = "The name was refused and nothing was written; look for the origin of this name."


class StoreError(GlacierProviderError):
    """The archive store answered with an error."""

    hint = "See the task log; after mending the cause, clear this task: it goes on from the last finished archive."


class StoreUnavailable(StoreError):
    """The archive store cannot be reached or is too busy."""

    retryable = True
    hint = "The task goes on from the last finished archive when it is tried again."


class OutcomeUnknown(StoreUnavailable):
    """It is not known whether the store did what it was asked."""

    hint = "It is tried again; should the archive then be there twice, the store's inventory shows the second one."


class StoreDenied(StoreError):
    """The archive store denied access."""

    hint = "Check the AWS connection and the permissions listed in the operations guide."


class StoreUntrusted(StoreError):
    """The archive store's certificate could not be verified: nothing was sent to it."""

    hint = (
        "Give this worker the certificate of the authority that signed it: a file named in AWS_CA_BUNDLE, or as verify "
        "in the extra of the AWS connection. Then clear this task."
    )


class StoreMissing(StoreError):
    """The bucket or vault does not exist."""

    hint = (
        "Create it, or correct the store URI in applications.yaml. What an earlier store had that is gone for good is "
        "noted as lost by: glacier-backup reconcile APPLICATION --inventory"
    )


class ArchiveMissing(StoreError):
    """The archive is not in the store."""

    hint = "Look in the store for a deletion or lifecycle rule, and at other backups that contain the file."


class ArchiveCold(StoreError):
    """The archive is in cold storage and must be retrieved first."""

    hint = (
        "Clear the task request_retrievals of this restore with those that follow it: it requests what is missing and "
        "only that."
    )


class ArchiveCorrupt(StoreError):
    """The bytes received differ from the archive's checksum."""

    retryable = True
    hint = "Nothing was put in place; the download is tried again."


class ContentDiffers(ArchiveCorrupt):
    """All bytes that the store has came, and they are not what was written; `found` tells contents apart."""

    def __init__(self, message: str | None = None, *, hint: str | None = None, found: str = "") -> None:
        super().__init__(message, hint=hint)
        self.found = found


class KeyTaken(StoreError):
    """The key of this archive already holds something else."""

    hint = "Another catalog writes to the same place of this store: give each catalog its own prefix."


class OtherContent(KeyTaken):
    """The key of this archive already holds another content of the same file."""

    hint = "It was sent before it changed; the next try archives it under another key."


class RequestRejected(StoreError):
    """The store found a parameter of the request wrong."""

    hint = "See its words in the task log; if they say nothing of your configuration, it is an error of this package."


class NotInVault(StoreError):
    """The vault does not know this archive, upload or job."""

    hint = "What it offered may have expired: clear the task, and it is asked for again."


class RetrievalRefused(StoreError):
    """The store refused to start the retrieval."""

    hint = "Choose another retrieval tier, or try again later."


class RetrievalFailed(StoreError):
    """The store ended a retrieval without success."""

    hint = "Clear the task request_retrievals of this restore to request it again."


class NotTold(GlacierProviderError):
    """An alert did not arrive."""

    retryable = True
    hint = "Try the target by itself: glacier-backup alerts test."


class ProofFailed(GlacierProviderError):
    """A verification or a drill found what is not as it should be, or could not look at all that it was to look at."""

    hint = "Files that are still in their directory are archived anew by the next backup; look at the others now."


class CatalogError(GlacierProviderError):
    """The catalog answered with an error."""

    hint = "See the log of the catalog's database server; what is in the store is found again."


class CatalogUnavailable(CatalogError):
    """No connection to the catalog database."""

    retryable = True
    hint = "Check the catalog connection; what was uploaded meanwhile is found again."


class CatalogNotReady(CatalogError):
    """The catalog schema is missing or does not fit this version."""

    hint = "Run: glacier-backup migrate"


class IllegalMove(CatalogError):
    """The lifecycle does not allow this change of state."""

    hint = "Another process changed it meanwhile; look at the backup or restore before you go on."


class LeaseHeld(CatalogError):
    """Another run works on this application."""

    retryable = True
    hint = "Wait until it ends; the lease of a dead run frees itself, or: glacier-backup free-lease"


class LeaseLost(LeaseHeld):
    """Another run took the application's lease while this process slept or could not reach the catalog."""

    retryable = False
    hint = "Look at the backup or restore: a backup that failed is made again by a new run, a restore is planned anew."


class UnknownBackup(CatalogError):
    """There is no backup with this id."""

    hint = "List the backups with: glacier-backup list"


class BackupNotRestorable(CatalogError):
    """This backup cannot be restored."""

    hint = "List the backups with: glacier-backup list"


class BackupNotDeletable(CatalogError):
    """This backup cannot be deleted."""

    hint = "Nothing was changed. See what would go and what stays with: glacier-backup delete"


class RebuiltInPart(CatalogError):
    """The catalog is rebuilt, and something of what it names is lost."""

    hint = "Look at the lines above. The next backup archives the files that are still in their directory anew."
