"""Other tools and the physical limits, as contenders of the same work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.certificates import trusted
from bench.child import python
from bench.harness import Contender
from bench.servers import BUCKET, KEY_ID, REGION, SECRET, S3Server, program

#: rclone without any question about what it just sent; each request still carries what S3 checks.
LEAN = ("--s3-no-head", "--s3-no-head-object", "--ignore-checksum")
#: rclone with larger parts, more of them at once, and no MD5 of the whole file beforehand.
TUNED = ("--s3-chunk-size", "16M", "--s3-upload-concurrency", "8", "--s3-disable-checksum")


def rclone_environment(server: S3Server) -> dict[str, str]:
    """Return the configuration of the remote `bench:` for rclone."""
    settings = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": server.url, "REGION": REGION, "FORCE_PATH_STYLE": "true",
                "ACCESS_KEY_ID": server.key_id, "SECRET_ACCESS_KEY": server.secret, "LIST_VERSION": "2"}  # fmt: skip
    env = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in settings.items()} | {"RCLONE_CONFIG": os.devnull}
    return env | ({"RCLONE_CA_CERT": trust} if (trust := trusted()) else {})


def rclone(
    name: str, server: S3Server, command: str, source: str, target: str, *options: str, **fields: Any
) -> Contender:
    """Return `rclone COMMAND SOURCE TARGET OPTIONS`; a place on the server is `bench:bucket/prefix`."""
    argv = (program("rclone"), command, source, target, *options, "--retries", "1", "--log-level", "ERROR")
    return Contender(name=name, argv=argv, env=rclone_environment(server) | fields.pop("env", {}), **fields)


def rclone_copy(name: str, server: S3Server, source: Path, prefix: str, *options: str, **fields: Any) -> Contender:
    """Return the upload of a directory, one object a file."""
    return rclone(name, server, "copy", str(source), f"bench:{BUCKET}/{prefix}", *options, **fields)


def rclone_copyto(name: str, server: S3Server, source: Path, key: str, *options: str, **fields: Any) -> Contender:
    """Return the upload of one file."""
    return rclone(name, server, "copyto", str(source), f"bench:{BUCKET}/{key}", *options, **fields)


def rclone_sync(name: str, server: S3Server, source: Path, prefix: str, *options: str, **fields: Any) -> Contender:
    """Return the daily run of rclone at its quickest: by size, with one listing."""
    quick = ("--size-only", "--fast-list", *options)
    return rclone(name, server, "sync", str(source), f"bench:{BUCKET}/{prefix}", *quick, **fields)


def restic(name: str, repository: Path, *arguments: str, **fields: Any) -> Contender:
    """Return a run of restic on a repository on disk: the quickest place that it knows."""
    cache = repository.with_name(repository.name + "-cache")
    env = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repository), "RESTIC_CACHE_DIR": str(cache)}
    return Contender(name=name, argv=(program("restic"), *arguments, "--quiet"), env=env, **fields)


def aws_environment(server: S3Server) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": server.key_id,
        "AWS_SECRET_ACCESS_KEY": server.secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # SeaweedFS and rclone do not know the trailers that newer clients send by default
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def aws_sync(name: str, server: S3Server, source: Path, prefix: str, *options: str, **fields: Any) -> Contender:
    """Return `aws s3 sync` of a directory."""
    argv = (program("aws"), "s3", "sync", str(source), f"s3://{BUCKET}/{prefix}", "--endpoint-url", server.url,
            "--only-show-errors", *options)  # fmt: skip
    return Contender(name=name, argv=argv, env=aws_environment(server), **fields)


def aws_copy(name: str, server: S3Server, source: Path, key: str, **fields: Any) -> Contender:
    """Return `aws s3 cp` of a file."""
    argv = (program("aws"), "s3", "cp", str(source), f"s3://{BUCKET}/{key}", "--endpoint-url", server.url,
            "--only-show-errors")  # fmt: skip
    return Contender(name=name, argv=argv, env=aws_environment(server), **fields)


def find_files(name: str, directory: Path, *options: str, **fields: Any) -> Contender:
    """Return `find -type f`, or with options as in `-printf '%s %p\\n'`."""
    return _to_null(name, ["find", str(directory), "-type", "f", *options], **fields)


def read_all(name: str, path: Path, **fields: Any) -> Contender:
    """Return the reading of a file by `dd`: the physical limit of every upload of it."""
    return Contender(name=name, argv=("dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"), **fields)


def boto3_loop(name: str, server: S3Server, source: Path, *, threads: int = 1, count: int, **fields: Any) -> Contender:
    """Return a plain loop of put_object over the first `count` files, in `threads` threads with a client in common."""
    arguments = {"url": server.url, "source": str(source), "threads": threads, "count": count}
    return python(name, "bench.peers:put_files", arguments=arguments, items=count, **fields)


def amazon_operator(name: str, server: S3Server, source: Path, *, count: int, **fields: Any) -> Contender:
    """Return the amazon provider's LocalFilesystemToS3Operator, executed for each of the first `count` files."""
    env = {"AIRFLOW_CONN_AWS_DEFAULT": server.connection()} | dict(fields.pop("env", {}))
    arguments = {"source": str(source), "count": count}
    return python(name, "bench.peers:run_operator", arguments=arguments, items=count, env=env, **fields)


