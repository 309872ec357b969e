"""Child processes of the demo: each in a session of its own, known by its id, and gone when the demo is."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from demo.report import DemoFailed

CHECKOUT = Path(__file__).resolve().parent.parent
PR_SET_PDEATHSIG = 1
#: What a user's shell may have set for other purposes and the demo's children must not see.
FOREIGN = ("AIRFLOW_", "AWS_", "BOTO_", "GLACIER_", "MOTO_", "PG", "PYTHONPATH")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without other tools' settings; loopback is reached without a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    local = "127.0.0.1,localhost"
    return kept | {"NO_PROXY": local, "no_proxy": local, "PWD": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


class Child:
    """One started process and its log file; its working directory is `PWD` of its environment.

    Start it from the main thread: it ends when the starting thread does.
    """

    def __init__(self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=env["PWD"],
                env=dict(env),
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raise DemoFailed, with the end of the log, when the process ended by itself."""
        if not self.running:
            raise DemoFailed(f"{self.name} ended with status {self._process.returncode}", self.log_end())

    def wait(self, seconds: float) -> None:
        """Wait for a process that ends by itself. Raise DemoFailed when it fails or takes too long."""
        try:
            status = self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"{self.name} took more than {seconds:.0f} s", self.log_end()) from None
        if status:
            raise DemoFailed(f"{self.name} ended with status {status}", self.log_end())

    def log_end(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        """Signal the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def reap(self) -> None:
        """End what is left of the process and its children."""
        self.send(signal.SIGKILL)
        self._process.wait()


class Children:
    """The processes that are to be ended together."""

    def __init__(self, logs: Path, env: Mapping[str, str]) -> None:
        self._logs = logs
        self._env = env
        self._children: list[Child] = []

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """Start a program; `env` is added to the common environment."""
        log = self._logs / f"{name}.log"
        child = Child(name, argv, log=log, env={**self._env, **(env or {})})
        self._children.append(child)
        return child

    def check(self) -> None:
        for child in self._children:
            child.check()

    def finish(self, child: Child, seconds: float) -> None:
        """Wait for a child that ends by itself, and forget it."""
        child.wait(seconds)
        self._children.remove(child)

    def stop(self) -> None:
        """End all at the same time, with what they started: by SIGINT, then SIGTERM, then SIGKILL.

        Airflow's triggerer often needs the second signal; nothing that it does here has to be finished.
        """
        for number, seconds in ((signal.SIGINT, 4.0), (signal.SIGTERM, 3.0)):
            for child in self._running():
                child.send(number)
            deadline = time.monotonic() + seconds
            while self._running() and time.monotonic() < deadline:
                time.sleep(0.05)
        while self._children:
            self._children.pop().reap()

    def _running(self) -> list[Child]:
        return [child for child in self._children if child.running]


def wait_for_line(path: Path, child: Child, seconds: float = 120) -> str:
    """Return the only line of a file that a starting server writes when it is ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        child.check()
        with suppress(FileNotFoundError):
            text = path.read_text()
            if text.endswith("\n") or text.strip():
                return text.strip()
        time.sleep(0.05)
    raise DemoFailed(f"{child.name} was not ready after {seconds:.0f} s", child.log_end())


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
