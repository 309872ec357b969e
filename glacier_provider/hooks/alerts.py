"""Where alerts go: mail and notifiers by Airflow's providers, everything else by Apprise, webhooks by HTTP.

Each raises `NotTold`, whose text quotes no address of a target: the URLs of chats are secrets.
"""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from glacier_provider.core.alert import Alert, AlertTarget
from glacier_provider.core.condition import Grade
from glacier_provider.errors import (
    CatalogError,
    CatalogNotReady,
    CatalogUnavailable,
    ConfigurationError,
    DatabaseError,
    GlacierProviderError,
    NotTold,
)
from glacier_provider.hooks.resources import Resources, connection_of
from glacier_provider.hooks.web import page_link, post
from glacier_provider.pipelines import alerts

if TYPE_CHECKING:
    from glacier_provider.applications import AlertOptions, Application, Applications
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.pipelines.alerts import Failure, Remembered

log = logging.getLogger(__name__)

#: Of one step of a request; how long a target may take in all is a matter of who sends.
HTTP_SECONDS = 10.0


def send_alert(target: AlertTarget, alert: Alert) -> None:
    """Tell one target of one alert; raise NotTold or ConfigurationError."""
    with _told_as_ours(target):
        _SENDERS[target.kind](target, alert.sendable())


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
        told = f"{target.name} did not take it ({type(error).__name__})."
        raise NotTold(told, hint=_hint_of_error(error, target)) from error


def _hint_of_error(error: BaseException, target: AlertTarget) -> str:
    """Return what to do about a foreign error, by its type and those of what caused it."""
    kinds = {kind.__name__ for one in _causes(error) for kind in type(one).__mro__}
    is_mail = target.kind == "email"
    place = f"the connection {_mail_connection(target)}" if is_mail else "`to` or the connection"
    for names, hint in (*_HINTS_OF_MAIL, *_HINTS) if is_mail else _HINTS:
        if kinds & names:
            return hint.format(place=place)
    return "Try it by itself, with the same address, outside of Airflow."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


#: By the names of types, since not every one of these libraries is installed; the first that fits.
_HINTS_OF_MAIL: tuple[tuple[set[str], str], ...] = (
    (
        {"SSLError"},
        "See port and certificate. TLS from the first byte (port 465) is the default: for STARTTLS (587) set "
        "disable_ssl in the extra of {place}, for no encryption (25) disable_tls as well.",
    ),
    ({"SMTPAuthenticationError"}, "Its server refuses login or password: correct them in {place}."),
    ({"SMTPNotSupportedError"}, "Its server has no STARTTLS, or no login: set disable_tls in the extra of {place}."),
    ({"SMTPRecipientsRefused", "SMTPSenderRefused"}, "Its server refuses the address, or from_email of {place}."),
)
_HINTS: tuple[tuple[set[str], str], ...] = (
    ({"SSLError"}, "Its certificate is not trusted here, or it speaks no TLS: see the address in {place}."),
    ({"TimeoutError", "TimeoutException"}, "Nothing answers: see host and port in {place}, proxies and firewalls."),
    (
        {"ConnectionError", "gaierror", "ConnectError", "OSError", "SMTPServerDisconnected"},
        "Nothing answers there: see host and port in {place}, proxies and firewalls.",
    ),
)


def _mail_connection(target: AlertTarget) -> str:
    return str(target.options.get("conn_id", "smtp_default"))


def _send_mail(target: AlertTarget, alert: Alert) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    options, conn_id = target.options, _mail_connection(target)
    if not (options.get("from") or connection_of(conn_id).extra_dejson.get("from_email")):
        raise ConfigurationError(
            f"{target.name} has no sender.",
            hint=f"Write from_email into the extra of the connection {conn_id}, or from beside the address.",
        )
    link = f'<p><a href="{html.escape(alert.link)}">{html.escape(alert.link)}</a></p>' if alert.link else ""
    lines = [line for line in alert.text.splitlines() if line != alert.link]
    notifier = SmtpNotifier(
        to=target.address,
        from_email=options.get("from"),
        subject=_unrendered(alert.subject),
        html_content=_unrendered("".join(f"<p>{html.escape(line)}</p>" for line in lines) + link),
        smtp_conn_id=conn_id,
    )
    notifier({})


def _unrendered(text: str) -> str:
    """Return a text that a template renders to itself: what is told may hold what looks like one."""
    return "{% raw %}" + text.replace("{%", "{ %").replace("%}", "% }") + "{% endraw %}"


def _post(target: AlertTarget, alert: Alert) -> None:
    url = url_of(target.address)
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError(f"{target.name} holds no address of the web.", hint="It begins with https://.")
    answer = post(url, json=alert.as_dict(), seconds=HTTP_SECONDS)
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
        raise NotTold(f"{target.name} did not take it.", hint="Apprise logged why just before; see its URL.")


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


def tell_everybody(applications: Applications, opened: Opened, known: Remembered, *, only: str = "") -> list[Failure]:
    """Tell the targets of all applications, or of one, what is wrong with them and they were not told yet; return what
    did not arrive.

    What is wrong with one application, its catalog or a target keeps nothing else from being told. `known` is what
    `unreachable_catalogs` yields.
    """
    look = _Look(opened, known)
    chosen = [one for name, one in applications.items() if one.alerts.to and only in ("", name)]
    failures = [failure for one in chosen for failure in look.tell(one)]
    failures += look.tell_unreachable()
    for name, options in applications.alerts_of_wrong.items():
        if only in ("", name):
            failures += look.tell_wrong(name, applications.wrong[name], options)
    for key in known.keys() - {*applications, *map(alerts.wrong_key, applications.wrong)}:
        del known[key]
    return failures


