"""Setting up notifications with an application's AWS connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.hooks.resources import aws_client

if TYPE_CHECKING:
    from glacier_provider.stores.queue.setup import Setup


def set_up_notifications(application: Application, *, store: str | None = None, dry_run: bool = False) -> Setup:
    """Make what is missing between a store (the application's own unless another is named) and its queue.

    With `dry_run` nothing is changed. Raise as `stores.queue.setup.set_up` and `aws_client`.
    """
    from glacier_provider.stores import client_config
    from glacier_provider.stores.queue.receive import queue_client_config
    from glacier_provider.stores.queue.setup import set_up

    uri = store or application.store

    def client(service: str, region: str | None) -> Any:
        config = client_config(uri) if service in ("s3", "glacier") else queue_client_config()
        return aws_client(application, service, region=region, config=config, subject=uri)

    return set_up(application.name, uri, client=client, queue=application.notifications.queue, dry_run=dry_run)
