"""Figures of the page: the tables of the crate, the peers, memory, and all targets."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import bench_kernels, bench_memory, bench_peers, common
from benchmarks.kernel_table.cases import cases
from benchmarks.kernel_table.measuring import Measurement

import mmapio

from . import crate_tables, kernel_lines, kernel_table, page, ratios, suite

DESCRIPTION = "Measure what the crate's page of figures has, and all targets, as Markdown."
CRATE = "1.0.0"
PACKAGES = [
    *("numpy", "numba", "zarr", "h5py", "pyarrow", "joblib", "npy-append-array", "atomics"),
    *("bottleneck", "polars", "duckdb", "numexpr"),
]
QUICK_BYTES = 64 << 20


def main(arguments: list[str]) -> int:
    """Measure, and write the page."""
    given = _parsed(arguments)
    if given.figures:
        figures = _read(given.figures)
        kernels = _kernels_beside(given.figures)
    elif given.only_kernels:
        figures, kernels = with_kernels_anew(_read(given.output.with_suffix(".json")), given)
    else:
        figures, kernels = measured(given.quick)
    if given.output is None:
        sys.stdout.write(page.page(figures, kernels, {}))
        return 0
    pictures = heat_maps(kernels, given.output)
    text = page.page(figures, kernels, {name: file.name for name, file in pictures.items()})
    given.output.write_text(text, encoding="utf-8")
    if not given.figures:
        beside = given.output.with_suffix(".json")
        beside.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        kernel_table.save(kernels, _kernels_file(given.output))
    return 0


def measured(quick: bool) -> tuple[page.Figures, list[Measurement]]:
    """Return all figures of the page, and the table of kernels."""
    begin, found = time.perf_counter(), facts()
    if quick:
        common.LARGE_BYTES = min(common.LARGE_BYTES, QUICK_BYTES)
    else:
        common.thorough()
    figures: page.Figures = {"crate": CRATE, "quick": quick}
    figures["tables"] = [_told(kind.title, kind().measure) for kind in crate_tables.TABLES]
    figures["peers"] = peers(1 if quick else 3)
    figures["memory"] = memory()
    kernels = all_kernels(quick)
    figures["targets"] = _targets(ratios.figures())
    found["large files"] = common.size(common.LARGE_BYTES)
    found["kernels"] = _origin(kernels)
    figures["facts"] = found | {"measured in": f"{time.perf_counter() - begin:.0f} s"}
    return figures, kernels


def with_kernels_anew(
    figures: page.Figures, given: argparse.Namespace
) -> tuple[page.Figures, list[Measurement]]:
    """Measure the kernels alone, or take them of a file; all other figures stay as they are."""
    common.thorough()
    if given.kernels:
        kernels = kernel_table.loaded(given.kernels)
        _keep(kernels)
    else:
        kernels = all_kernels(given.quick)
    anew = [figure for figure in ratios.figures() if figure.kind is bench_kernels.Kernels]
    kept = [one for one in figures["targets"] if not one["name"].startswith("bench_kernels.")]
    figures["targets"] = sorted(kept + _targets(anew), key=lambda one: one["row"])
    figures["facts"]["kernels"] = _origin(kernels)
    return figures, kernels


def all_kernels(quick: bool) -> list[Measurement]:
    """Measure the table of kernels, a few of its cases if there is no time for more."""
    wanted = cases(dtypes=["f8", "u1"], sizes=["100k"]) if quick else cases()
    seconds = 0.0 if quick else kernel_table.SECONDS
    kernels = kernel_table.run(wanted, seconds, lambda one: _tell(kernel_lines.line(one)))
    _keep(kernels)
    return kernels


def heat_maps(kernels: list[Measurement], output: Path) -> dict[str, Path]:
    """Draw the table of kernels beside the page."""
    if not kernels:
        return {}
    from . import heat_map  # matplotlib

    heat_map.draw(kernels, output.with_name(f"{output.stem}-kernels.svg"))
    return heat_map.pictures(output.with_name(f"{output.stem}-kernels.svg"))


def facts() -> dict[str, str]:
    """Return what the figures depend on."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return {
        "date": dt.date.today().isoformat(),
        "mmapio": mmapio.__version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": versions,
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} CPUs",
        "memory": f"{_memory_bytes() / (1 << 30):.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "file system": _file_system(),
        "load before": f"{os.getloadavg()[0]:.1f} processes",
    }