def tell_application(application: Application, known: Remembered) -> list[Failure]:
    """As `tell_everybody`, of one application."""
    look = _Look(catalog_of, known)
    return [*look.tell(application), *look.tell_unreachable()]


@contextmanager
def catalog_of(application: Application) -> Iterator[Catalog]:
    """Have the catalog of an application, as its Airflow connection says."""
    with Resources(application) as resources:
        yield resources.catalog


#: Opens the catalog of an application.
Opened = Callable[["Application"], AbstractContextManager["Catalog"]]


#: What keeps a catalog from being asked for any application.
_OF_THE_CATALOG = (CatalogUnavailable, CatalogNotReady, ConfigurationError, DatabaseError)


class _Look:
    """One look at applications: a catalog that cannot be asked and a target that is slow cost it one time-out each."""

    def __init__(self, opened: Opened, known: Remembered) -> None:
        self._opened = opened
        self._known = known
        self._link = page_link()
        self._silent: set[str] = set()
        self._unreachable: dict[str, tuple[GlacierProviderError, list[Application]]] = {}

    def tell(self, application: Application) -> list[Failure]:
        """Tell what the catalog says; who asks for one that cannot be asked is left to `tell_unreachable`."""
        catalog_id = f"{application.catalog_conn_id}/{application.catalog_schema}"
        if catalog_id in self._unreachable:
            self._unreachable[catalog_id][1].append(application)
            return []
        try:
            with self._opened(application) as catalog:
                told = alerts.tell_alerts(
                    application, catalog=catalog, send=send_alert, link=self._link, silent=self._silent
                )
        except GlacierProviderError as error:
            log.warning("%s: %s", application.name, error)
            of_all = catalog_id if isinstance(error, _OF_THE_CATALOG) else ""
            self._unreachable[of_all or application.name] = (error, [application])
        except Exception as error:  # of whatever kind: the other applications are looked at all the same
            log.exception("%s: what its catalog says is not understood.", application.name)
            words = f"what it says of {application.name} is not understood ({type(error).__name__})."
            trouble = CatalogError(words, hint="The log of the task tell_alerts shows where: please report it.")
            self._unreachable[application.name] = (trouble, [application])
        else:
            self._known.pop(application.name, None)
            return told
        return []

    def tell_unreachable(self) -> list[Failure]:
        """Tell of the catalogs that could not be asked."""
        return [
            failure
            for error, applications in self._unreachable.values()
            for failure in alerts.tell_unreachable(
                applications, error, known=self._known, send=send_alert, link=self._link, silent=self._silent
            )
        ]

    def tell_wrong(self, name: str, problems: Sequence[str], options: AlertOptions) -> list[Failure]:
        """Tell of an entry that is wrong."""
        return alerts.tell_wrong(
            name, problems, options, known=self._known, send=send_alert, link=self._link, silent=self._silent
        )


def tell_at_once(application: Application, alert: Alert) -> list[Failure]:
    """Tell the targets of an application of one alert, whatever they were told before; return what did not arrive."""
    told = alerts.tell(
        alerts.targets_of(application), alert, seconds=application.alerts.timeout_seconds, send=send_alert
    )
    return [alerts.failure_of(target, alert, why) for target, why in told if why is not None]


class AirflowVariable:
    """The Airflow variable in which is kept what no catalog can remember, as tasks reach it."""

    name = "glacier_unreachable_catalogs"

    def read(self) -> str | None:
        from airflow.sdk import Variable

        found: str | None = Variable.get(self.name, default=None)
        return found

    def write(self, text: str) -> None:
        from airflow.sdk import Variable

        Variable.set(self.name, text, description="Of the DAG glacier_alerts: whom it told of what.")


class VariableOfServer(AirflowVariable):
    """The same, as Airflow's own database has it: for who is no task."""

    def read(self) -> str | None:
        from airflow.models.variable import Variable
        from airflow.utils.session import create_session

        with create_session() as session:
            found = session.query(Variable).filter(Variable.key == self.name).first()
            return None if found is None else found.get_val()

    def write(self, text: str) -> None:
        from airflow.models.variable import Variable

        Variable.set(self.name, text)


@contextmanager
def unreachable_catalogs(kept: AirflowVariable | None = None) -> Iterator[Remembered]:
    """Yield what is remembered of catalogs that cannot be asked, which therefore cannot remember it, in an Airflow
    variable; what the block changes is kept, however it ends.

    Where Airflow does not give it, nothing is remembered: told twice is better than not at all.
    """
    kept, known = kept or AirflowVariable(), {}
    try:
        found = json.loads(kept.read() or "{}")
        known = {key: one for key, one in found.items() if {"since", "told"} <= one.keys()}
    except Exception as error:  # noqa: BLE001 - Airflow's own, of many kinds, and JSON that a person wrote
        log.warning("The Airflow variable %s cannot be read (%s).", kept.name, type(error).__name__)
    before = json.dumps(known, sort_keys=True)
    try:
        yield known
    finally:
        if json.dumps(known, sort_keys=True) != before:
            try:
                kept.write(json.dumps(known))
            except Exception as error:  # noqa: BLE001 - as above
                log.warning("The Airflow variable %s cannot be written (%s).", kept.name, type(error).__name__)
