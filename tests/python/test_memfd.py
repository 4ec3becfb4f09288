"""Models in memory that nobody can change: inherited, sent to other processes, and safe from what becomes of their file."""

import io
import mmap
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
from multiprocessing import reduction
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge

import onecopy
from child_processes import forked
from model_files import make, same

RNG = np.random.default_rng(4)
X = RNG.normal(size=(300, 4))
MODEL = RandomForestClassifier(20, random_state=0, n_jobs=1).fit(X, RNG.integers(0, 3, 300))
EXPECTED = MODEL.predict_proba(X)
KINDS = ["hot", "cold"]


def wide():
    """A model of 16 MB, most of which is one array."""
    model = Ridge().fit(X, X[:, 0])
    model.coef_, model.intercept_ = RNG.integers(0, 50, (16, 125_000)).astype(float), np.zeros(16)
    model.n_features_in_ = 125_000
    return model


WIDE = wide()


def files(model, folder):
    hot = make(model, folder)
    return {"hot": hot, "cold": onecopy.archive(hot, level="fast")}


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setenv("ONECOPY_CACHE", str(tmp_path / "cache"))
    return files(MODEL, tmp_path)


@pytest.fixture
def wide_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("ONECOPY_CACHE", str(tmp_path / "cache"))
    return files(WIDE, tmp_path)


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(code, *args, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )


def memory(kind):
    """PSS or another figure of the mappings of shared memory in this process, in bytes."""
    total, here = 0, False
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                here = "memfd:onecopy" in line
            elif here and words[0] == f"{kind}:":
                total += int(words[1]) * 1024
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{"share": "memfd"}, {"guard": "memfd"}])
def test_a_model_in_memory_answers_as_its_file(kind, how, paths, tmp_path):
    opened, loaded = onecopy.open(paths[kind], **how), onecopy.load(paths[kind], **how)
    assert same(EXPECTED, opened.predict_proba(X)) and same(EXPECTED, loaded.predict_proba(X))
    assert not (tmp_path / "cache").exists()
    for mode in ("c", None):
        writable = onecopy.load(paths[kind], mmap_mode=mode, **how)
        writable.classes_[:] = 7
        assert same(EXPECTED, writable.predict_proba(X))
    assert same(EXPECTED, onecopy.load(opened.fileno()).predict_proba(X))


