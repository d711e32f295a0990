"""The command `mmapio`, and `python -m mmapio`."""

from __future__ import annotations

import sys

from ._extras import require
from .errors import MissingExtraError

__all__ = ["main"]


def main() -> int:
    """Run the command line, or print in one line which dependency is missing.

    Returns
    -------
    int
        Exit status: 2 if the command line's dependencies are not installed. Once it runs, it
        raises `SystemExit` with its own.

    Examples
    --------
    >>> from mmapio.__main__ import main
    >>> main()  # doctest: +SKIP
    0
    """
    try:
        for module in ("typer", "rich", "tqdm"):
            require(module, "cli")
        from .cli.app import app

        app(prog_name="mmapio")
    except MissingExtraError as error:
        print(f"mmapio: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # of the output: those of files are told by the commands
        print(f"mmapio: error: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
