"""Airflow with KubernetesExecutor's rules and without a cluster: each task in a container of its own on this machine.

`PodExecutor` takes from a task's `executor_config` what the KubernetesExecutor would, its pod, and runs what that pod's
container would run: Airflow's own program for one workload. Around it are name spaces of its own: mounts, processes,
shared memory, the host's name. It sees the programs and the code, read-only, and the volumes that the pod mounts;
everything else is empty and gone with it. Its network is this machine's, as that of a pod leads to the services.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from airflow.utils.state import TaskInstanceState

CHECKOUT = Path(__file__).resolve().parents[2]
#: The environment variable that names the file with the directories that stand for claims, and where pods write to.
CLUSTER = "GLACIER_TEST_CLUSTER"
#: What a worker has no business with: it reaches Airflow by the API server alone.
SERVERS_OWN = ("AIRFLOW__DATABASE__", "AIRFLOW__API_AUTH__", "AIRFLOW__API__SECRET", "AIRFLOW__CORE__FERNET", CLUSTER)


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of this machine in a pod; without one, an empty one that is gone with the pod."""

    path: str
    source: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """What `tests.support.pod` makes: `root` is an empty directory, `read_only` is seen where it lies."""

    name: str
    root: str
    read_only: Sequence[str]
    mounts: Sequence[Mount]
    home: str


def may_unshare() -> str | None:
    """Return why this machine permits no name spaces, or None."""
    try:
        tried = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return str(error)
    return tried.stderr.strip() if tried.returncode else None


def mounts_of(pod: Any, claims: Mapping[str, str]) -> list[Mount]:
    """Return what the container `base` of a V1Pod mounts; `claims` are the directories by a claim's name.

    Raise LookupError for what is declared in no volume or no claim, as a cluster leaves such a pod pending.
    """
    if pod is None:
        return []
    volumes = {one.name: one for one in pod.spec.volumes or ()}
    base = next((one for one in pod.spec.containers or () if one.name == "base"), None)
    return [_mount(one, volumes[one.name], claims) for one in (base.volume_mounts if base else None) or ()]


def _mount(told: Any, volume: Any, claims: Mapping[str, str]) -> Mount:
    if volume.empty_dir is not None:
        return Mount(told.mount_path)
    if volume.persistent_volume_claim is None:
        raise LookupError(f"{volume.name} is neither a claim nor an emptyDir")
    source = os.path.join(claims[volume.persistent_volume_claim.claim_name], told.sub_path or "")
    return Mount(told.mount_path, source, bool(told.read_only))


class PodExecutor(BaseExecutor):
    """Runs each task in a pod, two at a time as `[core] parallelism` says."""

    def start(self) -> None:
        self._cluster = json.loads(Path(os.environ[CLUSTER]).read_text())
        self._pods: dict[Any, subprocess.Popen[bytes]] = {}

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            del self.queued_tasks[workload.key]
            self.running.add(workload.key)
            self._pods[workload.key] = self._run(workload)

    def _run(self, workload: Any) -> subprocess.Popen[bytes]:
        ti, logs = workload.ti, Path(self._cluster["logs"])
        name = f"{ti.task_id}-{ti.map_index}-{ti.try_number}-{str(ti.id)[-6:]}".replace("_", "-").replace("--1", "")
        mounts = mounts_of((ti.executor_config or {}).get("pod_override"), self._cluster["claims"])
        root = tempfile.mkdtemp(prefix="pod-", dir=self._cluster["directory"])
        settings = os.environ["GLACIER_APPLICATIONS"]
        read_only = [str(CHECKOUT), sys.prefix, sys.base_prefix, settings]
        pod = Pod(name, root, read_only, mounts, "/opt/airflow")
        told = json.dumps({"pod": asdict(pod), "workload": workload.model_dump_json()})
        environment = {key: value for key, value in os.environ.items() if not key.startswith(SERVERS_OWN)}
        with (logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*_unshare(), sys.executable, "-m", "tests.support.pod"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**environment, "AIRFLOW_HOME": pod.home},
                cwd="/",
            )
        assert process.stdin is not None
        with process.stdin as told_to:
            told_to.write(told.encode())
        with (logs / "pods.jsonl").open("a") as seen:
            seen.write(json.dumps({"pod": name, "mounts": [one.path for one in mounts], "dag": ti.dag_id}) + "\n")
        return process

    def sync(self) -> None:
        for key, process in list(self._pods.items()):
            if (status := process.poll()) is not None:
                del self._pods[key]
                self.change_state(key, TaskInstanceState.FAILED if status else TaskInstanceState.SUCCESS)

    def end(self) -> None:
        for process in self._pods.values():
            process.kill()
            process.wait()

    terminate = end


def _unshare() -> list[str]:
    spaces = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    return spaces if os.geteuid() == 0 else [*spaces, "--user", "--map-current-user", "--keep-caps"]
