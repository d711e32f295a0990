"""Keep a file format of your own: a header in a segment, a body in chunks, room to grow."""

import tempfile
import zlib
from pathlib import Path

import mmapio

HEADER = 64


def create(path):
    """A segment is a named range of the file that nothing can be written past the end of."""
    with mmapio.MappedFile.open(path, "x+", size=HEADER + 8 * 100_000) as file:
        header, body = file.segment(0, HEADER), file.segment(HEADER, file.size - HEADER)
        body.view(dtype="<i8")[:] = range(100_000)
        header.write(0, b"NUMBERS1")
        try:
            header.write(60, b"into the body")
        except mmapio.OutOfBoundsError as error:
            print("refused:", error)


def crc32(file):
    """Chunks are views, not copies: the checksum of any file takes next to no memory."""
    checksum = 0
    for chunk in file.chunks(64 * 1024):
        checksum = zlib.crc32(chunk, checksum)
    return checksum


def verify(path):
    with mmapio.MappedFile.open(path) as file:
        print("checksum in chunks, and of all:", crc32(file) == zlib.crc32(path.read_bytes()))


def grow(path):
    """Segments stay right when the file is resized, and arrays over it stay valid."""
    with mmapio.MappedFile.open(path, "r+", capacity=1 << 30) as file:
        header, numbers = file.segment(0, HEADER), file.view(HEADER, dtype="<i8")
        file.resize(file.size + 8)
        file.view(file.size - 8, dtype="<i8")[0] = numbers.sum()
        print("grown:", header.read(0, 8), "and their sum,", file.view(dtype="<i8")[-1])
        del numbers  # a file is not closed while an array over it is in use


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "numbers.bin")
        create(path)
        verify(path)
        grow(path)


if __name__ == "__main__":
    main()
