"""Each example runs as a reader would run it, from anywhere, and prints what it has to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmapio

EXAMPLES = Path(__file__).parents[1] / "examples"

# What each must print, line by line, as regular expressions.
PRINTED = {
    "01_read_a_file": [
        r"\(365, 1440\) of float32",
        r"warmest minute of 1 July: 27\.00 degrees",
        r"mean at noon, all year: 17\.00 degrees",
        r"1000 samples, the last one \[2997, 2998, 2999\]",
        r"station Zugspitze, 37 bytes, begins with b'\{\"name\"'",
    ],
    "02_create_and_write": [
        r"numpy reads \(1000, 499\) steps of \[-1, 1\]",
        r"corrected: \[(0, ){10}-?[1-9]\d*, -?\d+\]",
        r"tried out: False here, True in the file",
        r"replaced: \(1000, 500\) for its reader, \(3,\) for the next",
    ],
    "03_segments_and_chunks": [
        r"refused: offset 60 \+ length 13 = 73 reaches past the end, at 64 bytes",
        r"checksum in chunks, and of all: True",
        r"grown: b'NUMBERS1' and their sum, 4999950000",
    ],
    "04_share_with_processes": [
        r"80000 bytes of array are sent as \d{1,3}",
        r"2 processes counted 20000 numbers into one file",
        r"below 20000, 17647 takes longest: 278 steps",
    ],
    "05_statistics": [
        r"temperature    5\.0 to  25\.0,  15\.0 on average",
        r"humidity      30\.0 to  90\.0,  60\.0 on average",
        r"wind           0\.0 to  12\.0,   5\.8 on average",
        r"strongest in row \d{3},\d{3}; calm in 20 rows",
        r"wind from  0 to  5: 44\.3%",
        r"wind from  5 to 10: 39\.8%",
        r"wind from 10 to 15: 15\.9%",
        r"3,000,000 items, 30 of them NaN, from 0 to 90",
        r"2,999,970 are in the 12 bins of its histogram",
    ],
    "06_own_kernels": [
        r"400,000 lines, 1,600,000 words, the longest line of 23 bytes",
        r"2,000,000 samples from -5\.00 to 4\.99 volts",
    ],
    "07_shuffled_batches": [
        r"epoch 0: 79 batches, mean error 0\.0\d{4}",
        r"epoch 1: 79 batches, mean error 0\.0000\d",
        r"epoch 2: 79 batches, mean error 0\.0000\d",
    ],
    # Other systems than Linux do not tell what is resident, and give nothing back.
    "08_larger_than_memory": [
        r"\{'drop_behind': True\}: sum 8, (1?\d?\d|nan) MiB more at most, -?\w+ MiB at the end",
        r"plain: sum 8, ([45]\d\d|nan) MiB more at most, ([45]\d\d|nan) MiB at the end",
    ],
    "09_counter": [
        r"2 processes have finished",
        r"285715 multiples of 7 below 2000000",
    ],
    "10_ring_buffer": [
        r"50000 trades arrived in order, 0 are left",
        r"the highest was number \d+",
    ],
    "11_histogram": [
        r"1000000 values in 4 files, (1000000|99999\d) of them in 100 bins",
        r"68% lie within one standard deviation",
    ],
    "12_append_a_log": [
        r"watched 6000 samples, the last one of second 5999",
        r"the first minute is still at hand: 0\.556 volts",
        r"a second writer is refused",
        r"numpy reads 6000 samples",
    ],
    "13_asyncio": [
        r"50 messages are durable, 0 bytes are not",
        r"the loop went on meanwhile: True",
        r"the last message of the copy: message 49",
        r"same as the first file: True",
    ],
    # What is in memory before depends on how far the system read ahead.
    "14_warm_a_file": [
        r"before  [.*#+-]{30} \d+%",
        r"after   #{30} 100%",
        r"sum 8\.79609e\+12 at \d+\.\d GB/s, from memory",
        r"\d+ bytes hold the first 1000 items",
    ],
    "15_watch": [
        r"replaced: 152 bytes before, 176 now",
        r"still mapped: \(3,\), at the path: \(2, 3\)",
        r"modified: the first number is 42",
        r"watching: False",
    ],
    # Whether there are huge pages is up to the machine, and how much may be locked.
    "16_huge_pages": [
        r"in memory: (huge|ordinary) pages|in memory: pages of unknown size",
        r"in a file: (huge|ordinary) pages|in a file: pages of unknown size",
        r"its first 1000 rows are locked|nothing is locked: .*",
    ],
}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_prints_what_it_shows(example: Path, tmp_path: Path) -> None:
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=work,
        env=os.environ
        | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])}
        | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.splitlines()
    wanted = PRINTED[example.stem]
    assert len(printed) == len(wanted), done.stdout
    for line, pattern in zip(printed, wanted, strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} is not what {pattern!r} describes"
    assert [*work.iterdir(), *scratch.iterdir()] == []


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60


def test_examples_are_numbered_and_all_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PRINTED)