def peers(rounds: int) -> page.Figures:
    """Return the time that each implementation takes for each piece of work."""
    rows: list[dict[str, Any]] = []
    reasons: dict[str, dict[str, None]] = {}
    for what, kind, parameters in bench_peers.TABLE:
        names = dict.fromkeys(combination[0] for combination in suite.combinations(kind))
        samples: dict[str, list[float]] = {}
        for name in list(names) * rounds:
            try:
                with suite.prepared(kind, (name, *parameters)) as benchmark:
                    taken_s = common.elapsed_s(lambda b=benchmark: b.work(b.peer))
            except NotImplementedError as error:
                reasons.setdefault(name, {})[str(error)] = None
            else:
                samples.setdefault(name, []).append(taken_s)
        seconds = {name: statistics.median(taken) for name, taken in samples.items()}
        rows.append({"what": what, "seconds": seconds})
        _tell(f"peers: {what}")
    nbytes = common.size(bench_peers.NBYTES)
    skipped = {name: "; ".join(told) for name, told in reasons.items()}
    return {"ways": list(bench_peers.PEERS), "rows": rows, "skipped": skipped, "nbytes": nbytes}


def memory() -> page.Figures:
    """Return the anonymous memory that each piece of work takes."""
    peaks: dict[str, dict[str, float]] = {}
    kind: Any = bench_memory.Anonymous
    for work, name in suite.combinations(kind):
        with suite.prepared(kind, (work, name)) as benchmark:
            peaks.setdefault(work, {})[name] = benchmark.track_peak_anonymous(work, name)
        _tell(f"memory: {work}, {name}")
    return {"peaks": peaks, "nbytes": common.size(common.LARGE_BYTES >> 3)}


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument("--quick", action="store_true", help="few samples, small files")
    parser.add_argument("--output", type=Path, help="the page; its figures go beside it")
    parser.add_argument("--figures", type=Path, help="figures of a run before, to be shown anew")
    parser.add_argument(
        "--only-kernels",
        action="store_true",
        help="measure the kernels, and keep all other figures",
    )
    parser.add_argument(
        "--kernels", type=Path, help="with --only-kernels: what kernels_table.py --json has written"
    )
    given = parser.parse_args(arguments)
    if not given.figures and not given.kernels and sys.platform != "linux":
        parser.error("the figures can be measured on Linux alone; --figures makes the page of some")
    if given.output and not given.output.parent.is_dir():
        parser.error(f"there is no directory {given.output.parent} to write the page to")
    if given.kernels and not given.only_kernels:
        parser.error("--kernels goes with --only-kernels")
    if given.only_kernels and not (given.output and given.output.with_suffix(".json").is_file()):
        parser.error("--only-kernels needs an --output that has its figures beside it")
    return given


def _targets(figures: list[ratios.Figure]) -> list[dict[str, Any]]:
    return [
        _told(f"row {figure.target.row}", lambda figure=figure: figure.found()._asdict())
        for figure in figures
    ]


def _keep(kernels: list[Measurement]) -> None:
    """Let the figures of rows 30 and 31 be of the table, which is measured once."""
    bench_kernels.MEASURED.update({one.case: one for one in kernels})


def _origin(kernels: list[Measurement]) -> str:
    return f"{len(kernels)} cases, {dt.date.today().isoformat()}"


def _read(path: Path) -> page.Figures:
    figures: page.Figures = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _kernels_file(page_file: Path) -> Path:
    return page_file.with_name(f"{page_file.stem}-kernels.json")


def _kernels_beside(figures: Path) -> list[Measurement]:
    beside = _kernels_file(figures)
    return kernel_table.loaded(beside) if beside.is_file() else []


def _told(what: str, work: Any) -> Any:
    _tell(what)
    return work()


def _tell(what: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
        return next(models, platform.machine())


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _file_system() -> str:
    """Return the type of the file system that the files were on."""
    with common.directory_in("disk") as place, open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split()[1:3] for line in file]
        inside = [(len(top), kind) for top, kind in mounts if _is_below(place, top)]
    return max(inside, default=(0, "unknown"))[1]


def _is_below(path: str, top: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), top]) == top
