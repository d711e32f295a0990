"""Every benchmark can be set up, run and cleared away.

Nothing here asserts a time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks import bench_cost, bench_memory, bench_peers, common
from reporting import suite

KINDS = list(suite.classes())


@pytest.fixture(autouse=True)
def _quick_and_in_sight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take one sample of each side of little, and let nobody leave a file where it is not seen."""
    monkeypatch.setattr(common, "ROUNDS", 1)
    monkeypatch.setattr(common, "LARGE_BYTES", 32 << 20)
    monkeypatch.setattr(common, "FRESH_ROUNDS", 1)
    monkeypatch.setattr(common, "SAMPLE_S", 0)
    monkeypatch.setattr(bench_cost, "MAPPINGS", 100)
    monkeypatch.setattr(bench_cost, "DESCRIPTORS", 50)
    monkeypatch.setattr(bench_memory, "MAPPINGS", 100)
    monkeypatch.setattr(bench_peers, "NBYTES", 1 << 20)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def benchmarks_of(kind: type) -> list[str]:
    return [
        name for name in dir(kind) if name.startswith(("time_", "timeraw_", "track_", "peakmem_"))
    ]


def smallest_of(kind: type) -> list[tuple[Any, ...]]:
    """Return the first parameters, of each implementation if it is one of them."""
    combinations = suite.combinations(kind)
    names = getattr(kind, "param_names", ())
    if "implementation" not in names:
        return combinations[:1]
    at = names.index("implementation")
    return list({found[at]: found for found in reversed(combinations)}.values())


@pytest.mark.parametrize(
    ("kind", "name", "smallest"),
    [(k, name, found) for k in KINDS for name in benchmarks_of(k) for found in smallest_of(k)],
)
def test_benchmark_runs_and_leaves_nothing(
    kind: type, name: str, smallest: tuple[Any, ...], tmp_path: Path
) -> None:
    try:
        with suite.prepared(kind, smallest) as benchmark:
            found = getattr(benchmark, name)(*smallest)
    except NotImplementedError as error:  # what asv skips a benchmark for
        pytest.skip(str(error))
    if name.startswith("timeraw_"):
        code, setup = found
        common.run_fresh(f"{setup}\n{code}")
    elif name.startswith("track_"):
        assert found > 0
    assert list(tmp_path.iterdir()) == []


def available(name: str, path: Path) -> Any:
    """Return an implementation over a file, or skip the test."""
    try:
        return bench_peers.PEERS[name](str(path))
    except NotImplementedError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", bench_peers.that_can("open"))
def test_all_implementations_give_the_same_answers(name: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (300, 4096), "u1")
    indices = np.array([7, 299, 7, 0])
    peer = available(name, tmp_path / "rows")
    peer.save(rows)
    with peer.open() as opened:
        assert opened[299, 5] == rows[299, 5]
        assert np.array_equal(peer.read(opened, 3, 19), rows[3:19])
        assert np.array_equal(np.concatenate([*peer.chunks(opened)]), rows)
        assert peer.sum(opened, 1) == peer.sum(opened, 2) == rows.sum(dtype="i8")
        assert np.array_equal(peer.gather(opened, indices), rows[indices])
        del opened
    if name in bench_peers.that_can("write"):
        with peer.open("r+") as opened:
            peer.write(opened, 16, rows[:2])
            del opened
        with peer.open() as opened:
            assert np.array_equal(peer.read(opened, 15, 19), rows[[15, 0, 1, 18]])
            del opened


@pytest.mark.parametrize("threads", [1, 2])
def test_a_peer_that_only_sums_finds_the_same(threads: int, tmp_path: Path) -> None:
    (name,) = {*bench_peers.that_can("sum")} - {*bench_peers.that_can("open")}
    rows = np.random.default_rng(0).integers(0, 256, (300, 4096), "u1")
    peer = available(name, tmp_path / "rows")
    peer.save(rows)
    with peer.open() as opened:
        assert peer.sum(opened, threads) == rows.sum(dtype="i8")
        del opened


@pytest.mark.parametrize("name", bench_peers.that_can("counter"))
def test_all_counters_count(name: str, tmp_path: Path) -> None:
    with available(name, tmp_path / "word").counter() as add:
        for _ in range(3):
            add()
    word = tmp_path / "word"
    assert not word.exists() or np.fromfile(word, "i8") == 3


@pytest.mark.parametrize("name", bench_peers.that_can("append"))
def test_all_that_append_keep_what_they_got(name: str, tmp_path: Path) -> None:
    blocks = [np.full((16, 4096), number, "u1") for number in range(3)]
    path = tmp_path / "rows"
    peer = available(name, path)
    peer.append(blocks)
    if name in ("h5py", "zarr"):
        with peer.open() as opened:
            found = opened[:]
    elif path.read_bytes()[:6] == b"\x93NUMPY":
        found = np.load(path)
    else:
        found = np.fromfile(path, "u1").reshape(-1, 4096)
    assert np.array_equal(found, np.concatenate(blocks))


@pytest.mark.parametrize("implementation", [0, 1])
@pytest.mark.parametrize("work", bench_memory.WORK)
def test_work_whose_memory_is_measured_runs(
    work: str, implementation: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.bin"
    np.arange(64 << 10, dtype="i4").tofile(path)
    code = bench_memory.PEAK.format(work=bench_memory.WORK[work][implementation])
    exec(code, {"sys": SimpleNamespace(argv=["", str(path), str(path), "10"])})
    assert int(capsys.readouterr().out) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_first_parameters_are_the_smallest(kind: type) -> None:
    combinations = suite.combinations(kind)
    assert combinations[0] == min(combinations)


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_a_unit(kind: type) -> None:
    figures = [name for name in benchmarks_of(kind) if name.startswith("track_")]
    assert [name for name in figures if not hasattr(getattr(kind, name), "unit")] == []


@pytest.mark.parametrize("nbytes", [1, 4096, (16 << 20) + 5])
def test_files_of_noise_are_as_large_as_wanted(nbytes: int) -> None:
    with suite.prepared(common.InTemporaryDirectory) as benchmark:
        assert Path(benchmark.noise("noise.bin", nbytes)).stat().st_size == nbytes


def test_what_a_benchmark_itself_is_skipped_for_is_no_failure_to_asv() -> None:
    mark = pytest.importorskip("asv_runner.benchmarks.mark", reason="`bench` is not installed")
    assert common.Skip is mark.SkipNotImplemented
    assert issubclass(common.Skip, NotImplementedError)
