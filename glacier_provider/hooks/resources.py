"""What one application's tasks work with, opened from Airflow connections when first asked for.

Extras of a connection are taken by name, never as a whole: an extra that somebody adds must not become a parameter.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from glacier_provider.applications import Application, load_applications, parse_application
from glacier_provider.core.parts import MIB
from glacier_provider.core.store_uri import parse_store_uri
from glacier_provider.errors import ConfigurationError
from glacier_provider.hooks.connections import raise_not_given
from glacier_provider.hooks.runs import run_ended

if TYPE_CHECKING:
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines.restore.elsewhere import Elsewhere
    from glacier_provider.postgres import Server
    from glacier_provider.stores.contract import ArchiveStore
    from glacier_provider.stores.queue.receive import Queue
    from glacier_provider.stores.s3.batch import BatchOperations


log = logging.getLogger(__name__)


def find_application(given: str | Mapping[str, Any] | Application) -> Application:
    """Return an application by its name in applications.yaml, or from its settings given in place."""
    if isinstance(given, Application):
        return given
    if isinstance(given, str):
        return load_applications().named(given)
    settings = dict(given)
    return parse_application(settings.pop("name", None), settings, origin="the operator's argument")


class Resources:
    """The catalog, the database and the stores of one application. Close it, or use it in a `with`.

    `open_store` opens a store of the application by its URI; `open_store_of` unless another is given.
    """

    def __init__(
        self, application: Application, *, open_store: Callable[[Application, str], ArchiveStore] | None = None
    ) -> None:
        self.application = application
        self._open_store = open_store or open_store_of
        self._catalog: Catalog | None = None
        self._stores: dict[str, ArchiveStore] = {}
        self._lock = threading.Lock()

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            from glacier_provider.catalog.catalog import Catalog

            server = server_of(self.application.catalog_conn_id)
            self._catalog = Catalog(
                server.connect,
                schema=self.application.catalog_schema,
                application=self.application.name,
                run_ended=run_ended,
            )
        return self._catalog

    @property
    def server(self) -> Server:
        return server_of(self.application.postgres_conn_id)

    @property
    def elsewhere(self) -> Elsewhere:
        """How a restore reaches another place, and whose places that must not be."""
        from glacier_provider.pipelines.restore.elsewhere import Elsewhere

        return Elsewhere(server_of, _all_applications)

    @property
    def store(self) -> ArchiveStore:
        """The store that new archives go to."""
        return self.stores(self.application.store)

    def stores(self, uri: str) -> ArchiveStore:
        """Return the store of this URI, opened once, whichever threads ask for it."""
        with self._lock:
            if uri not in self._stores:
                self._stores[uri] = self._open_store(self.application, uri)
            return self._stores[uri]

    def batch(self, uri: str) -> BatchOperations:
        """Return the jobs of S3 Batch Operations on the objects of a store."""
        return open_batch_of(self.application, uri)

    def close(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _all_applications() -> list[Application]:
    """Return the applications of applications.yaml; none where the file cannot be read, as with settings in place."""
    try:
        return list(load_applications().values())
    except ConfigurationError as error:
        log.warning("No other application is known whose places a restore must not be: %s", error.message)
        return []


def server_of(conn_id: str) -> Server:
    """Return the PostgreSQL server of an Airflow connection; raise ConfigurationError when there is none."""
    from glacier_provider.postgres import OPTION_VARIABLES, Server

    connection = connection_of(conn_id)
    if connection.conn_type not in ("postgres", "postgresql"):
        raise ConfigurationError(
            f"The Airflow connection {conn_id} is of type {connection.conn_type}.",
            hint="It has to be of type postgres.",
        )
    if not connection.schema:
        raise ConfigurationError(
            f"The Airflow connection {conn_id} names no database.", hint="Set its field Database (schema)."
        )
    extras = connection.extra_dejson
    return Server(
        host=connection.host or "",
        port=connection.port or 5432,
        user=connection.login or "",
        password=connection.password or None,
        dbname=connection.schema,
        options={name: str(extras[name]) for name in OPTION_VARIABLES if extras.get(name) not in (None, "")},
    )


def open_store_of(application: Application, uri: str) -> ArchiveStore:
    """Open a store with the application's AWS connection (roles, profiles and endpoint_url included).

    Raise ConfigurationError for a missing connection or a wrong URI, the StoreError family for credentials that AWS
    does not give.
    """
    from glacier_provider.stores import client_config, client_type

    parsed = parse_store_uri(uri)
    client = aws_client(
        application, client_type(parsed), region=parsed.region, config=client_config(parsed), subject=uri
    )
    return _opened(application, uri, client)


def open_batch_of(application: Application, uri: str) -> BatchOperations:
    """Open the jobs of S3 Batch Operations on the objects of a store; raise as `open_store_of`.

    Raise ConfigurationError where `verify` names no role for them.
    """
    from glacier_provider.core.store_uri import S3Uri
    from glacier_provider.stores import client_config
    from glacier_provider.stores.s3.batch import (
        BatchAccess,
        BatchOperations,
        control_client_config,
        reached_by_address,
    )

    options, parsed = application.verify, parse_store_uri(uri)
    if options.role_arn is None or options.account is None or not isinstance(parsed, S3Uri):
        raise ConfigurationError(
            f"S3 computes checksums for {uri} by a role, and verify of {application.name} names none.",
            hint="Make one as docs/operations.md tells (Verifying in the cold), and set verify.role_arn.",
        )
    client = aws_client(application, "s3", region=parsed.region, config=client_config(parsed), subject=uri)
    region = parsed.region or client.meta.region_name
    control = aws_client(application, "s3control", region=region, config=control_client_config(region), subject=uri)
    access = BatchAccess(options.account, options.role_arn, f"{options.report_prefix}/{application.name}")
    return BatchOperations(parsed, client=client, control=reached_by_address(control), access=access)


def open_queue_of(application: Application) -> Queue | None:
    """Open the queue of notifications of an application's retrievals; None when it names none.

    Its Region is the one that its name tells, else the store's, else the connection's. Raise as `open_store_of`.
    """
    name = application.notifications.queue
    if name is None:
        return None
    from glacier_provider.stores.queue.receive import Queue, parsed_queue, queue_client_config

    region = parsed_queue(name).region or parse_store_uri(application.store).region
    client = aws_client(application, "sqs", region=region, config=queue_client_config(), subject=name)
    return Queue(name, client=client)


def aws_client(
    application: Application, service: str, *, region: str | None = None, config: Any = None, subject: str
) -> Any:
    """Return a boto3 client of the application's AWS connection; `subject` is what messages say it is for.

    `config` is what the package wants of the client; what the connection's `config_kwargs` say otherwise holds, but
    for what keeps archives from being sent twice or unverified.
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    from glacier_provider.stores.aws_errors import aws_errors

    connection_of(application.aws_conn_id)
    given = _config_of_connection(application.aws_conn_id, service)
    hook: Any = AwsBaseHook(
        aws_conn_id=application.aws_conn_id,
        client_type=service,
        region_name=region,
        config=_merged(service, config, given),
    )
    with aws_errors(f"The AWS connection {application.aws_conn_id}", subject):
        try:
            return hook.get_conn()
        except ValueError as error:  # botocore's word for an endpoint_url that is none
            raise ConfigurationError(f"The AWS connection {application.aws_conn_id} is of no use: {error}.") from error


