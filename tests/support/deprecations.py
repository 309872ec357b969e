"""What Airflow calls deprecated, and our own code uses."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import glacier_provider

_PACKAGE = Path(glacier_provider.__file__).parent
_OURS = tuple(str(place) for place in (_PACKAGE, _PACKAGE.parent / "dags"))
#: Between who uses a deprecated name and who warns of it; Python 3.14 warns in `_py_warnings.py`.
_WARN = ("/warnings.py", "/_py_warnings.py", "/typing_extensions.py", "/deprecated/")
_BETWEEN = ("-packages/airflow/", "importlib", *_WARN, __file__)


@contextmanager
def deprecations() -> Iterator[list[str]]:
    """Yield a list to which each use of ours is added that Airflow warns of; other warnings go where they went."""
    found: list[str] = []
    with warnings.catch_warnings():
        show: Any = warnings.showwarning

        def note(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
            user = _user(sys._getframe(1))
            if issubclass(category, DeprecationWarning) and _is_airflows(category, message) and user:
                found.append(f"{user}: {message}")
            show(message, category, *rest, **more)

        warnings.simplefilter("always", DeprecationWarning)
        warnings.showwarning = note
        yield found


def _is_airflows(category: type[Warning], message: object) -> bool:
    return category.__module__.startswith("airflow") or "airflow" in str(message).lower()


def _user(frame: FrameType | None) -> str | None:
    """Return the place that used what is deprecated, if it is ours."""
    while frame is not None and any(part in frame.f_code.co_filename for part in _BETWEEN):
        frame = frame.f_back
    if frame is None or not frame.f_code.co_filename.startswith(_OURS):
        return None
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
