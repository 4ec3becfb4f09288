"""Archives are used as they are: restored once for all processes, by whoever asks first, whatever happens meanwhile."""

import contextlib
import fcntl
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, Ridge

import onecopy
from child_processes import forked
from model_files import make, same

RNG = np.random.default_rng(4)
X = RNG.normal(size=(300, 4))
MODEL = RandomForestClassifier(20, random_state=0, n_jobs=1).fit(X, RNG.integers(0, 3, 300))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ONECOPY_CACHE", str(folder))
    return folder


def archived(model, folder, name="model"):
    return onecopy.archive(make(model, folder, name), level="fast")


@pytest.fixture
def cold(tmp_path, cache):
    return archived(MODEL, tmp_path)


def big(megabytes, seed=0):
    """A model of that size that archives to a fraction of it."""
    model = Ridge().fit(X, X[:, 0])
    model.coef_ = np.random.default_rng(seed).integers(0, 50, (megabytes, 125_000)).astype(float)
    return model


BIG = big(40)


@pytest.fixture(scope="module")
def big_cold(tmp_path_factory):
    return archived(BIG, tmp_path_factory.mktemp("big"))


def entry_of(path, cache):
    return cache / f"{onecopy.inspect(path)['digest']}.onecopy"


def mapped(folder):
    """The inodes of files in a folder that this process maps."""
    with open("/proc/self/maps") as maps:
        return {line.split()[4] for line in maps if str(folder) in line}


def code_of(status):
    return os.waitstatus_to_exitcode(status)


