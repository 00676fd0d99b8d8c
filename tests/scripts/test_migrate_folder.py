"""Many checkpoints in one go: each is told of, a failure stops none, a crash loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import migrate_folder
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.signals import heard
from support.tensor_files import SHARED

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "migrate_folder.py"


def state(seed):
    random = np.random.default_rng(seed)
    return {"head.weight": random.normal(size=(4, 5)).astype(np.float32)}


def command(*arguments):
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def started(*arguments):
        return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)

    return started


@pytest.fixture
def models(tmp_path):
    """Return a folder with two formats, shards, a file that is broken and one that is none."""
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    save_file(state(1), folder / "a.safetensors")
    np.savez(folder / "deep" / "a.npz", **state(2))
    (folder / "broken.safetensors").write_bytes((99).to_bytes(8, "little") + b'{"a":')
    (folder / "notes.txt").write_text("not a checkpoint\n")
    save_file(state(3), folder / "b-1.safetensors")
    index = {"metadata": {}, "weight_map": {"head.weight": "b-1.safetensors"}}
    (folder / "b.safetensors.index.json").write_text(json.dumps(index))
    return folder


def rows(report):
    found = json.loads(report.read_text())
    return {Path(row["source"]).name: row for row in found["jobs"]}


def test_a_folder_is_converted_and_a_second_run_does_what_failed_and_what_changed(run, models):
    Path("out").mkdir()
    Path("out/c.npz.safetensors").write_bytes(b"precious")  # somebody else's
    np.savez(models / "c.npz", **state(4))
    outcome = run("models", "--out", "out")
    assert (outcome.returncode, outcome.stderr) == (1, "")
    assert outcome.stdout.splitlines()[0] == "6 jobs, 0 done before"
    assert outcome.stdout.splitlines()[-1] == "3 done, 2 failed, 1 skipped"
    found = rows(Path("out/report.json"))
    assert {name: row["status"] for name, row in found.items()} == {
        "a.safetensors": "done",
        "a.npz": "done",
        "b.safetensors.index.json": "done",  # and not its shard once more
        "broken.safetensors": "failed",
        "c.npz": "failed",
        "notes.txt": "skipped",
    }
    assert found["a.npz"]["target"] == str(Path("out/deep/a.npz.safetensors"))
    assert found["a.npz"]["result"]["tensors"] == 1
    assert found["broken.safetensors"]["error"]["type"] == "CorruptFileError"
    assert found["c.npz"]["error"]["type"] == "TargetExistsError"
    assert Path("out/c.npz.safetensors").read_bytes() == b"precious"
    assert_holds({"a.safetensors": 1, "deep/a.npz": 2, "b.safetensors.index.json": 3})
    kept = Path("out/deep/a.npz.safetensors").stat().st_mtime_ns

    save_file(state(9), models / "a.safetensors")
    save_file(state(8), models / "broken.safetensors")
    outcome = run("models", "--out", "out", "--force")
    assert outcome.returncode == 0
    assert outcome.stdout.splitlines()[0] == "6 jobs, 3 done before"
    assert len(outcome.stdout.splitlines()) == 5
    assert_holds({"a.safetensors": 9, "broken.safetensors": 8, "c.npz": 4})
    assert Path("out/deep/a.npz.safetensors").stat().st_mtime_ns == kept


def assert_holds(seeds):
    for name, seed in seeds.items():
        found = load_file(f"out/{name}.safetensors")
        assert found["head.weight"].tobytes() == state(seed)["head.weight"].tobytes()


LIST = """
[defaults]
dtype = "bfloat16"

[[jobs]]
source = "models/a.safetensors"
target = "out/narrow.safetensors"
sidecar = true

