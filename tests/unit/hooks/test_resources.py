"""From Airflow connections to servers and stores: what is taken, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock, patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.errors import ConfigurationError, StoreDenied, StoreError, StoreMissing
from glacier_provider.hooks.resources import Resources, find_application, open_store_of, server_of
from glacier_provider.postgres import OPTION_VARIABLES, Server
from glacier_provider.stores.contract import ArchiveStore
from glacier_provider.stores.s3.fast.shapes import NoFastPath, shape_of
from tests.emulator.s3 import S3Emulator
from tests.support.airflow import aws_connection, postgres_connection
from tests.support.clean_environment import APPLICATIONS
from tests.unit.operators.builders import APPLICATION, CONNECTIONS, SETTINGS

Set = Callable[[str], None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Gives Airflow the connection `db`, as JSON or as a URI."""
    return lambda value: monkeypatch.setenv("AIRFLOW_CONN_DB", value)


def as_json(**fields: Any) -> str:
    return json.dumps({"conn_type": "postgres", "host": "db.example.com", "schema": "dms", **fields})


# --- servers -------------------------------------------------------------------------------------------------------


def test_a_connection_becomes_a_server(connect: Set) -> None:
    extra = {"sslmode": "verify-full", "connect_timeout": 10}
    connect(as_json(port=5433, login="app", password="geheim", extra=extra))
    options = {"sslmode": "verify-full", "connect_timeout": "10"}
    assert server_of("db") == Server("db.example.com", 5433, "app", "geheim", "dms", options)


@pytest.mark.parametrize("kind", ["postgres", "postgresql"])
def test_a_connection_as_a_uri_becomes_a_server(connect: Set, kind: str) -> None:
    connect(f"{kind}://app:ge%3Aheim@db.example.com:5433/dms?sslmode=require")
    assert server_of("db") == Server("db.example.com", 5433, "app", "ge:heim", "dms", {"sslmode": "require"})


def test_what_a_connection_leaves_open_is_left_to_libpq(connect: Set) -> None:
    connect(json.dumps({"conn_type": "postgres", "schema": "dms"}))
    assert server_of("db") == Server("", 5432, "", None, "dms")


def test_a_socket_directory_keeps_its_letters(connect: Set) -> None:
    connect("postgres://app@%2FRun%2FPostgreSQL/dms")
    assert server_of("db").host == "/Run/PostgreSQL"


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_extra_is_no_parameter(connect: Set, nothing: str | None) -> None:
    connect(as_json(extra={"sslmode": nothing, "sslrootcert": nothing}))
    assert server_of("db").options == {}


_NAMES = st.sampled_from([*OPTION_VARIABLES, "iam", "cursor", "SSLMODE", "sslmode ", "passfile", "keepalives", "user"])


