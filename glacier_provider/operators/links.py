"""Links from a task in Airflow's UI: to what it works on, on the page of backups, and to its store in AWS's console."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink

from glacier_provider.errors import ConfigurationError, GlacierProviderError
from glacier_provider.hooks.resources import connection_of, find_application
from glacier_provider.hooks.web import page_address

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

log = logging.getLogger(__name__)

#: What an operator declares as its `operator_extra_links`.
Links = Collection[BaseOperatorLink]


class BackupLink(BaseOperatorLink):
    """The backup of a task on the page; the restores, or the whole application, of one that is about no backup."""

    name = "On the backups page"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return an address, absolute where Airflow's own is configured (`[api] base_url`)."""
        application = getattr(operator, "application", None)
        name = application.get("name") if isinstance(application, Mapping) else application
        return page_address(_path(quote(str(name), safe=""), operator))


def _path(name: str, operator: BaseOperator) -> str:
    backup_id = str(getattr(operator, "backup_id", None))
    if backup_id.isdecimal():
        return f"{name}/backups/{backup_id}"
    return f"{name}?tab=restores" if hasattr(operator, "restore_id") else name


class StoreLink(BaseOperatorLink):
    """The store of a task's application in AWS's console. Empty where the connection leads to another service."""

    name = "The store in AWS's console"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return an address, or "" where the store is none of AWS, or not known."""
        try:
            application = find_application(getattr(operator, "application", ""))
            extras = connection_of(application.aws_conn_id).extra_dejson
        except GlacierProviderError as error:
            log.debug("No link to the store: %s", error)
            return ""
        return "" if extras.get("endpoint_url") else console_url(application.store, extras.get("region_name"))


def console_url(store: str, region: str | None) -> str:
    """Return the address of a store in AWS's console; `region` is that of the connection, where the URI names none.

    As the amazon provider links to buckets. "" for a URI that is none.
    """
    from glacier_provider.core.store_uri import S3Uri, parse_store_uri

    try:
        uri = parse_store_uri(store)
    except ConfigurationError:
        return ""
    region = uri.region or region or ""
    where = {"region": region} if region else {}
    console = _console(region)
    if isinstance(uri, S3Uri):
        prefix = {"prefix": f"{uri.prefix}/"} if uri.prefix else {}
        return f"{console}/s3/buckets/{uri.bucket}?{urlencode({**where, **prefix})}".rstrip("?")
    return f"{console}/glacier/home?{urlencode(where)}".rstrip("?") + f"#/vault/{quote(uri.vault, safe='')}"


def _console(region: str) -> str:
    if region.startswith("cn-"):
        return "https://console.amazonaws.cn"
    return "https://console.amazonaws-us-gov.com" if region.startswith("us-gov-") else "https://console.aws.amazon.com"