@pytest.mark.parametrize("how", [{"share": "memfd"}, {"guard": "memfd"}])
def test_nobody_can_write_to_or_shorten_the_memory(how, paths):
    model = onecopy.open(paths["cold"], **how)
    for flags in (os.O_RDWR, os.O_WRONLY):
        again = os.open(f"/proc/self/fd/{model.fileno()}", flags)
        with pytest.raises(PermissionError):
            os.write(again, b"x") if flags == os.O_WRONLY else mmap.mmap(again, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            os.ftruncate(again, 0)
        with pytest.raises(PermissionError):
            os.ftruncate(again, 1 << 30)
        os.close(again)
    assert same(EXPECTED, model.predict_proba(X))


def test_forked_workers_share_one_copy(wide_paths):
    model = onecopy.open(wide_paths["cold"], share="memfd")
    rows = np.ones((1, 125_000))
    model.predict(rows)
    go, told = os.pipe(), os.pipe()

    def work():
        model.predict(rows)
        os.write(told[1], b".")
        os.read(go[0], 1)
        return memory("Pss") < WIDE.coef_.nbytes / 3 and memory("Private_Dirty") == 0

    pids = [forked(work) for _ in range(4)]
    [os.read(told[0], 1) for _ in pids]
    os.write(go[1], b"....")
    assert [ended(pid) for pid in pids] == [0] * 4


RECEIVER = """
import os, socket, sys
import numpy as np
import onecopy
from pathlib import Path
line = socket.socket(fileno=int(sys.argv[1]))
line.send(b"ready")
_, [descriptor], _, _ = socket.recv_fds(line, 16, 1)
opened, loaded = onecopy.open(descriptor), onecopy.load(descriptor)
os.close(descriptor)
rows = np.load(sys.argv[2])
assert np.allclose(opened.predict(rows), loaded.predict(rows))
line.send(opened.predict(rows).tobytes())
line.recv(1)
print(sum(int(line.split()[1]) for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if line.startswith("Pss_Shmem")))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_unrelated_processes_map_what_they_are_sent(kind, wide_paths, tmp_path):
    """Over a socket, as SCM_RIGHTS: four processes, one copy."""
    rows = RNG.normal(size=(2, 125_000))
    np.save(tmp_path / "rows.npy", rows)
    model = onecopy.open(wide_paths[kind], share="memfd")
    expected = model.predict(rows)
    workers = []
    for _ in range(4):
        here, there = socket.socketpair()
        worker = run(RECEIVER, there.fileno(), tmp_path / "rows.npy", pass_fds=[there.fileno()])
        there.close()
        workers.append((worker, here))
    for _, line in workers:
        assert line.recv(16) == b"ready"
        socket.send_fds(line, [b"model"], [model.fileno()])
        assert line.recv(1 << 16) == expected.tobytes()
    del model
    [line.send(b".") for _, line in workers]
    held = [int(worker.communicate(timeout=60)[0]) * 1024 for worker, _ in workers]
    [line.close() for _, line in workers]
    assert max(held) < WIDE.coef_.nbytes / 2


def receive(line, answers):
    descriptor = reduction.recv_handle(line)
    answers.put(onecopy.open(descriptor).predict_proba(X))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_multiprocessing_sends_the_memory_of_a_model(method, paths):
    context = multiprocessing.get_context(method)
    model = onecopy.open(paths["cold"], guard="memfd")
    (here, there), answers = context.Pipe(), context.SimpleQueue()
    worker = context.Process(target=receive, args=(there, answers))
    worker.start()
    reduction.send_handle(here, model.fileno(), worker.pid)
    assert same(EXPECTED, answers.get())
    worker.join()


def test_the_memory_lives_as_long_as_somebody_uses_it(paths):
    model = onecopy.open(paths["hot"], share="memfd")
    loaded = onecopy.load(model.fileno())
    del model
    assert same(EXPECTED, loaded.predict_proba(X))


def test_what_others_could_change_is_refused(paths, tmp_path):
    content = Path(paths["hot"]).read_bytes()
    memfd = os.memfd_create("mine", os.MFD_ALLOW_SEALING)
    os.write(memfd, content)
    (reader, writer), (one, two) = os.pipe(), socket.socketpair()
    with open(paths["hot"], "rb") as file:
        for descriptor in (file.fileno(), memfd, reader, writer, one.fileno(), os.open(tmp_path, os.O_RDONLY)):
            for function in (onecopy.open, onecopy.load):
                with pytest.raises((onecopy.FormatError, OSError)) as caught:
                    function(descriptor)
                assert f"descriptor {descriptor}" in str(caught.value) or isinstance(caught.value, OSError)
    two.close()


def test_sealed_memory_with_something_else_in_it_is_refused():
    import fcntl

    for content in (b"", b"hello", b"\x80\x04K\x01."):
        memfd = os.memfd_create("mine", os.MFD_ALLOW_SEALING)
        os.write(memfd, content)
        fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        with pytest.raises(onecopy.FormatError, match=f"descriptor {memfd}"):
            onecopy.open(memfd)


def test_numbers_that_are_no_descriptors_are_refused(paths):
    with pytest.raises(OSError, match="descriptor 999999 is not open"):
        onecopy.open(999_999)
    with pytest.raises(ValueError, match="0 or more"):
        onecopy.load(-1)
    with pytest.raises(TypeError):
        onecopy.open(True)
    with pytest.raises(ValueError, match="guard="):
        onecopy.open(0, guard="memfd")


@pytest.mark.parametrize("name, value", [("share", "memory"), ("share", None), ("guard", "cache"), ("guard", True)])
def test_options_that_are_none_are_refused(name, value, paths):
    for function in (onecopy.open, onecopy.load):
        with pytest.raises((ValueError, TypeError)):
            function(paths["hot"], **{name: value})


def test_a_model_that_lies_in_a_file_has_no_descriptor_to_send(paths):
    for path in paths.values():
        with pytest.raises(io.UnsupportedOperation, match="share='memfd'"):
            onecopy.open(path).fileno()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{"share": "memfd"}, {"guard": "memfd"}])
def test_handles_open_the_file_in_the_same_way(kind, how, paths):
    handles = [pickle.dumps(onecopy.open(paths[kind], **how)), pickle.dumps(onecopy.by_reference(onecopy.load(paths[kind], **how)))]
    for handle in handles:
        arrived = pickle.loads(handle)
        assert same(EXPECTED, arrived.predict_proba(X))
    assert pickle.loads(handles[0]).fileno() > 2


def test_a_model_from_a_descriptor_has_no_path_that_could_travel(paths):
    first = onecopy.open(paths["hot"], share="memfd")
    received = onecopy.open(first.fileno())
    with pytest.raises(TypeError, match="send the descriptor itself"):
        pickle.dumps(received)
    for model in (received, onecopy.load(first.fileno())):
        with pytest.raises(TypeError):
            onecopy.by_reference(model)


def truncated(path):
    os.truncate(path, 4096)


def emptied(path):
    open(path, "wb").close()


def overwritten(path):
    with open(path, "r+b") as file:
        file.write(b"\xff" * os.path.getsize(path))


def replaced(path):
    shutil.copy(__file__, path + ".new")
    os.replace(path + ".new", path)


def deleted(path):
    os.unlink(path)


READER = """
import sys
import numpy as np
import onecopy
how = {"guard": "memfd"} if sys.argv[2] == "guard" else {}
opened, loaded = onecopy.open(sys.argv[1], threads=1, **how), onecopy.load(sys.argv[1], **how)
rows = np.load(sys.argv[3])
print("ready", flush=True)
for line in sys.stdin:
    print(opened.predict(rows).tobytes().hex(), loaded.predict(rows).tobytes().hex(), opened.arrays["coef_"].sum(), flush=True)
"""


def answer_of(reader, step):
    step()
    reader.stdin.write("again\n")
    reader.stdin.flush()
    return reader.stdout.readline()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accident", [truncated, emptied, overwritten, replaced, deleted])
def test_guarded_readers_do_not_notice_what_becomes_of_the_file(kind, accident, wide_paths, tmp_path):
    rows = RNG.normal(size=(2, 125_000))
    np.save(tmp_path / "rows.npy", rows)
    path = wide_paths[kind]
    expected = onecopy.open(path, threads=1).predict(rows), onecopy.load(path).predict(rows)
    reader = run(READER, path, "guard", tmp_path / "rows.npy")
    assert reader.stdout.readline() == "ready\n"
    before, after = (answer_of(reader, step) for step in (lambda: None, lambda: accident(path)))
    native, loaded, total = before.split()
    assert native == expected[0].tobytes().hex() and total == str(WIDE.coef_.sum())
    # NumPy adds in an order that depends on the number of its threads, which need not be the same in two processes.
    assert np.allclose(np.frombuffer(bytes.fromhex(loaded)), expected[1].ravel(), rtol=1e-9)
    assert after == before
    reader.communicate(timeout=30)
    assert reader.returncode == 0


def test_unguarded_readers_of_a_file_that_is_cut_short_are_killed(wide_paths, tmp_path):
    """What the documents say happens without a guard."""
    np.save(tmp_path / "rows.npy", RNG.normal(size=(2, 125_000)))
    reader = run(READER, wide_paths["hot"], "none", tmp_path / "rows.npy")
    assert reader.stdout.readline() == "ready\n"
    truncated(wide_paths["hot"])
    reader.communicate("again\n", timeout=60)
    assert reader.returncode == -signal.SIGBUS


@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_refuses_damaged_files(kind, wide_paths):
    path = wide_paths[kind]
    content = Path(path).read_bytes()
    for at in np.linspace(130, len(content) - 1, 12).astype(int):
        Path(path).write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(onecopy.FormatError):
            onecopy.open(path, guard="memfd")
    Path(path).write_bytes(content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 4]) + content[len(content) // 2 + 1 :])
    with pytest.raises(onecopy.ChecksumError):
        onecopy.load(path, guard="memfd")


def test_a_guard_reads_a_file_that_changes_all_the_time_or_refuses_it(tmp_path):
    """Each answer is that of one whole model; no copy of half of each is ever used."""
    models = [Ridge().fit(X, X[:, column]) for column in range(2)]
    contents = [Path(make(model, tmp_path, f"m{number}")).read_bytes() for number, model in enumerate(models)]
    right = {model.coef_.tobytes() for model in models}
    path = tmp_path / "changing"
    path.write_bytes(contents[0])

    def change():
        while True:
            for content in contents:
                with open(path, "r+b") as file:
                    for start in range(0, len(content), 64):
                        file.write(content[start : start + 64])
                        file.flush()

    pid = forked(change)
    found = set()
    try:
        for _ in range(300):
            try:
                found.add(np.array(onecopy.open(path, guard="memfd").arrays["coef_"]).tobytes())
            except onecopy.FormatError:
                found.add(None)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert found <= right | {None} and found & right