@settings(deadline=None, max_examples=30)
@given(extras=st.dictionaries(_NAMES, st.sampled_from(["require", "10"]), max_size=5))
def test_an_unknown_extra_never_becomes_a_parameter(extras: Mapping[str, str]) -> None:
    """Not `options`, not `service`, not `host`: what somebody adds to a connection must not lead elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        given = {**extras, "options": "-csearch_path=evil", "service": "x", "hostaddr": "10.0.0.1", "dbname": "other"}
        patch.setenv("AIRFLOW_CONN_DB", as_json(extra=json.dumps(given)))
        server = server_of("db")
    assert server.options == {name: value for name, value in extras.items() if name in OPTION_VARIABLES}
    assert (server.host, server.dbname) == ("db.example.com", "dms")


def test_a_missing_connection_is_named_with_its_variable() -> None:
    with pytest.raises(ConfigurationError) as caught:
        server_of("nowhere")
    assert str(caught.value) == (
        "There is no Airflow connection nowhere. Add it in Admin > Connections, or set AIRFLOW_CONN_NOWHERE in the "
        "environment of all of Airflow's processes."
    )


def test_a_connection_of_another_type_is_refused(connect: Set) -> None:
    connect("mysql://app:geheim@db.example.com/dms")
    with pytest.raises(ConfigurationError, match=r"db is of type mysql\. It has to be of type postgres\.") as caught:
        server_of("db")
    assert "geheim" not in str(caught.value)


def test_a_connection_without_a_database_is_refused(connect: Set) -> None:
    connect("postgres://app:geheim@db.example.com")
    with pytest.raises(ConfigurationError, match=r"db names no database. Set its field Database \(schema\)"):
        server_of("db")


def test_a_password_is_not_part_of_a_servers_text(connect: Set) -> None:
    connect("postgres://app:geheim@db.example.com/dms")
    assert "geheim" not in repr(server_of("db")) + str(server_of("db"))


# --- applications --------------------------------------------------------------------------------------------------


def test_an_application_is_found_by_name_in_place_or_as_itself() -> None:
    entry = json.dumps({"applications": {"dms": {k: v for k, v in SETTINGS.items() if k != "name"}}})
    APPLICATIONS.write_text(entry)
    assert find_application("dms") == find_application(SETTINGS) == find_application(APPLICATION) == APPLICATION


def test_settings_given_in_place_are_left_as_they_were() -> None:
    given = dict(SETTINGS)
    find_application(given)
    assert given == SETTINGS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "application None"),
        ({"name": "dms"}, "field 'store': is missing"),
        ({**SETTINGS, "password": "geheim"}, "secrets do not belong here"),
        ({**SETTINGS, "name": "Big Name"}, "a name starts with a small letter"),
    ],
)
def test_settings_given_in_place_are_validated(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        find_application(given)
    assert "the operator's argument" in str(caught.value)
    assert "geheim" not in str(caught.value)


# --- stores --------------------------------------------------------------------------------------------------------


def an_application_of(store: str) -> Application:
    return Application.from_dict({**SETTINGS, "store": store, "aws_conn_id": "aws_default"})


def test_a_store_is_opened_through_the_aws_connection(s3: S3Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its endpoint_url and its keys: an archive comes to lie in the bucket."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3.url))
    uri = f"s3://{s3.create_bucket('hooks-bucket')}/pre?storage_class=GLACIER"
    store = Resources(an_application_of(uri)).store
    store.check()
    description = Description(
        application="dms", kind=ArchiveKind.FILE, archive_id=1, backup_id=1, filename="a.pdf", size=3, sha256=None
    )
    receipt = store.put(b"abc", description)
    head = s3.client().head_object(Bucket="hooks-bucket", Key=receipt.location.key)
    assert (head["ContentLength"], head["StorageClass"]) == (3, "GLACIER")


def test_a_bucket_that_is_not_there_is_named(s3: S3Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3.url))
    with pytest.raises(StoreMissing, match="no-such-bucket"):
        Resources(an_application_of("s3://no-such-bucket?storage_class=GLACIER")).store.check()


def test_a_missing_aws_connection_is_named_with_its_variable() -> None:
    with pytest.raises(ConfigurationError, match=r"no Airflow connection aws_default.*AIRFLOW_CONN_AWS_DEFAULT"):
        open_store_of(an_application_of(APPLICATION.store), APPLICATION.store)


@pytest.mark.parametrize(
    ("extra", "kind", "said"),
    [
        ({"profile_name": "nobody"}, StoreDenied, "ProfileNotFound"),
        ({"endpoint_url": "nowhere"}, ConfigurationError, "nowhere"),
    ],
)
def test_an_aws_connection_that_cannot_be_used_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], kind: Any, said: str
) -> None:
    connection = {"conn_type": "aws", "extra": {"region_name": "us-east-1", **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    with pytest.raises(kind, match="AWS connection aws_default") as caught:
        open_store_of(an_application_of(APPLICATION.store), APPLICATION.store)
    assert said in str(caught.value)


def test_a_role_that_is_denied_is_an_error_of_ours(s3: S3Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of a role asks for credentials with its first request, not before."""
    extra = {"region_name": "us-east-1", "endpoint_url": "http://127.0.0.1:1", "role_arn": "arn:aws:iam::1:role/x"}
    connection = {"conn_type": "aws", "login": "AKIA", "password": "geheim", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError) as caught:
        open_store_of(an_application_of(APPLICATION.store), APPLICATION.store).check()
    assert "geheim" not in str(caught.value)


def test_a_wrong_store_uri_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ConfigurationError, match="storage_class"):
        open_store_of(APPLICATION, "s3://bucket?storage_class=COLDEST")


# --- resources -----------------------------------------------------------------------------------------------------


@pytest.fixture
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CONNECTIONS.items():
        monkeypatch.setenv(name, value)


def test_nothing_is_opened_before_it_is_asked_for() -> None:
    """There are no connections at all."""
    with Resources(APPLICATION) as resources:
        assert resources.application is APPLICATION


@pytest.mark.usefixtures("_connections")
def test_catalog_and_stores_are_opened_once() -> None:
    resources = Resources(APPLICATION)
    assert resources.catalog is resources.catalog
    assert resources.store is resources.stores(APPLICATION.store)
    other = APPLICATION.store.replace("GLACIER", "DEEP_ARCHIVE")
    assert resources.stores(other) is not resources.store


