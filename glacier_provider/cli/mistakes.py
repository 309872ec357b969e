"""What the command line says of an error: a sentence, what to do next, and never a traceback."""

from __future__ import annotations

import re

from glacier_provider.errors import GlacierProviderError

#: Set to anything, it shows the traceback of an error all the same: for whoever reports it.
TRACEBACK = "GLACIER_TRACEBACK"


def told(error: BaseException) -> str:
    """Return what is said of an error; one that is not of our family keeps its type's name and first line."""
    if isinstance(error, GlacierProviderError):
        return f"{type(error).__name__}: {error}"
    root = getattr(error, "orig", None) or error  # SQLAlchemy's wrapping, which quotes statement and parameters
    kind, words = type(root).__name__, _words(root)
    module = type(root).__module__.partition(".")[0]
    if isinstance(root, EOFError):
        return "the answer was not given. Nothing was changed."
    if module in ("psycopg", "sqlalchemy"):
        return f"{kind}: {words} See the log of the catalog's database server."
    if module in ("botocore", "boto3", "urllib3"):
        return f"{kind}: {words} Check the AWS connection and the way to the store."
    if isinstance(root, TimeoutError):
        return f"{kind}: {words} Try again, and look whether the server that was asked is overloaded."
    if isinstance(root, OSError):
        return f"{kind}: {words} Check that this user may use it."
    return f"{kind}: {words} This is unexpected: please report it, with the output of {TRACEBACK}=1."


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.strerror}: {error.filename}"
    else:
        text = (str(error).strip().splitlines() or ["no words"])[0]
    text = re.sub(r"://[^/@\s]*@", "://…@", text)
    text = re.sub(r"(?i)(password\s*[=:]\s*)\S+", r"\1…", text)
    return text if text.endswith((".", "!", "?")) else f"{text}."
