"""The handler of SIGBUS, in machine code: it needs no GIL, no allocation, no Python object.

It reads and writes a table in memory that is never given back, so it works at any time: in threads
that Python does not know, in forked children, and while the interpreter ends.

Sources: sigaction(2) and <bits/sigaction.h> of glibc and musl on its struct, siginfo_t in
<bits/types/siginfo_t.h>, ucontext_t in <sys/ucontext.h>, statx(2) and <linux/stat.h>, mmap(2),
madvise(2), signal-safety(7).
"""

from __future__ import annotations

import ctypes
import errno
import platform
from collections.abc import Callable
from typing import Final

from .. import _os
from .._os._machine_code import address_in, machine_code
from ..modes import Access

__all__ = ["FIRST_ROW", "ROWS", "ROW_WORDS", "Handler"]

# As many as there can be mappings, by the default of vm.max_map_count; pages come on first use.
ROWS: Final = 1 << 16
# Words of 8 bytes. A row: length (0: it is free; written last), address, protection, descriptor
# and path and flags for statx, inode, device, birth, offset in the file of the address; then, as
# the handler has it: faults, lowest (its complement, so that 0 is none) and highest
# address lost, si_code, whether it was past the end.
ROW_WORDS: Final = 16
# The first rows hold what is not of a mapping.
FIRST_ROW: Final = 8
_FAULTS: Final = 0  # words from here on: how many there were, in all mappings
_USED: Final = 1  # rows that were ever used
_ASIDE: Final = 2  # whether the handler has stepped aside
_RESERVE: Final = 3  # areas of memory that can be given up; 0 if they have been
_RESERVE_PAGES: Final = 8
_ACTION: Final = 16  # struct sigaction: ours,
_PREVIOUS: Final = 40  # the one before ours,
_DEFAULT: Final = 64  # and that of SIG_DFL, which is all zeros
_SA_SIGINFO_ONSTACK: Final = 0x08000004  # without SA_NODEFER

# As Linux has them on x86-64 and aarch64.
_SIGBUS: Final = 7
_BUS_ADRALN: Final = 1  # what is there is not aligned: that no page can mend
_STATX: Final = {"x86_64": 332, "aarch64": 291}  # older libraries have no function for it
_FAULT_WORD: Final = {"x86_64": 27, "aarch64": 22}  # of ucontext_t: cr2, and fault_address
_POPULATE_READ: Final = 22  # and 23 is MADV_POPULATE_WRITE, since Linux 5.14
_REPLACING: Final = 0x02 | 0x10 | 0x20 | 0x4000  # MAP_ PRIVATE, FIXED, ANONYMOUS, NORESERVE

