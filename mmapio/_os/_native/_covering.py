"""Mappings put over memory that is mapped already: the file once more, or zero pages.

Sources: mmap(2), <asm-generic/mman.h> of Linux on x86-64 and aarch64.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CODE"]

# An access is 0 to read, 1 to write, 2 to write a private copy.
CODE: Final = """
FUNCTION cover int:address int:length access:access
  ; MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE
  %failed = call i32 @map_over(i64 %address, i64 %length, i64 %access, i32 16434, i32 -1, i64 0)
  %is_bad = icmp ne i32 %failed, 0
  br i1 %is_bad, label %raise, label %good
good:
  return None
END

FUNCTION map_file_at fd:fd int:offset int:address int:length access:access
  ; MAP_FIXED and MAP_SHARED, or MAP_PRIVATE and MAP_NORESERVE
  %is_copy = icmp eq i64 %access, 2
  %i = select i1 %is_copy, i32 16402, i32 17
  %failed = call i32 @map_over(i64 %address, i64 %length, i64 %access, i32 %i, i32 %fd, i64 %offset)
  %is_bad = icmp ne i32 %failed, 0
  br i1 %is_bad, label %raise, label %good
good:
  return None
END

define i32 @map_over(i64 %at, i64 %length, i64 %access, i32 %flags, i32 %fd, i64 %offset) {
  %reads = icmp eq i64 %access, 0
  ; PROT_READ, with PROT_WRITE
  %how = select i1 %reads, i32 1, i32 3
  %state = call i64 @PyEval_SaveThread()
  %found = call i64 @mmap(i64 %at, i64 %length, i32 %how, i32 %flags, i32 %fd, i64 %offset)
  call void @PyEval_RestoreThread(i64 %state)
  %is_bad = icmp eq i64 %found, -1
  %result = zext i1 %is_bad to i32
  ret i32 %result
}
"""