[[jobs]]
source = "models/a.safetensors"
target = "out/other.npz"
dtype = "float16"
xyzzy = "sweet"
"""


def test_a_list_gives_each_job_its_options(run, models):
    Path("jobs.toml").write_text(LIST)
    outcome = run("jobs.toml", "--workers", "1")
    assert outcome.returncode == 1
    assert load_file("out/narrow.safetensors")["head.weight"].dtype == "bfloat16"
    assert Path("out/narrow.safetensors.provenance.json").exists()
    found = json.loads(Path("jobs.report.json").read_text())["jobs"]
    assert found[1]["error"]["summary"] == "No such option: --xyzzy"
    Path("jobs.toml").write_text(LIST.replace('xyzzy = "sweet"\n', ""))
    outcome = run("jobs.toml")
    assert (outcome.returncode, outcome.stdout.splitlines()[0]) == (0, "2 jobs, 1 done before")
    assert np.load("out/other.npz")["head.weight"].dtype == np.float16


USAGE = [
    (("nowhere", "--out", "out"), "nowhere"),
    (("models",), "a folder needs --out"),
    (("models", "--out", "out", "--workers", "0"), "--workers must be 1 or more"),
    (("jobs.toml",), "jobs.toml: job 1 has no source or no target"),
    (("twice.toml",), "several jobs write b.npz"),
]


@pytest.mark.parametrize(("arguments", "text"), USAGE, ids=lambda value: str(value)[:30])
def test_bad_usage_is_exit_code_2(run, models, arguments, text):
    Path("jobs.toml").write_text('[[jobs]]\nsource = "a"\n')
    Path("twice.toml").write_text('[[jobs]]\nsource = "a"\ntarget = "b.npz"\n' * 2)
    outcome = run(*arguments)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert text in outcome.stderr
    assert not Path("out").exists()


def test_a_source_that_changes_while_it_is_converted_is_converted_again(tmp_path):
    """What the report says is of the source as it was when the job began."""
    source, target = tmp_path / "a.safetensors", tmp_path / "a.npz"
    save_file(state(0), source)
    job = migrate_folder.Job(str(source), str(target), (), tmp_path)
    report = migrate_folder.Report(tmp_path / "report.json", [job])
    report.put(job, "running")
    target.write_bytes(b"made of the source as it was")
    save_file(state(1) | {"more": np.zeros(3, "f4")}, source)
    report.put(job, "done")
    assert not migrate_folder.Report(tmp_path / "report.json", [job]).is_done(job)


def until_done(count, process, report):
    """Wait until so many jobs are done."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if report.exists() and json.loads(report.read_text())["counts"].get("done", 0) >= count:
            return
        time.sleep(0.01)
    raise AssertionError("the script ended, or did nothing, before it could be stopped")


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_stopped_in_the_middle_it_does_only_the_rest(run, tmp_path, number):
    (tmp_path / "models").mkdir()
    for seed in range(4):
        save_file(state(seed), tmp_path / "models" / f"{seed}.safetensors")
    arguments = ("models", "--out", "out", "--workers", "1", "--suffix", ".npz")
    report = tmp_path / "out" / "report.json"
    with heard(signal.SIGINT):
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    with process:
        until_done(1, process, report)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert said == "interrupted: the same command does the rest\n"
    before = {name: row["status"] for name, row in rows(report).items()}
    done = [name for name, status in before.items() if status == "done"]
    assert 1 <= len(done) < 4
    assert len(before) == 4
    stamps = {name: (tmp_path / "out" / f"{name}.npz").stat() for name in done}
    outcome = run(*arguments)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines()[0] == f"4 jobs, {len(done)} done before"
    assert len(outcome.stdout.splitlines()) == 6 - len(done)
    for name, stamp in stamps.items():
        after = (tmp_path / "out" / f"{name}.npz").stat()
        assert (after.st_ino, after.st_mtime_ns) == (stamp.st_ino, stamp.st_mtime_ns)
    for seed in range(4):
        found = np.load(tmp_path / "out" / f"{seed}.safetensors.npz")["head.weight"]
        assert found.tobytes() == state(seed)["head.weight"].tobytes()
    # Nothing is left of what was interrupted.
    assert len(list((tmp_path / "out").iterdir())) == 5


@pytest.mark.long
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared checkpoints are not there")
def test_the_files_of_strangers_are_all_told_of(run, tmp_path):
    outcome = run(SHARED, "--out", "out")
    jobs = json.loads(Path("out/report.json").read_text())["jobs"]
    found = {Path(row["source"]): row for row in jobs}
    assert len(found) == sum(path.is_file() for path in SHARED.rglob("*"))
    failed = {path.name: row["error"] for path, row in found.items() if row["status"] == "failed"}
    assert outcome.returncode == (1 if failed else 0)
    assert list(failed) == ["mtcnn-pnet-keras-weights.joblib.lz4"]  # a list without names
    assert "--architecture" in failed["mtcnn-pnet-keras-weights.joblib.lz4"]["hint"]
    skipped = [path for path, row in found.items() if row["status"] == "skipped"]
    companions = ("_inputs_and_outputs.h5", ".json", ".md")
    assert all(path.parent != SHARED or path.name.endswith(companions) for path in skipped)
    again = run(SHARED, "--out", "out")
    assert again.stdout.splitlines()[0] == f"{len(found)} jobs, {len(found) - 1} done before"
