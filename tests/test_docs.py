"""What the pages of docs/ show is what happens: their code runs, one page as one session."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def session(page: str) -> str:
    """Return the code of a page, every other line empty, so that errors tell the line."""
    lines = [""] * page.count("\n")
    for block in BLOCK.finditer(page):
        first = page.count("\n", 0, block.start(2))
        code = block[2].splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines) + "\n"


@pytest.mark.timeout(600)  # the page of the kernels compiles many
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_code_of_a_page_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = session(path.read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(code, {}, path.name, str(path), 0)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    told: list[str] = []
    doctest.DocTestRunner(optionflags=options).run(test, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_all_code_of_a_page_is_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert 2 * len(blocks) == len(re.findall(r"^```", text, re.MULTILINE))
    for kind, code in blocks:
        assert kind == "pycon", f"a block of {kind or 'no language'} is not run:\n{code}"
        assert code.startswith(">>> "), f"this would be taken for output:\n{code}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        assert (DOCS / link).exists(), f"{path.name} links to {link}, which is not there"


def test_what_a_page_gets_wrong_is_told() -> None:
    page = "# A page\n\n```pycon\n>>> 1 + 1\n2\n```\n\n```pycon\n>>> 2 + 2\n5\n```\n"
    test = doctest.DocTestParser().get_doctest(session(page), {}, "page", "page.md", 0)
    told: list[str] = []
    found = doctest.DocTestRunner().run(test, out=told.append)
    assert (found.failed, found.attempted) == (1, 2)
    assert 'File "page.md", line 9' in "".join(told)
