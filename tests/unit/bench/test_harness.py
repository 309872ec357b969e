"""The measurements themselves: what is counted, how samples are compared, that nothing outlives a bench."""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import SSLError

from bench import servers
from bench.__main__ import all_cases, earlier, file_system, main
from bench.certificates import trusted
from bench.child import measured, python
from bench.harness import Case, Contender, Sample, as_json, measure, medians, rotated, run_case
from bench.processes import BenchFailed
from bench.servers import BUCKET, S3Server, SecureSink, Sink
from bench.workshop import Workshop

SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
FORK_AND_SPIN = "import os, sys\nif os.fork() == 0:\n    {then}\n    os._exit(0)\nos.wait()\n"


def script(code: str, **fields: Any) -> Contender:
    return Contender("script", (sys.executable, "-S", "-c", code), **fields)


# --- what is counted -----------------------------------------------------------------------------------------------


def test_cpu_seconds_are_those_of_the_child_alone() -> None:
    sample = measure(script(SPIN.format(seconds=0.3)))
    assert 0.3 <= sample.cpu < 0.6
    assert sample.wall >= 0.3


def test_cpu_seconds_of_grandchildren_count() -> None:
    spin = "exec(" + repr(SPIN.format(seconds=0.3)) + ")"
    assert measure(script(FORK_AND_SPIN.format(then=spin))).cpu >= 0.3


