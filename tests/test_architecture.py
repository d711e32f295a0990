"""The layout of mmapio, as rules over its source.

A rule takes one parsed file and yields (line, what is wrong), or takes a public name and what it
stands for. It knows nothing of the disk, so `test_rules_can_fail` can show it what breaks it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

import mmapio

ROOT = Path(__file__).parents[1]

# Rooms, floor by floor from the ground: a module imports from its own room and from below.
FLOORS = (
    "errors",
    "_extras _formatting _forking _pacing _polling _reentry _sources _validation _warning modes",
    "_os _values",
    "guard",
    "atomics durability files",
    "pagecache",
    "kernels.engine",
    "kernels.chunks kernels.statistics",
    "kernels.rows",
    "kernels",
    "mapping",
    "arrays sharing",
    "aio cli",
    "__init__ __main__",
)
RANKS = {room: rank for rank, rooms in enumerate(FLOORS) for room in rooms.split()}
HOMES = {
    "ctypes": ("_os", "guard"),
    "numba": ("kernels", "atomics"),
    "llvmlite": (
        *("_os._machine_code", "atomics"),
        *("kernels._crc32", "kernels.rows.addresses"),
        *("kernels.engine.lanes", "kernels.engine.vectors", "kernels.engine.column_vectors"),
        *("kernels.engine.column_tiles", "kernels.engine.run_lanes"),
        *("kernels.engine.emitting", "kernels.engine.pairs"),
        *("kernels.engine.reader", "kernels.engine.seeking"),
        *("kernels.statistics._extreme_vectors", "kernels._match_bits"),
    ),
}
WITHOUT_NUMBA = ("_os._machine_code",)  # it imports llvmlite alone
PRINTERS = ("cli.terminal", "__main__")
LONGEST_FUNCTION = 70

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


class Source(NamedTuple):
    """A file: its path from the top of the repository, and what it says."""

    path: PurePosixPath
    tree: ast.Module

    @property
    def module(self) -> str:
        """Its name within mmapio; `__init__` is that of mmapio itself."""
        parts = self.path.with_suffix("").parts[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)

    @property
    def looks_public(self) -> bool:
        return re.search(r"(^|\.)_(?!_init__$)", self.module) is None


Rule = Callable[[Source], Iterator[tuple[int, str]]]
NameRule = Callable[[str, object], Iterator[str]]


def read(*folders: str) -> list[Source]:
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    trees = [ast.parse(file.read_bytes()) for file in files]
    paths = [PurePosixPath(file.relative_to(ROOT)) for file in files]
    return list(map(Source, paths, trees))


def breaches(rule: Rule, sources: list[Source]) -> list[str]:
    return [f"{s.path}:{line}: {wrong}" for s in sources for line, wrong in rule(s)]


# What a file says -------------------------------------------------------------------------------


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run at import, also those under `if`, `try` and `with`."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for block in (node, *getattr(node, "handlers", ())):
                for part in ("body", "orelse", "finalbody"):
                    yield from top_level(getattr(block, part, []))


def called(node: ast.AST) -> str:
    """Return the last part of the name of what a call calls; empty: it is no call."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute name) of what is imported, in functions and by literals as well."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(source, "." * node.level + (node.module or ""))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif called(node) in ("__import__", "import_module", "require"):
            names = [n.value for n in node.args[:1] if isinstance(n, ast.Constant)]
            yield from ((node.lineno, absolute(source, name)) for name in names)


def absolute(source: Source, name: str) -> str:
    """Return the name that a perhaps relative import means."""
    tail = name.lstrip(".")
    level = len(name) - len(tail)
    base = source.path.parts[:-level] if level else ()
    return ".".join((*base, tail) if tail else base)


def module_in(name: str, modules: Collection[str]) -> str | None:
    """Return which of some modules an absolute name is, or lies in; None: none."""
    first, *rest = name.split(".")
    names = [".".join(parts) or "__init__" for parts in (rest, rest[:-1])]
    return next((n for n in names if n in modules), None) if first == "mmapio" else None


def room_of(module: str) -> str:
    """Return the room that a module, or a name of one, lies in; a name of no room is of mmapio."""
    parts = module.split(".")
    rooms = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((room for room in rooms if room in RANKS), "__init__")