# Numbers in capitals are put in before it is compiled: bytes from the table's begin, for one. All
# is integers but what is read and written there, as `machine_code` wants it.
_CODE: Final = """
declare i64 @table()
declare i64 @__errno_location()
declare i32 @sigaction(i32, i64, i64)
declare i32 @raise(i32)
declare i64 @mmap(i64, i64, i32, i32, i32, i64)
declare i32 @munmap(i64, i64)
declare i32 @madvise(i64, i64, i32)
declare i64 @syscall(i64, ...)

define i64 @get(i64 %at) {
  %pointer = inttoptr i64 %at to P64
  %value = load atomic i64, P64 %pointer acquire, align 8
  ret i64 %value
}
define void @put(i64 %at, i64 %value) {
  %pointer = inttoptr i64 %at to P64
  store atomic i64 %value, P64 %pointer release, align 8
  ret void
}
define i64 @in_table(i64 %offset) {
  %table = call i64 @table()
  %at = add i64 %table, %offset
  ret i64 %at
}
define i64 @of_row(i64 %row, i64 %word) {
  %in_row = shl i64 %word, 3
  %at = add i64 %row, %in_row
  %value = call i64 @get(i64 %at)
  ret i64 %value
}

; Puts the handler on top of whatever handles the signal now, unless it is there. 1: it was not.
define i32 @ensure() {
  %words = alloca i64, i32 19
  %now = ptrtoint P64 %words to i64
  %action = call i64 @in_table(i64 ACTION)
  %previous = call i64 @in_table(i64 PREVIOUS)
  %aside_at = call i64 @in_table(i64 ASIDE)
  %failed = call i32 @sigaction(i32 SIGNAL, i64 0, i64 %now)
  %there = call i64 @get(i64 %now)
  %ours = call i64 @get(i64 %action)
  %is_there = icmp eq i64 %there, %ours
  br i1 %is_there, label %done, label %install
install:
  %i = phi i64 [ 0, %0 ], [ %next, %install ]
  %in_struct = shl i64 %i, 3
  %from = add i64 %now, %in_struct
  %to = add i64 %previous, %in_struct
  %word = call i64 @get(i64 %from)
  call void @put(i64 %to, i64 %word)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 19
  br i1 %more, label %install, label %set
set:
  call void @put(i64 %aside_at, i64 0)
  %set_failed = call i32 @sigaction(i32 SIGNAL, i64 %action, i64 0)
  ret i32 1
done:
  ret i32 0
}

; Whether the file of a row is known to end before a position in it.
define i1 @ends_before(i64 %row, i64 %position) {
  %words = alloca i64, i32 32
  %facts = ptrtoint P64 %words to i64
  %fd_word = call i64 @of_row(i64 %row, i64 3)
  %fd = trunc i64 %fd_word to i32
  %path = call i64 @of_row(i64 %row, i64 4)
  %flags_word = call i64 @of_row(i64 %row, i64 5)
  %flags = trunc i64 %flags_word to i32
  %failed = call i64 (i64, ...)
      @syscall(i64 STATX, i32 %fd, i64 %path, i32 %flags, i32 4095, i64 %facts)
  %told = icmp eq i64 %failed, 0
  br i1 %told, label %compare, label %no
compare:
  %inode = call i64 @of_row(i64 %facts, i64 4)
  %size = call i64 @of_row(i64 %facts, i64 5)
  %born = call i64 @of_row(i64 %facts, i64 10)
  %device = call i64 @of_row(i64 %facts, i64 17)
  %our_inode = call i64 @of_row(i64 %row, i64 6)
  %our_device = call i64 @of_row(i64 %row, i64 7)
  %our_born = call i64 @of_row(i64 %row, i64 8)
  %other_inode = xor i64 %inode, %our_inode
  %other_device = xor i64 %device, %our_device
  %other_born = xor i64 %born, %our_born
  %other = or i64 %other_inode, %other_device
  %another = or i64 %other, %other_born
  %same = icmp eq i64 %another, 0
  %past = icmp uge i64 %position, %size
  %result = and i1 %same, %past
  ret i1 %result
no:
  ret i1 0
}

; Notes what is lost, then puts pages of zeros there: so nobody sees these without the note.
define i1 @replace(i64 %row, i64 %low, i64 %high, i32 %protection) {
  %faults_at = add i64 %row, 80
  %faults = inttoptr i64 %faults_at to P64
  %low_at = add i64 %row, 88
  %lowest = inttoptr i64 %low_at to P64
  %high_at = add i64 %row, 96
  %highest = inttoptr i64 %high_at to P64
  %all_at = call i64 @in_table(i64 FAULTS)
  %all = inttoptr i64 %all_at to P64
  %not_low = xor i64 %low, -1
  %1 = atomicrmw umax P64 %lowest, i64 %not_low seq_cst
  %2 = atomicrmw umax P64 %highest, i64 %high seq_cst
  %3 = atomicrmw add P64 %faults, i64 1 seq_cst
  %4 = atomicrmw add P64 %all, i64 1 seq_cst
  %length = sub i64 %high, %low
  %new = call i64 @mmap(i64 %low, i64 %length, i32 %protection, i32 REPLACING, i32 -1, i64 0)
  %done = icmp eq i64 %new, %low
  ret i1 %done
}

define void @on_bus_error(i32 %signal, i64 %info, i64 %context) {
  %errno_at = call i64 @__errno_location()
  %errno_pointer = inttoptr i64 %errno_at to P32
  %errno = load i32, P32 %errno_pointer
  %code_at = add i64 %info, 8
  %code_pointer = inttoptr i64 %code_at to P32
  %code = load i32, P32 %code_pointer
  %is_fault = icmp sgt i32 %code, 0
  %may_be_ours = icmp ne i32 %code, BUS_ADRALN
  %used_at = call i64 @in_table(i64 USED)
  %aside_at = call i64 @in_table(i64 ASIDE)
  %first = call i64 @in_table(i64 FIRST)
  %used = call i64 @get(i64 %used_at)
  %rows_length = mul i64 %used, ROW_BYTES
  %rows_end = call i64 @in_table(i64 %rows_length)
  %told_address = call i64 @of_row(i64 %info, i64 2)
  br i1 %is_fault, label %begin, label %sent
sent:
  ; It tells no address. But the handler that had the signal first may have sent it again, as
  ; faulthandler does; then the kernel still has the address of the fault.
  %last_address = call i64 @of_row(i64 %context, i64 FAULT_WORD)
  br label %begin
begin:
  %address = phi i64 [ %told_address, %0 ], [ %last_address, %sent ]
  br i1 %may_be_ours, label %search, label %not_ours
search:
  %row = phi i64 [ %first, %begin ], [ %next_row, %look ], [ %next_row, %confirm ]
  %is_row = icmp ult i64 %row, %rows_end
  br i1 %is_row, label %look, label %not_ours
look:
  %next_row = add i64 %row, ROW_BYTES
  %length = call i64 @get(i64 %row)
  %start = call i64 @of_row(i64 %row, i64 1)
  %in_range = sub i64 %address, %start
  %inside = icmp ult i64 %in_range, %length
  br i1 %inside, label %confirm, label %search
confirm:
  ; The row may have been given to another mapping between the two reads.
  %same_length = call i64 @get(i64 %row)
  %is_same = icmp eq i64 %same_length, %length
  br i1 %is_same, label %found, label %search
found:
  %page = and i64 %address, PAGE_MASK
  br i1 %is_fault, label %lost, label %ask
ask:
  ; Unless that was long ago: a page that can be had is not what the signal is about. If it cannot,
  ; to return is all: the fault comes back by itself, to the handler on top, which is this one.
  %access = call i64 @of_row(i64 %row, i64 2)
  %writes = lshr i64 %access, 1
  %how = trunc i64 %writes to i32
  %advice = add i32 %how, POPULATE_READ
  %refused = call i32 @madvise(i64 %page, i64 PAGE_SIZE, i32 %advice)
  %reason = load i32, P32 %errno_pointer
  %is_unknown = icmp eq i32 %reason, EINVAL
  %can_be_had = icmp eq i32 %refused, 0
  %is_sent = or i1 %can_be_had, %is_unknown
  br i1 %is_sent, label %not_ours, label %return
lost:
  %page_end = add i64 %page, PAGE_SIZE
  %end = add i64 %start, %length
  %file_offset = call i64 @of_row(i64 %row, i64 9)
  %in_mapping = sub i64 %page, %start
  %position = add i64 %file_offset, %in_mapping
  %past_end = call i1 @ends_before(i64 %row, i64 %position)
  %high = select i1 %past_end, i64 %end, i64 %page_end
  %protection_word = call i64 @of_row(i64 %row, i64 2)
  %protection = trunc i64 %protection_word to i32
  %code_word = sext i32 %code to i64
  %code_to = add i64 %row, 104
  call void @put(i64 %code_to, i64 %code_word)
  br i1 %past_end, label %note_end, label %fill
note_end:
  %past_to = add i64 %row, 112
  call void @put(i64 %past_to, i64 1)
  br label %fill
fill:
  call void @put(i64 %aside_at, i64 0)
  %filled = call i1 @replace(i64 %row, i64 %page, i64 %high, i32 %protection)
  br i1 %filled, label %return, label %fill_all
fill_all:
  ; Areas for single pages are more than vm.max_map_count allows: one for all is not. The last one
  ; may have made them one too many for any other, so the reserve is given up for it.
  %reserve_at = call i64 @in_table(i64 RESERVE)
  %reserve_pointer = inttoptr i64 %reserve_at to P64
  %reserve = atomicrmw xchg P64 %reserve_pointer, i64 0 seq_cst
  %has_reserve = icmp ne i64 %reserve, 0
  br i1 %has_reserve, label %give_up, label %fill_whole
give_up:
  %given_up = call i32 @munmap(i64 %reserve, i64 RESERVE_BYTES)
  br label %fill_whole
fill_whole:
  %filled_all = call i1 @replace(i64 %row, i64 %start, i64 %end, i32 %protection)
  br i1 %filled_all, label %return, label %not_ours
not_ours:
  ; The one before ours is to have it. If that one has passed it on to ours, nobody wants it.
  %aside = call i64 @get(i64 %aside_at)
  call void @put(i64 %aside_at, i64 1)
  %is_aside = icmp ne i64 %aside, 0
  %heir_offset = select i1 %is_aside, i64 DEFAULT, i64 PREVIOUS
  %heir = call i64 @in_table(i64 %heir_offset)
  %unset = call i32 @sigaction(i32 SIGNAL, i64 %heir, i64 0)
  br i1 %is_fault, label %return, label %send
send:
  ; It was not a fault, which would come back by itself.
  %raised = call i32 @raise(i32 SIGNAL)
  br label %return
return:
  store i32 %errno, P32 %errno_pointer
  ret void
}
"""


