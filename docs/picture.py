"""Draw docs/scan.svg: what `mmapio scan` shows of the lengths of the standard library's lines."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

import mmapio

COLUMNS = 84


def main() -> None:
    source = b"".join(
        path.read_bytes() for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    )
    lengths = np.array([len(line) for line in source.splitlines()], "i4")
    with tempfile.TemporaryDirectory() as folder:
        mmapio.save(Path(folder) / "line_lengths.npy", lengths)
        command = [sys.executable, "-m", "mmapio", "scan", "line_lengths.npy"]
        environment = os.environ | {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi("$ mmapio scan line_lengths.npy\n" + done.stdout))
    picture = console.export_svg(title="mmapio")
    # No font from the network: the viewer's own is as good.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    Path(__file__).with_name("scan.svg").write_text(picture)


if __name__ == "__main__":
    main()
