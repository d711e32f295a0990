"""The `.npy` format: header bytes to and from `NpyHeader`.

The format is the one of ``numpy.lib.format`` (NEP 1), versions 1.0, 2.0 and 3.0. Its header is a
Python literal, which is parsed by hand here: nothing that a file says is ever evaluated, and what
it may cost is bounded.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Callable
from math import prod
from typing import Any, Final, Literal, NamedTuple, NoReturn

import numpy as np
from numpy.lib import format as numpy_format

from .._validation import LARGEST, MOST_DIMENSIONS
from ..errors import FormatError

__all__ = [
    "LARGEST_HEADER",
    "MAGIC",
    "NpyHeader",
    "Read",
    "begins_as_npy",
    "encode_header",
    "plain_header",
    "read_header",
]

Read = Callable[[int, int], bytes]  # returns up to so many bytes of a file from an offset on

MAGIC: Final = numpy_format.MAGIC_PREFIX

_PLAIN_MAGIC: Final = MAGIC + b"\1\0"  # with the version that nearly all files have
_BEFORE_DESCR: Final = "{'descr': '"
_ALIGNMENT: Final = 64  # data begin at a multiple of this
_GROWTH_DIGITS: Final = 21  # numpy leaves room for the first dimension to grow to this
LARGEST_HEADER: Final = 1 << 20
_DEEPEST: Final = 32
_FIRST_READ: Final = 256  # holds nearly every header whole

# By version: how the length of the header is stored, and its encoding.
_VERSIONS: Final = {
    (1, 0): (struct.Struct("<H"), "latin1"),
    (2, 0): (struct.Struct("<I"), "latin1"),
    (3, 0): (struct.Struct("<I"), "utf8"),
}


class NpyHeader(NamedTuple):
    """Contents of a `.npy` header; `data_offset` is where in the file the data begin.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.files.npy import NpyHeader
    >>> NpyHeader(np.dtype("<f8"), (3, 4), False, data_offset=128).file_size
    224
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    data_offset: int

    @property
    def order(self) -> Literal["C", "F"]:
        """``"F"`` or ``"C"``."""
        return "F" if self.fortran_order else "C"

    @property
    def file_size(self) -> int:
        """Size in bytes of a file with this header and all its data."""
        return self.data_offset + prod(self.shape) * self.dtype.itemsize


def encode_header(
    dtype: np.dtype[Any], shape: tuple[int, ...], fortran_order: bool = False
) -> bytes:
    r"""Return the header of an array as it stands in a file: what `numpy.save` writes, bit for bit.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the items; no Python objects.
    shape : tuple of int
        Shape of the array.
    fortran_order : bool, default False
        Whether the first index varies fastest.

    Returns
    -------
    bytes
        Magic, version, length, text and padding, in the oldest version that can hold them.

    Raises
    ------
    FormatError
        If no version can hold the description of the dtype, or another dtype would be read back.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.files.npy import encode_header
    >>> encode_header(np.dtype("<f8"), (3, 4))[:8]
    b'\x93NUMPY\x01\x00'
    """
    header = _encoded(dtype, shape, fortran_order)
    _check_reads_back(header, dtype, shape, fortran_order)
    return header


def _encoded(dtype: np.dtype[Any], shape: tuple[int, ...], fortran_order: bool) -> bytes:
    try:
        descr = numpy_format.dtype_to_descr(dtype)
    except ValueError as error:
        raise FormatError(f"a .npy header cannot describe dtype {dtype}: {error}") from None
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran_order!r}, 'shape': {shape!r}, }}"
    if shape:
        text += " " * (_GROWTH_DIGITS - len(repr(shape[-1 if fortran_order else 0])))
    for version, (field, encoding) in _VERSIONS.items():
        try:
            raw = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        used = 8 + field.size + len(raw) + 1
        # A header that is aligned as it stands gets a whole block more: numpy does so too.
        padded = len(raw) + 1 + _ALIGNMENT - used % _ALIGNMENT
        if padded > LARGEST_HEADER:
            break
        try:
            prefix = MAGIC + bytes(version) + field.pack(padded)
        except struct.error:
            continue
        return prefix + raw.ljust(padded - 1) + b"\n"
    raise FormatError(f"dtype {dtype} is too large to be described in a .npy header")


def _check_reads_back(
    header: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], fortran_order: bool
) -> None:
    """Raise if a header would not be read as what it was made from.

    numpy describes any dtype; one that it does not know itself, such as bfloat16, by its size only.
    """
    try:
        found = read_header(lambda at, length: header[at : at + length], len(header))
    except FormatError as error:
        reason = f"numpy's description of it cannot be read back: {error}"
    else:
        if found.dtype == dtype:
            assert found[1:] == (shape, fortran_order, len(header))
            return
        reason = f"it would be read back as {found.dtype}"
    raise FormatError(
        f"a .npy file cannot hold dtype {dtype}: {reason}; write the bytes alone, as dtype "
        f"'V{dtype.itemsize}', which open(dtype=...) reads as any of that size, or a raw file"
    )


