from __future__ import annotations

import pytest

from glacier_provider.core.sqlstate import Meaning, meaning_of, meaning_of_text


@pytest.mark.parametrize(
    ("state", "text", "meaning"),
    [
        ("57014", "canceling statement due to statement timeout", Meaning.CANCELLED),
        ("57014", "canceling statement due to user request", Meaning.CANCELLED),
        ("57014", "storniere Anfrage wegen Zeitüberschreitung", Meaning.CANCELLED),
        ("57P01", "terminating connection due to administrator command", Meaning.CUT),
        ("57P05", "terminating connection due to idle-session timeout", Meaning.CUT),
        ("25P03", "terminating connection due to idle-in-transaction timeout", Meaning.CUT),
        ("57P03", "the database system is starting up", Meaning.STARTING),
        ("40001", "could not serialize access", Meaning.BUSY),
        ("40001", "canceling statement due to conflict with recovery", Meaning.RECOVERY),
        ("40P01", "deadlock detected", Meaning.BUSY),
        ("55P03", "canceling statement due to lock timeout", Meaning.BUSY),
        ("53300", "sorry, too many clients already", Meaning.CONNECTIONS),
        ("53200", "out of shared memory", Meaning.LOCKS),
        ("53200", "out of memory", Meaning.MEMORY),
        ("53100", "could not extend file: No space left on device", Meaning.DISK),
        ("25006", "cannot execute INSERT in a read-only transaction", Meaning.READ_ONLY),
        ("55000", "cannot execute pg_current_xact_id() during recovery", Meaning.READ_ONLY),
        ("42501", "permission denied for table a", Meaning.DENIED),
        ("28P01", "password authentication failed", Meaning.DENIED),
        ("42P01", 'relation "a" does not exist', Meaning.REFUSED),
        ("22012", "division by zero", Meaning.REFUSED),
        ("XX001", "missing chunk number 0 for toast value 1 in pg_toast_2", Meaning.DAMAGED),
        ("54000", "out of memory", Meaning.TOO_LARGE),
    ],
)
def test_an_error_means_what_can_be_done_about_it(state: str, text: str, meaning: Meaning) -> None:
    assert meaning_of(state, text) is meaning


def test_no_hint_of_a_server_that_answered_doubts_that_it_runs() -> None:
    assert not [meaning for meaning in Meaning if "server runs" in meaning.hint]
    assert all(meaning.hint.endswith(".") for meaning in Meaning)


def test_what_passes_says_that_it_is_tried_again() -> None:
    assert [each for each in Meaning if each.passes != ("tried again" in each.hint)] == []


def test_a_sentence_that_is_not_known_has_no_meaning() -> None:
    assert meaning_of_text("something else") is None
    assert meaning_of(None, "something else") is Meaning.REFUSED
