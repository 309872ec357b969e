"""Where alerts go: mail and notifiers by Airflow's providers, everything else by Apprise, webhooks by HTTP.

Each raises `NotTold`, whose text quotes no address of a target: the URLs of chats are secrets.
"""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from glacier_provider.core.alert import Alert, AlertTarget
from glacier_provider.core.condition import Grade
from glacier_provider.errors import ConfigurationError, GlacierProviderError, NotTold
from glacier_provider.hooks.resources import Resources, connection_of
from glacier_provider.hooks.web import page_link

if TYPE_CHECKING:
    from glacier_provider.applications import Application
    from glacier_provider.pipelines.alerts import Failure

log = logging.getLogger(__name__)

#: Of one step of a request; how long a target may take in all is a matter of who sends.
HTTP_SECONDS = 10.0


def send_alert(target: AlertTarget, alert: Alert) -> None:
    """Tell one target of one alert; raise NotTold or ConfigurationError."""
    with _told_as_ours(target):
        _SENDERS[target.kind](target, alert)


def url_of(text: str) -> str:
    """Return a URL as it is written, or that which an Airflow connection holds: its password or its host is one.

    Without either it is made of scheme (or the type, https otherwise), host and port. Raise ConfigurationError.
    """
    if "://" in text:
        return text
    connection = connection_of(text)
    for whole in (connection.password, connection.host):
        if whole and "://" in whole:
            return str(whole)
    if not connection.host:
        raise ConfigurationError(
            f"The Airflow connection {text} holds no URL.", hint="Write the whole URL into its password."
        )
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.schema or 'https'}://{connection.host}{port}"


@contextmanager
def _told_as_ours(target: AlertTarget) -> Iterator[None]:
    """Have foreign errors told by their type: their texts may quote the address, and with it a secret."""
    try:
        yield
    except GlacierProviderError:
        raise
    except ImportError as error:
        raise ConfigurationError(
            f"{target.name} needs a package that is not installed here ({error.name}).",
            hint="For apprise: pip install 'glacier-provider[alerts]'; for a notifier, the package of its provider.",
        ) from None
    except Exception as error:
        raise NotTold(f"{target.name} did not take it ({type(error).__name__}).") from error


def _send_mail(target: AlertTarget, alert: Alert) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    options = target.options
    link = f'<p><a href="{html.escape(alert.link)}">{html.escape(alert.link)}</a></p>' if alert.link else ""
    lines = [line for line in alert.text.splitlines() if line != alert.link]
    notifier = SmtpNotifier(
        to=target.address,
        from_email=options.get("from"),
        subject=_unrendered(alert.subject),
        html_content=_unrendered("".join(f"<p>{html.escape(line)}</p>" for line in lines) + link),
        smtp_conn_id=options.get("conn_id", "smtp_default"),
    )
    notifier({})


def _unrendered(text: str) -> str:
    """Return a text that a template renders to itself: what is told may hold what looks like one."""
    return "{% raw %}" + text.replace("{%", "{ %").replace("%}", "% }") + "{% endraw %}"


def _post(target: AlertTarget, alert: Alert) -> None:
    import httpx

    url = url_of(target.address)
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError(f"{target.name} holds no address of the web.", hint="It begins with https://.")
    answer = httpx.post(url, json=alert.as_dict(), timeout=HTTP_SECONDS)
    if answer.is_error or answer.is_redirect:
        raise NotTold(f"{target.name} answered {answer.status_code}.", hint=_hint_of(answer.status_code))


def _hint_of(status: int) -> str:
    """Return what to do about an answer that is no success; what may pass by itself is tried again."""
    if 300 <= status < 400:  # not followed: a URL is a secret, and a POST would become a GET without its body
        return "It sends elsewhere: write the address where it is now (https://?) into `to` or the connection."
    if status in (401, 403, 404, 410):
        return "It knows no such address any more, or not its token: write a new one into `to` or the connection."
    if status in (408, 429) or status >= 500:
        return "Try again in some minutes; the DAG glacier_alerts does so by itself."
    return "It does not take JSON of the form that the guide shows: have Apprise or a notifier write what it takes."


def _by_apprise(target: AlertTarget, alert: Alert) -> None:
    import apprise

    kinds = {Grade.OK: "info", Grade.WARNING: "warning"}
    service = apprise.Apprise()
    if not service.add(url_of(target.address)):
        raise ConfigurationError(
            f"{target.name}: Apprise knows no such URL.", hint="See https://github.com/caronc/apprise/wiki."
        )
    text = alert.text if len(alert.subject) > 200 else alert.text.partition("\n")[2] or alert.told
    if not service.notify(title=alert.subject, body=text, notify_type=kinds.get(alert.grade, "failure")):
        raise NotTold(f"{target.name} did not take it.")


def _by_notifier(target: AlertTarget, alert: Alert) -> None:
    """Call a notifier of Airflow's providers; `with` are its arguments, in whose templates `alert` is known."""
    from airflow.sdk import BaseNotifier

    module, _, name = target.address.rpartition(".")
    kind: Any = getattr(import_module(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise ConfigurationError(
            f"{target.address} is no notifier of Airflow.",
            hint="As in airflow.providers.slack.notifications.slack.SlackNotifier.",
        )
    given: Mapping[str, Any] = target.options.get("with") or {}
    try:
        notifier = kind(**given)
    except TypeError as error:
        raise ConfigurationError(f"{target.address} does not take these arguments: {error}.", hint="") from None
    notifier({"alert": alert})


_SENDERS = {"email": _send_mail, "webhook": _post, "apprise": _by_apprise, "notifier": _by_notifier}


def tell_application(application: Application, unreachable: dict[str, dict[str, Any]]) -> list[Failure]:
    """Tell the targets of an application what is wrong with it and they were not told yet; return what did not arrive.

    `unreachable` is what `unreachable_catalogs` yields.
    """
    from glacier_provider.pipelines import alerts

    try:
        with Resources(application) as resources:
            told = alerts.tell_alerts(application, catalog=resources.catalog, send=send_alert, link=page_link())
    except GlacierProviderError as error:
        log.warning("%s: %s", application.name, error)
        return alerts.tell_unreachable(application, error, known=unreachable, send=send_alert, link=page_link())
    unreachable.pop(application.name, None)
    return told


def tell_at_once(application: Application, alert: Alert) -> list[Failure]:
    """Tell the targets of an application of one alert, whatever they were told before; return what did not arrive."""
    from glacier_provider.pipelines import alerts

    told = alerts.tell(
        alerts.targets_of(application), alert, seconds=application.alerts.timeout_seconds, send=send_alert
    )
    return [alerts.failure_of(target, alert, why) for target, why in told if why is not None]


@contextmanager
def unreachable_catalogs() -> Iterator[dict[str, dict[str, Any]]]:
    """Yield what is remembered of catalogs that cannot be asked, which therefore cannot remember it, in an Airflow
    variable; what the block changes is kept."""
    from airflow.sdk import Variable

    known = json.loads(Variable.get(_VARIABLE, default=None) or "{}")
    before = json.dumps(known, sort_keys=True)
    yield known
    if json.dumps(known, sort_keys=True) != before:
        Variable.set(_VARIABLE, json.dumps(known), description="Of the DAG glacier_alerts: whom it told of what.")


_VARIABLE = "glacier_unreachable_catalogs"
