"""The first process of a pod of `tests.support.pods`: makes what it may see, runs the workload, and ends with it.

It reads the pod and the workload from its standard input, and is the first of its process name space: with its end
every other process in there ends.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev")
EMPTY = ("tmp", "var/tmp", "root", "home", "run", "dev/shm")
WORKLOAD = "airflow.sdk.execution_time.execute_workload"


def main() -> int:
    told = json.load(sys.stdin)
    pod, root = told["pod"], Path(told["pod"]["root"])
    socket.sethostname(pod["name"][:60])
    _mount("-t", "tmpfs", "pod", root)
    for name in SYSTEM:
        _see(Path("/") / name, root)
    for name in (*EMPTY, pod["home"].lstrip("/")):
        _empty(root / name)
    for path in pod["read_only"]:  # these may lie below what is empty else, as Python does in somebody's home
        _see(Path(path), root)
    for one in pod["mounts"]:
        place = root / one["path"].lstrip("/")
        if one["source"] is None:
            _empty(place)
        else:
            place.mkdir(parents=True, exist_ok=True)
            _mount("--rbind", one["source"], place)
            if one["read_only"]:
                _mount("-o", "remount,bind,ro", place)
    (root / "proc").mkdir()
    _mount("-t", "proc", "proc", root / "proc")
    _mount("-o", "remount,ro", root)
    os.chroot(root)
    os.chdir("/")
    return subprocess.run([sys.executable, "-m", WORKLOAD, "--json-string", told["workload"]], check=False).returncode


def _see(path: Path, root: Path) -> None:
    """Show a file or directory of this machine, read-only, at its own place."""
    place = root / str(path).lstrip("/")
    if path.is_symlink():
        place.symlink_to(path.readlink())
        return
    if not path.exists() or place.is_mount():
        return
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount("--rbind", path, place)
    if path != Path("/dev"):
        _mount("-o", "remount,bind,ro", place)


def _empty(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", "mode=1777", "pod", place)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


if __name__ == "__main__":
    sys.exit(main())
