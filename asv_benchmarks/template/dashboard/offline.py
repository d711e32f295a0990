"""Pages that are complete: with all that they load beside them, and with what to do next."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from asv.console import log
from asv.publishing import OutputPublisher
from asv.results import iter_results

__all__ = ["Offline", "localized", "with_notice"]

WWW = Path(__file__).with_name("www")
# asv's page loads these by name; npm has some of them only as they were before they were shortened.
SHORTENED = re.compile(r"(jquery\.flot(?:\.\w+)?)\.min\.js")
FROM_AFAR = re.compile(
    r"<(?P<tag>script|link)(?P<before>[^>]*?) (?P<kind>src|href)=\"https://[^\"]*/(?P<name>[^/\"]+)\""
    r"(?P<after>[^>]*)>"
)
CHECKS = re.compile(r" (?:integrity|crossorigin|referrerpolicy|onerror)=\"[^\"]*\"")
NOTICE = """
    <div class="alert alert-info" role="status"
         style="position: fixed; bottom: 0; left: 0; right: 0; margin: 0; z-index: 2000">
      <strong>{count} commit was measured so far, and a line needs two.</strong>
      <code>asv run main~10..main</code> measures ten that are there already,
      <code>asv run NEW</code> those that come; then <code>asv publish</code> draws them.
      Until then the <a href="#/summarylist">list</a> has all figures.
    </div>
    <script>
      if (["", "#", "#/"].includes(window.location.hash)) window.location.hash = "#/summarylist";
    </script>
"""


class Offline(OutputPublisher):
    """The last step of `asv publish`."""

    @classmethod
    def publish(cls, conf: Any, repo: Any, benchmarks: Any, graphs: Any, revisions: Any) -> None:
        top = Path(conf.html_dir)
        page = top / "index.html"
        text, missing = localized(page.read_text(encoding="utf-8"))
        if missing:
            log.warning(f"the pages load {', '.join(missing)} from the network: not in {WWW}")
        for file in WWW.iterdir():
            shutil.copy(file, top)
        measured = {result.commit_hash for result in iter_results(conf.results_dir)}
        page.write_text(with_notice(text, len(measured)), encoding="utf-8")


def localized(page: str) -> tuple[str, list[str]]:
    """Return a page that loads what is beside it, and the names of what is not there."""
    missing: list[str] = []

    def local(found: re.Match[str]) -> str:
        name = SHORTENED.sub(r"\1.js", found["name"])
        if not (WWW / name).is_file():
            missing.append(name)
            return found[0]
        rest = CHECKS.sub("", found["before"] + found["after"])
        return f'<{found["tag"]} {found["kind"]}="{name}"{rest}>'

    return FROM_AFAR.sub(local, page), missing


def with_notice(page: str, commits: int) -> str:
    """Return a page that says what to do where there is nothing to draw a line through."""
    if commits > 1:
        return page
    count = "No" if not commits else "One"
    return page.replace("<body>", "<body>" + NOTICE.format(count=count), 1)