def test_a_store_that_many_threads_ask_for_at_once_is_opened_once() -> None:
    opened: list[Mock] = []

    def open_store(_application: Application, _uri: str) -> Mock:
        time.sleep(0.05)  # as a look-up of a connection takes
        opened.append(Mock(spec=ArchiveStore))
        return opened[-1]

    with (
        patch("glacier_provider.hooks.resources.open_store_of", open_store),
        ThreadPoolExecutor(max_workers=16) as pool,
    ):
        resources = Resources(APPLICATION)
        stores = list(pool.map(lambda _: resources.store, range(16)))
    assert len(opened) == 1
    assert all(store is opened[0] for store in stores)


@pytest.mark.usefixtures("_connections")
def test_the_catalog_is_the_applications_own() -> None:
    application = Application.from_dict({**SETTINGS, "catalog_schema": "elsewhere"})
    assert Resources(application).catalog.schema == "elsewhere"


def test_a_catalog_is_closed_with_the_resources(catalog_database: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", postgres_connection(catalog_database))
    with Resources(APPLICATION) as resources:
        catalog: Catalog = resources.catalog
        catalog.lists.backups()
        connection = catalog.lists._db.connection()
    assert connection.closed
    resources.close()


# --- what a connection says of its requests ------------------------------------------------------------------------

PROXY = "http://proxy.example.com:3128"


def client_with(monkeypatch: pytest.MonkeyPatch, uri: str, **config_kwargs: Any) -> Any:
    """Return the client of a store whose AWS connection has these config_kwargs."""
    extra = {"region_name": "eu-central-1", "config_kwargs": config_kwargs}
    connection = {"conn_type": "aws", "login": "AKIA", "password": "geheim", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_DMS_AWS", json.dumps(connection))
    made: list[Any] = []
    with patch("glacier_provider.stores.open_store", lambda _uri, *, client, **_: made.append(client) or Mock()):
        open_store_of(APPLICATION, uri)
    return made[0]


def test_proxies_timeouts_retries_and_addressing_of_a_connection_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(
        monkeypatch,
        "s3://bucket/x?region=eu-west-1",
        proxies={"https": PROXY},
        connect_timeout=3,
        read_timeout=33,
        retries={"mode": "adaptive", "max_attempts": 9},
        use_dualstack_endpoint=True,
        s3={"addressing_style": "virtual"},
        region_name="us-west-2",
    )
    config = client.meta.config
    assert (config.proxies, config.connect_timeout, config.read_timeout) == ({"https": PROXY}, 3, 33)
    assert config.retries["mode"] == "adaptive"
    assert config.s3["addressing_style"] == "virtual"
    assert config.max_pool_connections == 64
    assert config.region_name == "eu-west-1"
    assert client.meta.endpoint_url == "https://s3.dualstack.eu-west-1.amazonaws.com"


def test_the_fast_path_goes_where_the_connection_says(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(
        monkeypatch,
        "s3://bucket/x",
        proxies={"https": PROXY},
        connect_timeout=3,
        read_timeout=33,
        use_dualstack_endpoint=True,
        s3={"addressing_style": "virtual"},
    )
    shape = shape_of(client, "PutObject", lambda key: client.put_object(Bucket="bucket", Key=key, Body=b""))
    assert shape.origin == "https://bucket.s3.dualstack.eu-central-1.amazonaws.com"
    assert (shape.transport.proxy, shape.transport.connect_timeout, shape.transport.read_timeout) == (PROXY, 3, 33)


def test_a_proxy_with_certificates_of_its_own_is_left_to_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"proxy_use_forwarding_for_https": True}
    client = client_with(monkeypatch, "s3://bucket/x", proxies={"https": PROXY}, proxies_config=settings)
    with pytest.raises(NoFastPath, match="settings of its own"):
        shape_of(client, "PutObject", lambda key: client.put_object(Bucket="bucket", Key=key, Body=b""))


def test_a_connection_does_not_have_a_vault_resend_or_s3_leave_its_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = client_with(monkeypatch, "glacier://vault", retries={"max_attempts": 9}, connect_timeout=3)
    assert (vault.meta.config.retries["total_max_attempts"], vault.meta.config.connect_timeout) == (1, 3)
    s3 = client_with(monkeypatch, "s3://bucket/x", response_checksum_validation="when_supported")
    assert s3.meta.config.response_checksum_validation == "when_required"


def test_config_kwargs_that_are_none_are_told_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"config_kwargs of the AWS connection dms_aws.*proxies"):
        client_with(monkeypatch, "s3://bucket/x", proxy=PROXY)