def run(code, *args, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_archive_answers_as_the_file_that_was_archived(cold, cache):
    opened, loaded = onecopy.open(cold), onecopy.load(cold)
    expected = MODEL.predict_proba(X)
    assert same(expected, opened.predict_proba(X)) and same(expected, loaded.predict_proba(X))
    assert isinstance(loaded, RandomForestClassifier) and opened.path == cold
    assert os.listdir(cache) == [entry_of(cold, cache).name]
    onecopy.verify(entry_of(cold, cache))


def test_what_is_restored_is_read_only_and_its_folder_is_for_its_owner(cold, cache):
    onecopy.open(cold)
    assert entry_of(cold, cache).stat().st_mode & 0o7777 == 0o444
    assert cache.stat().st_mode & 0o7777 == 0o700


def test_whom_an_archive_does_not_let_read_may_not_read_what_is_restored(cold, cache):
    os.chmod(cold, 0o640)
    onecopy.open(cold)
    assert entry_of(cold, cache).stat().st_mode & 0o7777 == 0o440


def test_later_opens_map_what_the_first_restored(cold, cache):
    first = onecopy.open(cold)
    inode = {str(entry_of(cold, cache).stat().st_ino)}
    second = onecopy.load(cold)
    assert mapped(cache) == inode
    assert same(first.predict(X), second.predict(X))


@pytest.mark.parametrize("mode", ["r", "c", None])
def test_every_mode_of_load_takes_archives(mode, cold):
    loaded = onecopy.load(cold, mmap_mode=mode)
    assert same(MODEL.predict_proba(X), loaded.predict_proba(X))
    assert loaded.classes_.flags.writeable == (mode != "r")


def test_archives_of_the_same_content_share_one_file(cold, cache, tmp_path):
    other = onecopy.archive(onecopy.restore(cold, tmp_path / "hot"), tmp_path / "other", level="best")
    onecopy.open(cold), onecopy.open(other)
    assert len(os.listdir(cache)) == 1


def test_hot_files_do_not_touch_the_cache(tmp_path, cache):
    onecopy.open(make(MODEL, tmp_path))
    assert not cache.exists()


def test_the_folder_is_the_one_given_or_that_of_the_user(cold, tmp_path, monkeypatch):
    def used():
        onecopy.open(cold)
        found = [path.parent for path in tmp_path.rglob(f"{onecopy.inspect(cold)['digest']}.onecopy")]
        [path.unlink() for path in tmp_path.rglob("*.onecopy") if path.parent in found and path.name != Path(cold).name]
        return found

    monkeypatch.chdir(tmp_path)
    onecopy.open(cold, cache="here"), onecopy.load(cold, cache=tmp_path / "there")
    assert os.listdir("here") == os.listdir("there") == [f"{onecopy.inspect(cold)['digest']}.onecopy"]
    [path.unlink() for folder in ("here", "there") for path in Path(folder).iterdir()]
    assert used() == [tmp_path / "cache"]
    monkeypatch.delenv("ONECOPY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert used() == [tmp_path / "xdg" / "onecopy"]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert used() == [tmp_path / "home" / ".cache" / "onecopy"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    with pytest.raises(onecopy.OnecopyError, match=r"ONECOPY_CACHE, XDG_CACHE_HOME and HOME are not set"):
        onecopy.open(cold)


def test_fifty_processes_that_ask_at_once_restore_it_once(big_cold, cache):
    """All of them map the file that is there in the end: a second one would have taken its name, and its inode."""
    ready, go = os.pipe(), os.pipe()
    answers = os.pipe()

    def ask():
        os.write(ready[1], b".")
        os.read(go[0], 1)
        model = onecopy.open(big_cold)
        value = model.arrays["coef_"][3, 7]
        os.write(answers[1], f"{','.join(mapped(cache))} {value}\n".encode())
        return True

    pids = [forked(ask) for _ in range(50)]
    for _ in pids:
        os.read(ready[0], 1)
    os.write(go[1], b"." * 50)
    assert [code_of(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 50
    os.close(answers[1])
    with open(answers[0]) as text:
        told = set(text.read().splitlines())
    entry = entry_of(big_cold, cache)
    assert told == {f"{entry.stat().st_ino} {BIG.coef_[3, 7]}"}
    assert os.listdir(cache) == [entry.name]


def test_threads_of_one_process_restore_it_once(big_cold, cache):
    models = []
    threads = [threading.Thread(target=lambda: models.append(onecopy.open(big_cold))) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(models) == 6 and len(mapped(cache)) == 1 and len(os.listdir(cache)) == 1


def test_a_process_killed_at_any_moment_leaves_nothing_half_made(big_cold, cache):
    """Killed at 20 moments of restoring and just after: there is nothing, or the whole file, and the next one gets it."""
    start = time.monotonic()
    onecopy.open(big_cold)
    whole = time.monotonic() - start
    entry = entry_of(big_cold, cache)
    outcomes = set()
    for moment in np.linspace(0, 1.2 * whole, 20):
        entry.unlink(missing_ok=True)
        pid = forked(lambda: onecopy.open(big_cold) is not None)
        time.sleep(moment)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        code = code_of(os.waitpid(pid, 0)[1])
        left = {name for name in os.listdir(cache) if not name.endswith(".lock")}
        assert left <= {entry.name} and all((cache / name).stat().st_size == 0 for name in os.listdir(cache) if name not in left)
        outcomes.add((code, bool(left)))
        assert onecopy.open(big_cold).arrays["coef_"][3, 7] == BIG.coef_[3, 7]
        onecopy.verify(entry)
    assert (-signal.SIGKILL, False) in outcomes, "no kill hit the middle"
    entry.unlink()
    onecopy.open(big_cold)
    assert os.listdir(cache) == [entry.name], "the lock of a killed process stays"


def test_whoever_waits_for_a_killed_process_takes_over(big_cold, cache):
    for moment in (0.02, 0.1, 0.2):
        entry_of(big_cold, cache).unlink(missing_ok=True)
        first = forked(lambda: onecopy.open(big_cold) is not None)
        time.sleep(moment)
        others = [forked(lambda: onecopy.open(big_cold).arrays["coef_"][3, 7] == BIG.coef_[3, 7]) for _ in range(3)]
        time.sleep(0.02)
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        assert [code_of(os.waitpid(pid, 0)[1]) for pid in others] == [0] * 3
        assert [name for name in os.listdir(cache) if not name.endswith(".lock")] == [entry_of(big_cold, cache).name]


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def other_model(folder):
    return Path(make(LinearRegression().fit(X, X[:, 0]), folder, "other"))


SPOILED = {
    "prologue": lambda entry, folder: flipped(entry.read_bytes(), 40),
    "last byte": lambda entry, folder: flipped(entry.read_bytes(), entry.stat().st_size - 1),
    "cut short": lambda entry, folder: entry.read_bytes()[:-1],
    "longer": lambda entry, folder: entry.read_bytes() + b"\0",
    "empty": lambda entry, folder: b"",
    "no model": lambda entry, folder: b"hello" * 1000,
    "another model": lambda entry, folder: other_model(folder).read_bytes(),
    "the archive": lambda entry, folder: (folder / "model.cold.onecopy").read_bytes(),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_damaged_entry_is_replaced(what, cold, cache, tmp_path):
    onecopy.open(cold)
    entry = entry_of(cold, cache)
    content = SPOILED[what](entry, tmp_path)
    entry.unlink()
    entry.write_bytes(content)
    entry.chmod(0o444)
    assert same(MODEL.predict_proba(X), onecopy.open(cold).predict_proba(X))
    onecopy.verify(entry)
    assert entry.stat().st_mode & 0o7777 == 0o444


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_an_entry_that_others_can_write_to_is_replaced(mode, cold, cache):
    onecopy.open(cold)
    entry = entry_of(cold, cache)
    before = entry.stat().st_ino
    held = open(entry)
    entry.chmod(mode)
    assert same(MODEL.predict_proba(X), onecopy.open(cold).predict_proba(X))
    assert entry.stat().st_ino != before and entry.stat().st_mode & 0o7777 == 0o444
    held.close()


def test_a_link_in_the_place_of_an_entry_is_replaced_and_what_it_names_is_not(cold, cache, tmp_path):
    cache.mkdir()
    target = tmp_path / "model.onecopy"
    entry_of(cold, cache).symlink_to(target)
    before = target.read_bytes()
    onecopy.open(cold)
    assert not entry_of(cold, cache).is_symlink() and target.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_entry_of_somebody_else_is_replaced(cold, cache):
    onecopy.open(cold)
    entry = entry_of(cold, cache)
    held = open(entry)
    os.chown(entry, 12345, 12345)
    onecopy.open(cold)
    assert entry.stat().st_uid == os.geteuid()
    held.close()


def test_a_folder_in_the_place_of_an_entry_is_an_error_that_names_it(cold, cache):
    entry_of(cold, cache).mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        onecopy.open(cold)
    assert caught.value.filename == str(entry_of(cold, cache))


def test_what_was_used_longest_ago_leaves_and_who_has_it_mapped_keeps_it(cache, tmp_path, monkeypatch):
    paths = [archived(big(2, seed), tmp_path, f"m{seed}") for seed in range(4)]
    entries = [entry_of(path, cache) for path in paths]
    monkeypatch.setenv("ONECOPY_CACHE_BYTES", "7000000")
    models = [onecopy.open(path) for path in paths[:3]]
    time.sleep(0.01)
    onecopy.open(paths[0])
    models.append(onecopy.open(paths[3]))
    assert [entry.exists() for entry in entries] == [True, False, True, True]
    for seed, model in enumerate(models):
        assert same(big(2, seed).coef_, np.array(model.arrays["coef_"]))
    assert sum(path.stat().st_size for path in cache.iterdir()) <= 7_000_000


def test_a_model_larger_than_the_whole_cache_is_refused(cache, tmp_path, monkeypatch):
    path = archived(big(2), tmp_path)
    monkeypatch.setenv("ONECOPY_CACHE_BYTES", "1000000")
    with pytest.raises(onecopy.OnecopyError, match="do not fit in a cache of 1000000; set ONECOPY_CACHE_BYTES higher"):
        onecopy.open(path)
    assert not cache.exists() or os.listdir(cache) == []
    monkeypatch.setenv("ONECOPY_CACHE_BYTES", "lots")
    with pytest.raises(onecopy.OnecopyError, match="ONECOPY_CACHE_BYTES is `lots`, expected a number of bytes"):
        onecopy.open(path)


def test_other_files_of_the_folder_are_left_alone(cache, tmp_path, monkeypatch):
    cache.mkdir()
    names = ["notes.txt", "forest.onecopy", ".lock", "a" * 64, "g" * 64 + ".onecopy", "." + "a" * 64 + ".txt"]
    for name in names:
        (cache / name).write_text("mine" * 10_000_000 if name == "notes.txt" else "mine")
    path = archived(big(2), tmp_path)
    monkeypatch.setenv("ONECOPY_CACHE_BYTES", "3000000")
    onecopy.open(path)
    assert set(os.listdir(cache)) == {*names, entry_of(path, cache).name}


def test_leftovers_of_killed_processes_are_swept(cold, cache):
    cache.mkdir()
    digest = onecopy.inspect(cold)["digest"]
    for name in (f".{'a' * 64}.lock", f".{'b' * 64}.onecopy.abcdef.tmp", f".{digest}.onecopy.abcdef.tmp"):
        (cache / name).write_text("")
    onecopy.open(cold)
    assert os.listdir(cache) == [f"{digest}.onecopy"]


ADVICE = r"name another folder \(cache=, --cache or ONECOPY_CACHE\).*share=\"memfd\".*onecopy restore"


def test_a_folder_that_cannot_be_is_an_error_that_says_what_to_do(cold, tmp_path):
    for folder in (tmp_path / "model.onecopy", tmp_path / "model.onecopy" / "below"):
        with pytest.raises(OSError, match=ADVICE) as caught:
            onecopy.open(cold, cache=folder)
        assert cold in str(caught.value) and caught.value.filename == str(folder)


def test_a_folder_that_cannot_be_written_to_is_an_error_that_says_what_to_do(cold, cache):
    cache.mkdir()
    cache.chmod(0o555)

    def refused():
        if os.geteuid() == 0:
            for folder in Path(cold).parents[:2]:
                folder.chmod(0o755)
            os.setuid(12345)
        with pytest.raises(PermissionError, match=ADVICE) as caught:
            onecopy.open(cold)
        return caught.value.filename.startswith(str(cache))

    others = [path for path in Path(cold).parents if path.stat().st_mode & 0o001 == 0 and os.geteuid() == 0]
    [path.chmod(path.stat().st_mode | 0o011) for path in others]
    assert code_of(os.waitpid(forked(refused), 0)[1]) == 0
    cache.chmod(0o755)
    assert os.listdir(cache) == []


def test_what_is_in_a_read_only_folder_is_used(cold, cache):
    onecopy.open(cold)
    cache.chmod(0o555)
    entry = entry_of(cold, cache)
    before = entry.stat().st_ino
    onecopy.open(cold)
    cache.chmod(0o755)
    assert entry.stat().st_ino == before and os.listdir(cache) == [entry.name]


def test_a_full_disk_is_an_error_that_says_what_to_do_and_leaves_nothing(big_cold, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("only root can make a small file system")
    try:
        with pytest.raises(OSError, match=ADVICE) as caught:
            onecopy.open(big_cold, cache=folder)
        assert caught.value.errno == 28 and os.listdir(folder) == []
        assert os.statvfs(folder).f_bfree == os.statvfs(folder).f_blocks
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_limit_on_the_length_of_files_leaves_nothing(big_cold, cache):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        with pytest.raises(OSError, match=ADVICE) as caught:
            onecopy.open(big_cold)
        return caught.value.errno == 27

    assert code_of(os.waitpid(forked(limited), 0)[1]) == 0
    assert os.listdir(cache) == []


def test_a_damaged_archive_is_refused_and_leaves_nothing(cold, cache):
    content = Path(cold).read_bytes()
    damaged = Path(cold).with_name("damaged")
    found = 0
    for at in np.linspace(128, len(content) - 1, 60).astype(int):
        damaged.write_bytes(flipped(content, at))
        try:
            assert same(MODEL.predict_proba(X), onecopy.open(damaged).predict_proba(X))
        except onecopy.FormatError:
            found += 1
            assert os.listdir(cache) == [] if cache.exists() else True
        for path in cache.glob("*"):
            path.unlink()
    assert found > 50


def test_ctrl_c_ends_restoring_and_waiting(big_cold, cache):
    code = """
import signal, sys, onecopy
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us in the background
opener = onecopy.open
try:
    print("ready", flush=True)
    opener(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    cache.mkdir()
    digest = onecopy.inspect(big_cold)["digest"]
    with open(cache / f".{digest}.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = run(code, big_cold)
        assert waiting.stdout.readline() == "ready\n"
        time.sleep(0.5)
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=20) == ("interrupted\n", "")
        os.unlink(held.name)
    ends = []
    for delay in (0.005, 0.02, 0.04, 0.06):
        restoring = run(code, big_cold)
        assert restoring.stdout.readline() == "ready\n"
        time.sleep(delay)
        restoring.send_signal(signal.SIGINT)
        out, err = restoring.communicate(timeout=20)
        assert out in ("interrupted\n", "") and err == ""
        # The signal may come when the file is whole and has its name.
        left = os.listdir(cache)
        assert left in ([], [f"{digest}.onecopy"])
        for name in left:
            onecopy.verify(cache / name)
            (cache / name).unlink()
        ends.append((out, left))
    assert ("interrupted\n", []) in ends


def test_handles_of_archives_travel_as_the_path_of_the_archive(cold, cache, tmp_path):
    opened, loaded = onecopy.open(cold), onecopy.load(cold, cache=tmp_path / "mine")
    handles = [pickle.dumps(opened), pickle.dumps(onecopy.by_reference(loaded))]
    assert onecopy.by_reference(opened).path == onecopy.by_reference(loaded).path == cold
    del opened, loaded
    entry_of(cold, cache).unlink()
    for handle in handles:
        assert same(MODEL.predict_proba(X), pickle.loads(handle).predict_proba(X))
    assert entry_of(cold, cache).exists() and entry_of(cold, tmp_path / "mine").exists()
    make(LinearRegression().fit(X, X[:, 0]), tmp_path)
    onecopy.archive(tmp_path / "model.onecopy", cold)
    for handle in handles:
        with pytest.raises(onecopy.StaleReferenceError):
            pickle.loads(handle)


def answer(model, x):
    return model.predict_proba(x)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_get_archives_by_handle(method, cold):
    handle = onecopy.by_reference(onecopy.load(cold))
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.starmap(answer, [(handle, X)] * 4, chunksize=1)
    assert all(same(MODEL.predict_proba(X), found) for found in answers)