def minimal_client(name: str, server: S3Server, path: Path, **fields: Any) -> Contender:
    """Return the least that a client of S3 has to do for a large file: read, SHA-256 of each part, send."""
    arguments = {"url": server.url, "path": str(path)}
    return python(name, "bench.minimal:send_file", arguments=arguments, **fields)


def minimal_small(name: str, server: S3Server, source: Path, *, count: int, **fields: Any) -> Contender:
    """Return the least for small files: list, open, read, SHA-256, one PUT each, in two processes."""
    arguments = {"url": server.url, "source": str(source), "count": count}
    return python(name, "bench.minimal:send_small", arguments=arguments, items=count, **fields)


def _to_null(name: str, argv: Sequence[str], **fields: Any) -> Contender:
    """Return a command whose output is thrown away, as `command > /dev/null` does."""
    return Contender(name=name, argv=("sh", "-c", 'exec "$@" > /dev/null', "sh", *argv), **fields)


def pg_dump(name: str, tool: Path, server: Any, *options: str, to_null: bool = False, **fields: Any) -> Contender:
    """Return pg_dump of a database with these options."""
    argv = [str(tool), "-h", server.host, "-p", str(server.port), "-U", server.user, "-d", server.dbname, *options]
    env = {"PGPASSWORD": server.password or ""}
    return (_to_null if to_null else Contender)(name=name, argv=argv, env=env, **fields)


def pg_restore(name: str, tool: Path, server: Any, *options: str, **fields: Any) -> Contender:
    """Return pg_restore into a database with these options, the dump last."""
    argv = [str(tool), "-h", server.host, "-p", str(server.port), "-U", server.user, "-d", server.dbname, *options]
    return Contender(name=name, argv=argv, env={"PGPASSWORD": server.password or ""}, **fields)


def vacuumdb(name: str, tool: Path, server: Any, *options: str, **fields: Any) -> Contender:
    """Return vacuumdb of a database with these options."""
    argv = [str(tool), "-h", server.host, "-p", str(server.port), "-U", server.user, "-d", server.dbname, *options]
    return Contender(name=name, argv=argv, env={"PGPASSWORD": server.password or ""}, **fields)


def in_turn(name: str, commands: Sequence[Contender], **fields: Any) -> Contender:
    """Return several contenders' commands, one after the other, as one."""
    script = " && ".join(f"{{ {' '.join(_quoted(word) for word in each.argv)}; }}" for each in commands)
    env: dict[str, str] = {}
    for each in commands:
        env |= each.env
    return Contender(name=name, argv=("sh", "-c", script), env=env, **fields)


def piped(name: str, commands: Sequence[Contender], **fields: Any) -> Contender:
    """Return several contenders' commands, each reading what the one before writes, as one; the last one's status."""
    one = in_turn(name, commands, **fields)
    script = " | ".join(" ".join(_quoted(word) for word in each.argv) for each in commands)
    return replace(one, argv=("sh", "-c", script))


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


# --- run in processes of their own ---------------------------------------------------------------------------------


def first_files(source: str, count: int) -> list[str]:
    """Return the paths of the first `count` files of a tree."""
    found: list[str] = []
    for folder, folders, names in os.walk(source):
        folders.sort()
        found += [os.path.join(folder, name) for name in sorted(names)]
        if len(found) >= count:
            break
    return found[:count]


def a_client(url: str, **config: Any) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, region_name=REGION)
    options: dict[str, Any] = {"s3": {"addressing_style": "path"}, "request_checksum_calculation": "when_required"}
    return session.client("s3", endpoint_url=url, config=Config(**options, **config))


def put_files(url: str, source: str, threads: int, count: int) -> Mapping[str, float]:
    from concurrent.futures import ThreadPoolExecutor

    client = a_client(url, max_pool_connections=threads)

    def put(path: str) -> None:
        with open(path, "rb") as file:
            client.put_object(Bucket=BUCKET, Key=f"boto3/{os.path.relpath(path, source)}", Body=file.read())

    each: Callable[..., Any] = map
    if threads == 1:
        sent = sum(1 for _ in each(put, first_files(source, count)))
    else:
        with ThreadPoolExecutor(threads) as pool:
            sent = sum(1 for _ in pool.map(put, first_files(source, count)))
    return {"sent": sent}


def restore_objects(url: str, keys: str, threads: int) -> Mapping[str, float]:
    """Ask for objects back by a plain loop of restore_object, in threads with a client in common."""
    from concurrent.futures import ThreadPoolExecutor

    client = a_client(url, max_pool_connections=threads)
    wish = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}

    def ask(key: str) -> None:
        client.restore_object(Bucket=BUCKET, Key=key, RestoreRequest=wish)

    with ThreadPoolExecutor(threads) as pool:
        asked = sum(1 for _ in pool.map(ask, json.loads(Path(keys).read_text())))
    return {"asked": asked}


def run_operator(source: str, count: int) -> Mapping[str, float]:
    from airflow.providers.amazon.aws.transfers.local_to_s3 import LocalFilesystemToS3Operator

    paths = first_files(source, count)
    for number, path in enumerate(paths):
        key = f"operator/{os.path.relpath(path, source)}"
        operator = LocalFilesystemToS3Operator(
            task_id=f"upload_{number}", filename=path, dest_bucket=BUCKET, dest_key=key, replace=True
        )
        operator.execute({})
    return {"sent": len(paths)}
