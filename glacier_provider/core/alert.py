"""Who is called, for what, and with which words. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from glacier_provider.core.condition import ASKED_FOR, Event, Grade, Happening, Trouble
from glacier_provider.core.text import plain_text
from glacier_provider.errors import ConfigurationError

#: What somebody is called for unless `alerts.on` says otherwise.
CALLED_FOR = tuple(event.value for event in Event if event not in (Event.RESTORE_ENDED, Event.DELETION, *ASKED_FOR))
#: What happened longer ago is told to nobody who was not told of it then.
NEWS = timedelta(days=1)
EXAMPLE = "ops@example.com"
#: Chats take no more, and nobody reads on.
_LONGEST = 1500
_KINDS = {"email": {"conn_id", "from"}, "webhook": set(), "apprise": set(), "notifier": {"with"}}
_CONN_ID = r"[\w.-]{1,250}"
_EMAIL = r"[^\s@<>,;:]+@[^\s@<>,;:]+"
_WEBHOOK = r"https?://[^\s/@?#]+([/?][^\s]*)?"
_CLASS = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+"


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """Where alerts go: `kind` is email, webhook, apprise or notifier; `address` what that needs.

    That is a mail address; an Airflow connection (or the URL of a webhook); the dotted name of a notifier's class.
    """

    kind: str
    address: str
    options: Mapping[str, Any]

    @classmethod
    def from_given(cls, given: Any) -> AlertTarget:
        """Return the target that an entry of `alerts.to` names; raise ConfigurationError."""
        if isinstance(given, str):
            given = {"webhook" if "://" in given else "email": given}
        kinds = [kind for kind in _KINDS if isinstance(given, Mapping) and kind in given]
        if len(kinds) != 1:
            raise ConfigurationError(f"it is one of {', '.join(_KINDS)}", hint="")
        kind, options = kinds[0], {name: value for name, value in given.items() if name != kinds[0]}
        if unknown := sorted(str(name) for name in options if name not in _KINDS[kind]):
            raise ConfigurationError(f"{kind} has no {unknown[0]!r}", hint="")
        address, form, words = given[kind], *_FORMS[kind]
        if not (isinstance(address, str) and re.fullmatch(form, address)):
            raise ConfigurationError(f"{kind} is {words}", hint="")
        if kind == "notifier" and not isinstance(options.get("with", {}), Mapping):
            raise ConfigurationError("with is a mapping of the notifier's arguments", hint="")
        return cls(kind, address, options)

    def as_dict(self) -> dict[str, Any]:
        return {self.kind: self.address, **self.options}

    @property
    def id(self) -> str:
        """What the catalog knows it by: nothing of an address is kept there."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True, default=str).encode()).hexdigest()[:32]

    @property
    def name(self) -> str:
        """How it is called in logs. The URL of a webhook is a secret: its host alone is told."""
        address = re.sub(r"^(https?://[^/?#]+).*", r"\1/…", self.address)
        return f"{self.kind} {address}"


_FORMS = {
    "email": (_EMAIL, "a mail address"),
    "webhook": (rf"{_CONN_ID}|{_WEBHOOK}", "an Airflow connection, or a URL without user and password"),
    "apprise": (_CONN_ID, "the id of an Airflow connection whose password is the Apprise URL"),
    "notifier": (_CLASS, "the dotted name of a notifier's class"),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """A message: what happened, to what, since when, what to do, and where to look.

    `state` is the same for as long as there is nothing new to tell.
    """

    application: str
    event: Event
    grade: Grade
    told: str
    hint: str
    since: datetime | None = None
    state: str = ""
    link: str = ""

    @property
    def subject(self) -> str:
        return f"[{self.grade.name}] {self.application}: {_sentence(self.told).splitlines()[0][:150]}"

    @property
    def text(self) -> str:
        """Return the message as plain text."""
        since = f"Since {self.since:%Y-%m-%d %H:%M} UTC." if self.since else ""
        return "\n".join(filter(None, (f"{self.application}: {_sentence(self.told)}", since, self.hint, self.link)))

    def sendable(self) -> Alert:
        """Return it as all kinds of targets take it: of characters that can be printed, and not too long."""
        return replace(self, told=_sendable(self.told), hint=_sendable(self.hint))

    def as_dict(self) -> dict[str, Any]:
        """Return what a webhook is told: `text` is what chats show of it."""
        return {
            "application": self.application,
            "event": self.event.value,
            "severity": self.grade.name.lower(),
            "subject": self.subject,
            "text": self.text,
            "told": self.told,
            "hint": self.hint,
            "since": self.since.isoformat() if self.since else None,
            "link": self.link,
        }


def alerts_of(
    troubles: Iterable[Trouble], happenings: Iterable[Happening], *, on: Iterable[str], link: str = ""
) -> list[Alert]:
    """Return what is to be told of an application, to whoever was not told yet."""
    wanted = set(on)
    found = [
        Alert(one.application, one.event, one.grade, one.told, one.hint, one.since, one.state, link) for one in troubles
    ]
    found += [_of_happening(one, link) for one in happenings]
    return [one for one in _numbered(found) if one.event in wanted]


def _numbered(alerts: Iterable[Alert]) -> Iterator[Alert]:
    """Yield alerts whose states are short, whatever they were made from."""
    for one in alerts:
        digest = hashlib.sha256(one.state.encode(errors="surrogatepass")).hexdigest()[:16]
        yield one if len(one.state) <= 100 else replace(one, state=digest)


def _of_happening(one: Happening, link: str) -> Alert:
    if one.kind == "approval":
        told = f"restore {one.id} of backup {one.backup_id} waits for a person's approval"
        hint = "Approve or reject it in Airflow, under Required Actions."
        return Alert(one.application, Event.APPROVAL_WAITING, Grade.WARNING, told, hint, one.at, str(one.id), link)
    if one.kind == "deletion":
        told = f"backup {one.id} is deleted" if one.state == "deleted" else f"the deletion of backup {one.id} began"
        hint = f"If nobody wanted that: glacier-backup show {one.id}"
        return Alert(one.application, Event.DELETION, Grade.WARNING, told, hint, one.at, f"{one.id} {one.state}", link)
    failed = one.state == "failed"
    told = f"restore {one.id} of backup {one.backup_id} " + (f"failed: {one.why}" if failed else "is complete")
    grade, hint = (Grade.CRITICAL, "Mend what it names, and clear the failed task.") if failed else (Grade.OK, "")
    event = Event.RESTORE_FAILED if failed else Event.RESTORE_ENDED
    return Alert(one.application, event, grade, told, hint, one.at, f"{one.id} {one.at.isoformat()}", link)


def a_test_alert(application: str, now: datetime, link: str) -> Alert:
    """Return what `glacier-backup alerts test` sends."""
    told, hint = "this is a test: alerts of this application reach you", "Nothing has to be done."
    return Alert(application, Event.TEST, Grade.OK, told, hint, now, "", link)


def a_reported_alert(application: str, told: str, now: datetime, link: str) -> Alert:
    """Return what `GlacierNotifier` sends of a task whose run is neither a backup nor a restore."""
    return Alert(application, Event.REPORTED, Grade.CRITICAL, told, "See its log, and clear it.", now, "", link)


def _sendable(text: str) -> str:
    plain = plain_text(text)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")