_CALLED: Final = ("__errno_location", "sigaction", "raise", "mmap", "munmap", "madvise", "syscall")


class Handler:
    """The handler's code and its table.

    `words` is the table, by words; `ensure` puts the handler on top of all others.
    """

    def __init__(self) -> None:
        size = 8 * ROW_WORDS * ROWS
        address = _os.map_anonymous(size)
        try:
            _os.cover(address, size, Access.WRITE)  # for a forked child has mappings of its own
            code = _code(address)
        except BaseException:
            _os.unmap(address, size)
            raise
        self.address = address
        memory = (ctypes.c_uint64 * (size // 8)).from_address(address)
        self.memory = memoryview(memory).cast("B")
        self.words = self.memory.cast("Q")
        self.words[_USED] = FIRST_ROW
        self.words[_ACTION] = self.function = code["on_bus_error"]
        self.words[_ACTION + 17] = _SA_SIGINFO_ONSTACK
        self.refill()
        self.ensure: Callable[[], int] = ctypes.PYFUNCTYPE(ctypes.c_int)(code["ensure"])

    def refill(self) -> None:
        """Have areas of memory in reserve, for when there are too many of them."""
        if not self.words[_RESERVE]:
            address = _os.map_anonymous(_RESERVE_PAGES * _os.PAGE_SIZE)
            for page in range(0, _RESERVE_PAGES, 2):
                _os.cover(address + page * _os.PAGE_SIZE, _os.PAGE_SIZE, Access.READ)
            self.words[_RESERVE] = address

    @property
    def used(self) -> int:
        """Number of rows that the handler looks at."""
        return self.words[_USED]

    @used.setter
    def used(self, rows: int) -> None:
        self.words[_USED] = rows


def _code(table: int) -> dict[str, int]:
    """Return the addresses of the functions, which are never freed."""
    libc = ctypes.CDLL(None)
    functions = {name: address_in(libc, name) for name in _CALLED}
    return machine_code(_with_numbers(platform.machine()), functions, {"table": table})


def _with_numbers(machine: str) -> str:
    """Return the code for a machine, with all that differs between machines in it."""
    numbers = {
        "ROW_BYTES": 8 * ROW_WORDS,
        "PAGE_MASK": -_os.PAGE_SIZE,
        "PAGE_SIZE": _os.PAGE_SIZE,
        "REPLACING": _REPLACING,
        "STATX": _STATX[machine],
        "RESERVE_BYTES": _RESERVE_PAGES * _os.PAGE_SIZE,
        "SIGNAL": _SIGBUS,
        "BUS_ADRALN": _BUS_ADRALN,
        "FAULT_WORD": _FAULT_WORD[machine],
        "POPULATE_READ": _POPULATE_READ,
        "EINVAL": errno.EINVAL,
        "FIRST": 8 * ROW_WORDS * FIRST_ROW,
    }
    for name in ("RESERVE", "FAULTS", "USED", "ASIDE", "ACTION", "PREVIOUS", "DEFAULT"):
        numbers[name] = 8 * globals()[f"_{name}"]
    code = _CODE
    for name, number in numbers.items():
        code = code.replace(name, str(number))
    return code