def begins_as_npy(read: Read) -> bool:
    """Return whether a file begins as a `.npy` file does."""
    return read(0, len(MAGIC)) == MAGIC


def read_header(read: Read, size: int) -> NpyHeader:
    """Parse the header of a `.npy` file.

    Parameters
    ----------
    read : callable
        ``read(offset, length)`` returns those bytes of the file.
    size : int
        Size of the file in bytes.

    Returns
    -------
    NpyHeader
        The header. Whether the data are all there is for the caller to compare.

    Raises
    ------
    FormatError
        If the header is malformed, truncated or unreasonably long, of an unknown version, or
        speaks of Python objects.

    Examples
    --------
    >>> import io, numpy as np
    >>> from mmapio.files.npy import read_header
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((2, 3), "<i4"))
    >>> data = file.getvalue()
    >>> read_header(lambda offset, length: data[offset : offset + length], len(data)).shape
    (2, 3)
    """
    start = read(0, min(size, _FIRST_READ))
    if not start.startswith(MAGIC):
        raise FormatError(f"not a .npy file: it begins with {start[:6]!r}, not {MAGIC!r}")
    if len(start) < 8:
        raise FormatError(f".npy header is truncated before its version, at byte {size}")
    version = (start[6], start[7])
    if version not in _VERSIONS:
        raise FormatError(f".npy version {version} is unknown; 1.0, 2.0 and 3.0 are")
    field, encoding = _VERSIONS[version]
    at = 8 + field.size
    if size < at:
        raise FormatError(f".npy header is truncated: the file ends at byte {size}")
    end = at + int(field.unpack_from(start, 8)[0])
    if end - at > LARGEST_HEADER:
        raise FormatError(f".npy header of {end - at} bytes is refused; at most {LARGEST_HEADER}")
    if size < end:
        raise FormatError(f".npy header is truncated: it ends at byte {end}, the file at {size}")
    raw = start[at:end] if end <= len(start) else read(at, end - at)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(f".npy header is not {encoding}: {error}") from None
    return _plain_header(text, end) or _header_of(_Literal(text).parse(), end)


@functools.lru_cache(maxsize=64)
def plain_header(raw: bytes) -> NpyHeader | None:
    """Parse the bytes of a whole header; None if `read_header` is to parse them.

    The parts of a data set have the same header, byte for byte: it is parsed once. But those of
    records are parsed anew each time, for who renames the fields of one array's dtype must not
    rename another's.
    """
    end = len(raw)
    if not raw.startswith(_PLAIN_MAGIC) or end != 10 + int.from_bytes(raw[8:10], "little"):
        return None
    found = _plain_header(raw[10:].decode("latin1"), end)
    return found if found is not None and found.dtype.names is None else None


def _plain_header(text: str, end: int) -> NpyHeader | None:
    """Parse a header of simple items that ends at a byte of the file; None if it is not one.

    It takes no pattern: to compile one takes longer than all else of the first file.
    """
    descr, mark, rest = text.partition("', 'fortran_order': ")
    order, order_mark, rest = rest.partition(", 'shape': (")
    sizes, shape_mark, rest = rest.partition("), }")
    if not (mark and order_mark and shape_mark and descr.startswith(_BEFORE_DESCR)):
        return None
    descr = descr[len(_BEFORE_DESCR) :]
    shape = _plain_shape(sizes)
    if "'" in descr or "\\" in descr or rest.lstrip(" \t") != "\n":
        return None
    if shape is None or order not in ("True", "False"):
        return None
    return _header_of({"descr": descr, "fortran_order": order == "True", "shape": shape}, end)


def _plain_shape(text: str) -> tuple[int, ...] | None:
    """Return the sizes that stand between the parentheses as numpy writes them; None if not so."""
    sizes = text.split(", ") if text else []
    if len(sizes) == 1:
        sizes = [text.removesuffix(",")] if text.endswith(",") else [""]
    if all(map(_is_plain_size, sizes)):
        return tuple(map(int, sizes))
    return None


def _is_plain_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and (text == "0" or text[0] != "0")