def test_what_a_child_leaves_running_is_ended_and_counted(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    told = f"with open({str(pid) + '.part'!r}, 'w') as file: file.write(str(os.getpid()))\n"
    told += f"os.rename({str(pid) + '.part'!r}, {str(pid)!r})\n"
    spin = SPIN.format(seconds=0.2) + f"{told}time.sleep(600)\n"
    forked = f"import os, time\nif os.fork() == 0:\n    os.setsid()\n    exec({spin!r})\n"
    sample = measure(script(f"{forked}\nwhile not os.path.exists({str(pid)!r}): time.sleep(0.01)\n"))
    assert sample.cpu >= 0.2
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_waiting_is_no_cpu_time() -> None:
    sample = measure(script("import time; time.sleep(0.4)"))
    assert sample.wall >= 0.4
    assert sample.cpu < 0.3


def test_peak_memory_is_that_of_the_child() -> None:
    small = measure(script("import time; time.sleep(0.2)")).rss
    large = measure(script("import time; x = b'x' * (64 << 20); time.sleep(0.2); del x; time.sleep(0.1)")).rss
    assert small < 40
    assert 60 <= large - small <= 80


def test_memory_that_forked_workers_share_counts_once() -> None:
    code = (
        "import os, time\nx = b'x' * (64 << 20)\nfor _ in 'abc':\n    if os.fork() == 0: time.sleep(0.4); os._exit(0)\n"
    )
    assert measure(script(code + "time.sleep(0.4)\n")).rss < 130


def test_memory_of_different_processes_is_added() -> None:
    code = """
import os, time
full, over = os.pipe(), os.pipe()
for _ in "ab":
    if os.fork() == 0:
        os.close(over[1])
        x = b"x" * (64 << 20)
        os.write(full[1], b".")
        os.read(over[0], 1)  # until the other one is full, too, and somebody had time to look
        os._exit(0)
for _ in "ab":
    os.read(full[0], 1)
time.sleep(0.4)
os.close(over[1])
os.wait(); os.wait()
"""
    assert measure(script(code)).rss > 125


def test_a_failed_contender_is_told_with_its_last_words() -> None:
    with pytest.raises(BenchFailed, match=r"(?s)status 3.*out of cheese"):
        measure(script("print('out of cheese', flush=True); raise SystemExit(3)"))
    assert measure(script("raise SystemExit(3)", quiet_exit=(3,))).status == 3


def test_a_contender_that_hangs_is_ended() -> None:
    with pytest.raises(BenchFailed, match="status -9"):
        measure(script("import time; time.sleep(600)", timeout=0.3))


def test_before_and_after_surround_a_sample() -> None:
    seen: list[object] = []
    contender = script("pass", before=lambda: seen.append("before"), after=lambda sample: seen.append(sample.contender))
    measure(contender)
    assert seen == ["before", "script"]


def test_children_do_not_see_the_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    measure(script("import os; assert 'AWS_PROFILE' not in os.environ"))


def spin_and_report(seconds: float) -> dict[str, float]:
    with measured():
        exec(SPIN.format(seconds=seconds))
    exec(SPIN.format(seconds=0.3))
    return {"rows": 7}


def test_a_function_tells_its_own_time_and_values() -> None:
    sample = measure(python("ours", "tests.unit.bench.test_harness:spin_and_report", arguments={"seconds": 0.1}))
    assert 0.1 <= sample.value("inside_cpu") < 0.3 <= sample.value("cpu")
    assert sample.value("inside") >= 0.1
    assert sample.value("rows") == 7
    with pytest.raises(BenchFailed, match="reported no 'columns'"):
        sample.value("columns")


# --- rounds and ratios ---------------------------------------------------------------------------------------------


def test_each_round_begins_with_another_contender() -> None:
    named = [Contender(name, ("true",)) for name in "abc"]
    assert ["".join(each.name for each in rotated(named, number)) for number in range(4)] == [
        "abc",
        "bca",
        "cab",
        "abc",
    ]


def test_rounds_are_interleaved_and_told() -> None:
    @contextmanager
    def two(_workshop: Workshop) -> Iterator[Sequence[Contender]]:
        yield [Contender("one", ("true",)), Contender("two", ("true",))]

    told: list[str] = []
    with Workshop() as workshop:
        samples = run_case(Case("t", "title", two, most_rounds=2), workshop, rounds=5, tell=told.append)
    assert [(sample.round, sample.contender) for sample in samples] == [(0, "one"), (0, "two"), (1, "two"), (1, "one")]
    assert len(told) == 4
    assert set(medians(samples)) == {"one", "two"}


def test_results_keep_what_was_measured_and_not_what_was_printed() -> None:
    kept = as_json(Sample("ours", 0, 1.23456789, 0.5, 10.0, 0.0, 0.0, 0, {"rows": 3}))
    assert (kept["wall"], kept["values"]) == (1.2346, {"rows": 3})
    assert "output" not in kept


# --- the workshop and its servers ----------------------------------------------------------------------------------


def test_data_is_made_once_and_goes_with_the_workshop(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> Path:
        made.append(path)
        path.mkdir()
        return path

    with Workshop() as workshop:
        assert workshop.made("tree", make) == workshop.made("tree", make)
        assert len(made) == 1
        assert workshop.scaled(100) == 100
    assert not made[0].parent.exists()
    with Workshop(tmp_path, scale=0.1) as workshop:
        assert workshop.made("tree", make).parent == tmp_path
        assert (workshop.scaled(100), workshop.scaled(1), workshop.scaled(50, least=20)) == (10, 1, 20)
    assert made[1].exists(), "a directory that was given is kept"


def test_too_little_room_is_told_beforehand() -> None:
    with Workshop() as workshop, pytest.raises(BenchFailed, match="are needed"):
        workshop.need(1 << 60)


@pytest.mark.parametrize("compiled", [True, False], ids=["the sink of C", "the sink of Python"])
def test_the_sink_answers_as_s3_and_keeps_no_bytes(
    compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(servers, "_compiler", lambda: None)
    elif servers._compiler() is None:
        pytest.skip("no C compiler")
    with Sink(directory=tmp_path) as sink:
        pid = sink.pid
        put_and_ask(sink)
        upload_in_parts(sink)
        read_a_file(sink, tmp_path)
        assert sink.stored() == (2, 20_000 + 5 * 1024 * 1024 + 7)
        sink.forget()
        assert sink.stored() == (0, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_sink_over_tls_answers_the_same_to_who_trusts_it(tmp_path: Path) -> None:
    if servers._compiler() is None or not Path("/usr/include/openssl/ssl.h").exists():
        pytest.skip("no C compiler, or no headers of OpenSSL")
    with SecureSink(directory=tmp_path) as sink:
        assert sink.url.startswith("https://")
        put_and_ask(sink)
        upload_in_parts(sink)
        read_a_file(sink, tmp_path)
        with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            boto3_client_that_trusts_nobody(sink.url).list_buckets()
    assert trusted() is None


def boto3_client_that_trusts_nobody(url: str) -> Any:
    import boto3

    session = boto3.session.Session(aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1")
    return session.client("s3", endpoint_url=url)


def put_and_ask(sink: S3Server) -> None:
    client = sink.client()
    body = b"x" * 20_000
    told = sha256_of(body)
    put = {"Bucket": BUCKET, "Key": "a dir/ä", "ChecksumSHA256": told, "Metadata": {"k": "v"}}
    assert client.put_object(**put, Body=body, IfNoneMatch="*")["ChecksumSHA256"] == told
    head = client.head_object(Bucket=BUCKET, Key="a dir/ä", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ChecksumSHA256"], head["Metadata"]) == (20_000, told, {"k": "v"})
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(**put, Body=body, IfNoneMatch="*")
    with pytest.raises(client.exceptions.ClientError, match="InvalidObjectState"):
        client.get_object(Bucket=BUCKET, Key="a dir/ä")
    with pytest.raises(client.exceptions.ClientError, match="404"):
        client.head_object(Bucket=BUCKET, Key="nothing")


def sha256_of(body: bytes) -> str:
    """As a header of its own: over TLS boto3 sends it behind the body, otherwise, as the product never does."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def upload_in_parts(sink: S3Server) -> None:
    client, address = sink.client(), {"Bucket": BUCKET, "Key": "large"}
    upload = {**address, "UploadId": client.create_multipart_upload(**address, ChecksumAlgorithm="SHA256")["UploadId"]}
    bodies = [b"y" * 5 * 1024 * 1024, b"the end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        told = client.upload_part(**upload, PartNumber=number, Body=body, ChecksumSHA256=sha256_of(body))
        parts.append({"PartNumber": number, "ETag": told["ETag"], "ChecksumSHA256": told["ChecksumSHA256"]})
    done = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    composite = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies)).digest()
    assert done["ChecksumSHA256"] == f"{base64.b64encode(composite).decode()}-2"


def read_a_file(sink: S3Server, directory: Path) -> None:
    (directory / "held").write_bytes(bytes(range(256)))
    (directory / "held.headers").write_text("x-amz-meta-k: v\n")
    told = sink.client().get_object(Bucket=BUCKET, Key="held", Range="bytes=10-19")
    assert told["Body"].read() == bytes(range(10, 20))
    assert (told["ContentRange"], told["Metadata"]) == ("bytes 10-19/256", {"k": "v"})


def test_the_work_of_a_server_is_not_that_of_others() -> None:
    with Workshop() as workshop, workshop.serving(Sink()) as sink:
        code = (
            "import socket\n"
            f"c = socket.create_connection(('127.0.0.1', {sink.port}))\n"
            "for _ in range(20000):\n"
            "    c.sendall(b'PUT /b/k HTTP/1.1\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
            "    c.recv(4096)\n"
        )
        sample = measure(script(code), servers=workshop.server_ids())
        assert sample.server_cpu > 0
        assert workshop.server_ids() == [sink.pid]
    assert workshop.server_ids() == []


# --- the program ---------------------------------------------------------------------------------------------------


def test_every_target_names_contenders_once() -> None:
    cases = list(all_cases())
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    targets = [target.name for case in cases for target in case.targets]
    assert len(set(targets)) == len(targets)


def test_a_word_that_no_case_begins_with_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cases", "t99"]) == 2
    assert "t99" in capsys.readouterr().err


def test_the_file_system_of_a_directory_is_known() -> None:
    assert file_system(Path("/proc/self")) == "proc"


def test_what_is_not_measured_again_stays_in_the_results(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    assert earlier(results, 1.0) == {}
    results.write_text('{"scale": 1.0, "cases": [{"name": "t03", "samples": []}, {"name": "t99"}]}')
    assert earlier(results, 1.0) == {"t03": {"name": "t03", "samples": [], "targets": []}}, "t99 is no case any more"
    assert earlier(results, 0.1) == {}, "figures of another size are not put beside these"


def test_no_module_of_the_bench_imports_one_that_imports_it() -> None:
    bench = Path(servers.__file__).parent
    modules = {".".join(path.relative_to(bench.parent).with_suffix("").parts): path for path in bench.rglob("*.py")}
    needs = {name: _imported(path) & modules.keys() for name, path in modules.items()}
    TopologicalSorter(needs).prepare()  # raises CycleError with the circle


def _imported(path: Path) -> set[str]:
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}{end}" for node in found for end in ("", *(f".{each.name}" for each in node.names))}