def exported(tree: ast.Module) -> list[str]:
    """Return the literal `__all__` of a module; empty where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


def definitions(tree: ast.Module) -> Iterator[Definition]:
    return (node for node in top_level(tree.body) if isinstance(node, Definition))


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that a module has once it is imported."""
    names = {node.name for node in definitions(tree)}
    for node in top_level(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            stored = (n for n in ast.walk(node) if isinstance(getattr(n, "ctx", None), ast.Store))
            names |= {ast.unparse(n) for n in stored}
    return names


# Rules of the layout: a rule takes a file ---------------------------------------------------------


def ranked(source: Source) -> Iterator[tuple[int, str]]:
    """Every module lies in a room, and imports from its own and from lower floors only."""
    here = room_of(source.module)
    if here == "__init__" != source.module:
        yield 1, f"{source.module} lies in no room; put it into one, or give it a floor"
        return
    for line, name in imports(source):
        first, _, rest = name.partition(".")
        there = room_of(rest) if first == "mmapio" else here
        if there != here and RANKS[there] >= RANKS[here]:
            yield line, f"{here} (floor {RANKS[here]}) imports {there} (floor {RANKS[there]})"


def circles(sources: list[Source]) -> Iterator[str]:
    """Yield what stands in a circle of imports, those in functions included."""
    modules = {source.module for source in sources}
    left = {
        source.module: {module_in(name, modules) for _, name in imports(source)}
        - {source.module, None}
        for source in sources
    }
    while free := [module for module, wanted in left.items() if not wanted & left.keys()]:
        for module in free:
            del left[module]
    yield from sorted(left)


def at_home(source: Source) -> Iterator[tuple[int, str]]:
    """Each library of HOMES is imported in its homes only."""
    for line, name in imports(source):
        homes = HOMES.get(name.split(".")[0])
        if homes and not f"{source.module}.".startswith(tuple(f"{home}." for home in homes)):
            yield line, f"{name} is for {' and '.join(homes)} only"


def numba_first(source: Source) -> Iterator[tuple[int, str]]:
    """Of numba and llvmlite, numba itself is imported first.

    Who imports `numba.core` holds its lock while it waits for that of numba. So does, the other way
    round, another thread that imports numba: Python then hands out modules that are half there.
    """
    nodes = (n for n in ast.walk(source.tree) if isinstance(n, ast.Import | ast.ImportFrom))
    names = sorted(
        (node.lineno, name)
        for node in nodes
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
        if name and name.split(".")[0] in ("numba", "llvmlite")
    )
    if names and names[0][1] != "numba" and source.module not in WITHOUT_NUMBA:
        yield names[0][0], f"imports {names[0][1]} before numba"


def short(source: Source) -> Iterator[tuple[int, str]]:
    """A function fits on a screen; its docstring does not count."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            text = node.body[0]
            unread = text.end_lineno - text.lineno + 1 if ast.get_docstring(node) else 0
            lines = node.end_lineno - node.lineno + 1 - unread
            if lines > LONGEST_FUNCTION:
                yield node.lineno, f"{node.name} has {lines} lines, over {LONGEST_FUNCTION}"


def listed(source: Source) -> Iterator[tuple[int, str]]:
    """Names in `__all__` exist, and a public module lists all that looks public."""
    names, bound = exported(source.tree), bound_names(source.tree)
    # Names that come on first use, or by a star, are asked for in test_every_name_is_there.
    if bound.isdisjoint({"__getattr__", "*"}):
        yield from ((1, f"__all__ names {n}, which is not there") for n in names if n not in bound)
    for node in definitions(source.tree) if source.looks_public else ():
        if not node.name.startswith("_") and node.name not in names:
            yield node.lineno, f"{node.name} looks public but is not in __all__"


def quiet(source: Source) -> Iterator[tuple[int, str]]:
    """Only the command line prints."""
    for node in ast.walk(source.tree):
        if called(node) == "print" and source.module not in PRINTERS:
            yield node.lineno, f"prints, as only {' and '.join(PRINTERS)} may"


REFUSED_FIRST_WORDS = re.compile(
    r"(What|Whether|How|Who|Whose|Which|When|Where|Why|Tells?|Told|Those|That)\b"
)


def well_begun(source: Source) -> Iterator[tuple[int, str]]:
    """The first line of a docstring names its subject: by a noun, or by what a function does."""
    documented = ast.Module | ast.ClassDef | Function
    for node in ast.walk(source.tree):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        if text and REFUSED_FIRST_WORDS.match(text):
            yield getattr(node, "lineno", 1), f"the docstring begins {text.split()[0]!r}"


def slots_of(module: str) -> set[str]:
    """Return the attributes of the classes of a module: the names in their slots."""
    path = ROOT / "mmapio" / (module.replace(".", "/") + ".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            found |= set(ast.literal_eval(node.value))
    return found


# The attributes that are a mapping's state, and the module whose business each is.
OWNERS = {
    name: module
    for module in (
        *("durability.write_ledger", "arrays.row_file", "sharing.shared_file"),
        *("mapping.source", "mapping.region", "mapping.mapped_bytes"),
    )
    for name in slots_of(module)
}


def kept_to_itself(source: Source) -> Iterator[tuple[int, str]]:
    """The state of a mapping is changed by its own methods, and by nobody from outside."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            whose, name = ast.unparse(node.value), node.attr
        elif called(node) == "setattr" and isinstance(node.args[1], ast.Constant):
            whose, name = ast.unparse(node.args[0]), node.args[1].value
        else:
            continue
        owner = OWNERS.get(name)
        if owner and whose not in ("self", "cls") and source.module != owner:
            yield node.lineno, f"{whose}.{name} is changed, which is for {owner}"


LOCKERS = (
    *("mapping.source", "mapping.span", "mapping.closing"),
    *("mapping.region", "mapping.mapped_bytes"),
)


def locked_by_spans(source: Source) -> Iterator[tuple[int, str]]:
    """The lock of a mapping is taken by spans, and by what opens, views and closes its memory."""
    for node in ast.walk(source.tree):
        is_lock = isinstance(node, ast.Attribute) and node.attr == "lock"
        if is_lock and ast.unparse(node).endswith("source.lock") and source.module not in LOCKERS:
            yield node.lineno, "takes a mapping's lock: make a Span, or a Hold"


# Rules of what users reach: a rule takes a name and what it stands for ----------------------------


def public_things() -> Iterator[tuple[str, object]]:
    """Yield what mmapio and the modules that it offers offer."""
    offered = [getattr(mmapio, name) for name in mmapio.__all__]
    for module in [mmapio, *filter(inspect.ismodule, offered)]:
        for name in module.__all__:
            yield f"{module.__name__}.{name}", getattr(module, name)


def members(name: str, thing: object) -> Iterator[tuple[str, object]]:
    """Yield the functions and properties that `thing` is or has, by mmapio's own hand."""
    if not inspect.isclass(thing):
        yield name, thing
        return
    for owner in thing.__mro__:
        for key, value in vars(owner).items() if owner.__module__.startswith("mmapio") else ():
            plain = getattr(value, "__func__", value)
            is_foreign = inspect.ismethoddescriptor(inspect.unwrap(plain))  # wrapped, of numpy
            if not (key.startswith("_") or is_foreign) and isinstance(plain, property | Callable):
                yield f"{name}.{key}", plain


def section(docstring: str, title: str) -> list[str]:
    """Return the lines of a section of a numpydoc docstring; empty where there is none."""
    parts = re.split(r"^(.+)\n-{3,}$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    found = [text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name == title]
    return "\n".join(found).splitlines()


def exemplified(name: str, thing: object) -> Iterator[str]:
    """Every public function and class has an example that runs."""
    example = section(thing.__doc__ or "", "Examples")
    if callable(thing) and not any(re.match(r">>>(?!.*\+SKIP)", line) for line in example):
        yield f"{name} has no example that runs"


def explained(name: str, thing: object) -> Iterator[str]:
    """Every public function, method and property has a summary and explains its parameters."""
    for path, member in members(name, thing):
        text = member.__doc__ or ""
        if not text:
            yield f"{path} has no docstring"
        if not callable(member):
            continue
        taken = [p for p in inspect.signature(member).parameters if p not in ("self", "cls")]
        lines = section(text, "Parameters") + section(text, "Other Parameters")
        heads = [line.split(" :")[0] for line in lines if re.match(r"\S", line)]
        told = [word.strip().lstrip("*") for head in heads for word in head.split(",")]
        yield from (f"{path} does not explain {p}" for p in taken if p not in told)
        yield from (f"{path} takes no {p}" for p in told if p not in taken)


# Tests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [ranked, locked_by_spans, kept_to_itself, well_begun, at_home, numba_first, listed, quiet],
)
def test_the_package_keeps(rule: Rule) -> None:
    found = breaches(rule, read("mmapio"))
    assert not found, "\n".join([rule.__doc__ or "", *found])


def test_no_imports_go_in_a_circle() -> None:
    assert list(circles(read("mmapio"))) == []


def test_a_circle_is_found() -> None:
    texts = {
        "one": "def f():\n    from .two import x",
        "two": "from . import three",
        "three": "import mmapio.one",
        "four": "from .one import y",
    }
    sources = [
        Source(PurePosixPath(f"mmapio/{name}.py"), ast.parse(text)) for name, text in texts.items()
    ]
    assert list(circles(sources[1:])) == []
    assert list(circles(sources)) == ["four", "one", "three", "two"]


def test_functions_fit_on_a_screen() -> None:
    found = breaches(short, read("mmapio", "tests", "examples", "asv_benchmarks"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", [exemplified, explained])
def test_what_users_reach_is(rule: NameRule) -> None:
    found = [wrong for name, thing in public_things() for wrong in rule(name, thing)]
    assert not found, "\n".join([rule.__doc__ or "", *found])


@pytest.mark.parametrize("module", ["mmapio", "mmapio.atomics", "mmapio.kernels"])
def test_every_name_is_there(module: str) -> None:
    there = importlib.import_module(module)
    assert [name for name in there.__all__ if not hasattr(there, name)] == []


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import mmapio", {"numba", "llvmlite", "typer", "rich", "tqdm"}),
        ("import mmapio; mmapio.open(sys.argv[1], dtype='u1')[0]", {"numba", "typer"}),
    ],
)
def test_what_is_heavy_is_not_imported(
    code: str, unwanted: set[str], run_python: Callable[..., str]
) -> None:
    loaded = run_python(f"import sys; {code}; print(*sys.modules)", __file__).split()
    assert "mmapio" in loaded
    assert unwanted.isdisjoint(loaded)


def test_what_takes_long_is_not_imported_besides_numpy(run_python: Callable[..., str]) -> None:
    code = (
        "import numpy, sys; known = {*sys.modules}; import mmapio; print(*{*sys.modules} - known)"
    )
    loaded = run_python(code).split()
    assert "mmapio" in loaded
    assert {"dataclasses", "inspect", "numpy.typing", "pathlib", "queue"}.isdisjoint(loaded)


# (rule, path, text, what is wrong with it)
BROKEN: list[tuple[Rule, str, str, str]] = [
    (ranked, "novelty.py", "", "novelty lies in no room; put it into one, or give it a floor"),
    (ranked, "mapping/region.py", "from ..arrays import x", "mapping (floor 10) imports arrays"),
    (ranked, "mapping/region.py", "import mmapio.arrays.opening", "imports arrays (floor 11)"),
    (ranked, "arrays/opening.py", "from ..sharing import seqlock", "imports sharing (floor 11)"),
    (ranked, "arrays/opening.py", "from mmapio import open", "imports __init__ (floor 13)"),
    (ranked, "arrays/opening.py", "import mmapio", "imports __init__ (floor 13)"),
    (ranked, "files/npy.py", "def f():\n    from .. import arrays", "imports arrays"),
    (ranked, "files/npy.py", "if TYPE_CHECKING:\n    from .. import arrays", "imports arrays"),
    (ranked, "files/npy.py", "import_module('..arrays', __package__)", "imports arrays"),
    (ranked, "files/npy.py", "importlib.import_module('mmapio.arrays')", "imports arrays"),
    (ranked, "_os/_linux.py", "from ..files.npy import NpyHeader", "_os (floor 2) imports files"),
    (ranked, "kernels/chunks/x.py", "from ..rows import y", "imports kernels.rows (floor 8)"),
    (ranked, "kernels/engine/x.py", "from .. import touch", "imports kernels (floor 9)"),
    (at_home, "mapping/region.py", "import ctypes", "ctypes is for _os and guard only"),
    (at_home, "_osmosis.py", "from ctypes import CDLL", "ctypes.CDLL is for"),
    (
        at_home,
        "arrays/opening.py",
        "def f():\n    import numba",
        "numba is for kernels and atomics only",
    ),
    (at_home, "arrays/opening.py", "require('numba.core', 'x')", "numba.core is for"),
    (at_home, "arrays/opening.py", "__import__('numba')", "numba is for"),
    (
        at_home,
        "kernels/search.py",
        "from llvmlite import ir",
        "llvmlite.ir is for _os._machine_code",
    ),
    (
        numba_first,
        "atomics/x.py",
        "from llvmlite import ir\nimport numba",
        "imports llvmlite before",
    ),
    (
        numba_first,
        "atomics/x.py",
        "from numba.core import types",
        "imports numba.core before numba",
    ),
    (numba_first, "atomics/x.py", "def f():\n    import numba.core", "imports numba.core before"),
    (
        short,
        "arrays/opening.py",
        "def f():\n    '''A\n    B'''\n" + "    x\n" * 70,
        "f has 71 lines",
    ),
    (listed, "arrays/opening.py", "__all__ = ['open']", "__all__ names open, which is not there"),
    (listed, "_validation.py", "__all__ = ['a']\nb = a\ndef f():\n    a = 1", "names a,"),
    (listed, "arrays/opening.py", "__all__ = []\nclass A: ...", "A looks public"),
    (listed, "arrays/opening.py", "if X:\n    pass\nelse:\n    def f(): ...", "f looks public"),
    (listed, "__init__.py", "def f(): ...", "f looks public"),
    (
        quiet,
        "cli/demo.py",
        "def f():\n    print(1)",
        "prints, as only cli.terminal and __main__ may",
    ),
    (well_begun, "files/npy.py", "'What npy is.'", "the docstring begins 'What'"),
    (well_begun, "files/npy.py", "def f():\n    'Tell it.'", "the docstring begins 'Tell'"),
    (well_begun, "files/npy.py", "class A:\n    'Who?'", "the docstring begins 'Who?'"),
    (locked_by_spans, "mapping/flushing.py", "with source.lock: pass", "takes a mapping's lock"),
    (locked_by_spans, "arrays/x.py", "m._source.lock.acquire()", "takes a mapping's lock"),
    (kept_to_itself, "arrays/x.py", "setattr(source, 'closed', True)", "is for mapping.source"),
    (kept_to_itself, "mapping/flushing.py", "ledger.failure = 1", "is for durability.write_ledger"),
    (kept_to_itself, "arrays/x.py", "region.source.closed = True", "is for mapping.source"),
    (kept_to_itself, "mapping/resizing.py", "region.size = 3", "is for mapping.region"),
    (kept_to_itself, "mapping/closing.py", "handle._state = None", "is for mapping.mapped_bytes"),
    (kept_to_itself, "mapping/closing.py", "source._kept, x = None, 1", "is for mapping.source"),
    (kept_to_itself, "mapping/closing.py", "del source._kept", "is for mapping.source"),
]


@pytest.mark.parametrize(("rule", "path", "text", "wrong"), BROKEN)
def test_rules_can_fail(rule: Rule, path: str, text: str, wrong: str) -> None:
    source = Source(PurePosixPath("mmapio", path), ast.parse(text))
    assert wrong in "\n".join(breaches(rule, [source]))


FUNCTION = """
def read(offset, *parts):
    '''Read.

    Parameters
    ----------
    offset, *parts : int
        Where.

    Examples
    --------
    >>> read(0)
    '''
"""
# (rule, text, what is wrong with the last thing that it defines)
UNDOCUMENTED: list[tuple[NameRule, str, str]] = [
    (exemplified, "class A: ...", "x has no example that runs"),
    (exemplified, FUNCTION.replace(">>> read", "read"), "x has no example that runs"),
    (exemplified, FUNCTION.replace("(0)", "(0)  # doctest: +SKIP"), "x has no example that runs"),
    (exemplified, FUNCTION.replace("Examples", "Notes"), "x has no example that runs"),
    (explained, FUNCTION.replace("offset, *parts :", "offset :"), "x does not explain parts"),
    (explained, FUNCTION.replace("offset, *parts)", "offset)"), "x takes no parts"),
    (explained, FUNCTION.replace("Parameters", "Arguments"), "x does not explain offset"),
    (explained, "class A:\n    def f(self): ...", "x.f has no docstring"),
    (explained, "class A:\n    size = property(lambda self: 0)", "x.size has no docstring"),
    (explained, "class A:\n    @classmethod\n    def f(cls, n): 'F.'", "x.f does not explain n"),
    (explained, "class A:\n    def f(self, n): 'F.'\nclass B(A): ...", "x.f does not explain n"),
]


@pytest.mark.parametrize(("rule", "text", "wrong"), UNDOCUMENTED)
def test_rules_of_what_users_reach_can_fail(rule: NameRule, text: str, wrong: str) -> None:
    names = {"__name__": "mmapio.made_up"}
    exec(text, names)
    assert wrong in list(rule("x", list(names.values())[-1]))