def _header_of(fields: object, data_offset: int) -> NpyHeader:
    """Check what the header's literal says."""
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise FormatError(
            ".npy header must be a dict of 'descr', 'fortran_order' and 'shape', "
            f"got {_shortened(fields)}"
        )
    shape, fortran_order = fields["shape"], fields["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise FormatError(f".npy shape {_shortened(shape)} is not a tuple of sizes")
    if type(fortran_order) is not bool:
        raise FormatError(f".npy fortran_order {_shortened(fortran_order)} is not a bool")
    dtype = _dtype_of(fields["descr"])
    if len(shape) > MOST_DIMENSIONS:
        raise FormatError(f".npy shape has {len(shape)} dimensions; at most {MOST_DIMENSIONS}")
    if prod(max(n, 1) for n in shape) * max(dtype.itemsize, 1) > LARGEST:
        raise FormatError(f".npy shape {_shortened(shape)} of dtype {dtype} overflows 64 bits")
    return NpyHeader(dtype, shape, fortran_order, data_offset)


def _dtype_of(descr: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(descr) if isinstance(descr, str) else numpy_format.descr_to_dtype(descr)
    except Exception as error:  # numpy raises all kinds on descriptions made of the wrong parts
        raise FormatError(
            f".npy descr {_shortened(descr)} is not a dtype: {_shortened(error)}"
        ) from None
    if dtype.hasobject:
        raise FormatError(
            f".npy data of dtype {dtype} are pickled Python objects, which cannot be mapped; "
            "load them with numpy.load(allow_pickle=True) if you trust the file"
        )
    return dtype


def _shortened(value: object) -> str:
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 100 else text[:100] + "..."


# Patterns are compiled when they are first needed: that takes longer than importing this module.


@functools.cache
def _token() -> re.Pattern[str]:
    return re.compile(
        r"""\s*(?:
            (?P<mark>[{}()\[\],:])
          | (?P<integer>-?(?:0|[1-9][0-9]{0,19}))L?(?![0-9])
          | u?'(?P<single>(?:[^'\\]|\\.)*)'
          | u?"(?P<double>(?:[^"\\]|\\.)*)"
          | (?P<word>True|False|None)
          | (?P<end>\Z)
        )""",
        re.VERBOSE | re.DOTALL,
    )


@functools.cache
def _escape() -> re.Pattern[str]:
    return re.compile(r"\\(x..|u.{4}|U.{8}|.)", re.DOTALL)


_WORDS: Final = {"True": True, "False": False, "None": None}
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


class _Literal:
    """Parser of the Python literals that headers are made of: dicts, lists, tuples, scalars."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._kind = ""
        self._token = ""
        self._at = 0

    def parse(self) -> object:
        """Return the value of the whole text."""
        self._next()
        value = self._value(0)
        if self._kind != "end":
            self._fail("something follows the dict")
        return value

    def _next(self) -> None:
        match = _token().match(self._text, self._at)
        if match is None:
            self._fail("not a literal")
        self._at = match.end()
        self._kind = match.lastgroup or ""
        self._token = match[self._kind]

    def _value(self, depth: int) -> object:
        kind, token = self._kind, self._token
        if depth > _DEEPEST:
            self._fail("nested too deeply")
        if kind == "mark" and token in _CLOSING:
            self._next()
            return self._container(token, depth + 1)
        if kind in ("mark", "end"):
            self._fail("a value is missing")
        self._next()
        if kind == "integer":
            return int(token)
        if kind == "word":
            return _WORDS[token]
        return _escape().sub(self._unescaped, token) if "\\" in token else token

    def _container(self, opening: str, depth: int) -> object:
        items: list[Any] = []
        comma = False
        while self._token != _CLOSING[opening] or self._kind != "mark":
            if items and not comma:
                self._fail("a comma is missing")
            items.append(self._pair(depth) if opening == "{" else self._value(depth))
            comma = self._kind == "mark" and self._token == ","
            if comma:
                self._next()
        self._next()
        if opening == "{":
            return dict(items)
        if opening == "[":
            return items
        return tuple(items) if comma or len(items) != 1 else items[0]

    def _pair(self, depth: int) -> tuple[str, object]:
        key = self._value(depth)
        if not isinstance(key, str) or (self._kind, self._token) != ("mark", ":"):
            self._fail("a key must be a string, with a colon after it")
        self._next()
        return key, self._value(depth)

    def _unescaped(self, match: re.Match[str]) -> str:
        code = match[1]
        if len(code) > 1:
            try:
                return chr(int(code[1:], 16))
            except (ValueError, OverflowError):
                self._fail(f"unknown escape \\{code}")
        if code not in _ESCAPED:
            self._fail(f"unknown escape \\{code}")
        return _ESCAPED[code]

    def _fail(self, why: str) -> NoReturn:
        raise FormatError(f"malformed .npy header: {why}, near character {self._at}")