def _config_of_connection(conn_id: str, service: str) -> Any:
    """Return the botocore Config of a connection's `config_kwargs`, None without; raise ConfigurationError."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.exceptions import BotoCoreError

    hook: Any = AwsBaseHook(aws_conn_id=conn_id, client_type=service)
    try:
        return hook.conn_config.botocore_config
    except (TypeError, ValueError, AttributeError, BotoCoreError) as error:
        raise ConfigurationError(
            f"The extra config_kwargs of the AWS connection {conn_id} is of no use: {error}.",
            hint="It holds arguments of botocore's Config by name, as in "
            '{"config_kwargs": {"proxies": {"https": "http://proxy.example.com:3128"}}}.',
        ) from error


#: What our own Config says and a connection does not change: that no byte is believed without its checksum, that a
#: queue is listened to for as long as it may be silent, and (vaults) that no request is sent twice without a person.
_OURS = {
    "s3": ("request_checksum_calculation", "response_checksum_validation"),
    "glacier": ("retries",),
    "sqs": ("read_timeout",),
    "s3control": (),
}


def _merged(service: str, ours: Any, given: Any) -> Any:
    """Return our Config with what a connection says laid over it."""
    if ours is None or given is None:
        return ours or given
    from botocore.config import Config

    kept = {name: getattr(ours, name) for name in (*_OURS[service], "region_name")}
    return ours.merge(given).merge(Config(**{name: value for name, value in kept.items() if value is not None}))


def open_store_anywhere(application: Application, uri: str) -> ArchiveStore:
    """Open a store also where Airflow has no connection to give: then with boto3's own credentials and settings.

    For the command line, which has to work on the night when Airflow does not. Raise as `open_store_of`.
    """
    try:
        connection_of(application.aws_conn_id)
    except Exception as error:  # noqa: BLE001 - Airflow itself may be what is broken
        log.info("No Airflow connection %s (%s): boto3's own settings.", application.aws_conn_id, type(error).__name__)
    else:
        return open_store_of(application, uri)
    import boto3

    from glacier_provider.stores import client_config, client_type
    from glacier_provider.stores.aws_errors import aws_errors

    parsed = parse_store_uri(uri)
    with aws_errors("boto3's own settings", uri):
        session: Any = boto3.Session(region_name=parsed.region)
        client = session.client(client_type(parsed), config=client_config(parsed))
    return _opened(application, uri, client)


def _opened(application: Application, uri: str, client: Any) -> ArchiveStore:
    from glacier_provider.stores import open_store

    store = open_store(uri, client=client, part_size=application.part_size_mib * MIB)
    # The tasks that upload at once know nothing of each other: each gets its share.
    store.rate_limit.rate = (application.bandwidth_limit or 0) / application.parallelism
    return store


def connection_of(conn_id: str) -> Any:
    """Return an Airflow connection; raise ConfigurationError when there is none or it cannot be read, ConnectionAway
    when what keeps it does not answer.
    """
    from airflow.sdk.bases.hook import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise_not_given(conn_id, error)
    if not isinstance(connection.extra_dejson, Mapping):
        raise ConfigurationError(
            f"The extra of the Airflow connection {conn_id} is no mapping.",
            hint='It holds JSON with names, as in {"sslmode": "require"}.',
        )
    return connection
