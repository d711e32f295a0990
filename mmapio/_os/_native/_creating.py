"""Making of new files, without a name as yet, which are mapped whole in one call.

Sources: open(2) on O_TMPFILE, fallocate(2), and those of `_opening`.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["CODE"]

_CODE: Final = """
; Makes a file in a directory, with its blocks, that begins with some bytes, and maps all of it to
; be written. The result is as that of `map_whole`. The path is the one that it will have.
FUNCTION map_new bytes:folder int:size bytes:prefix bytes:path int:row int:handler list:held
  %found = room 32
  %prefix.size = call i64 @PyBytes_Size(i64 %prefix.object)
  %is_filled = icmp sgt i64 %size, 0
  %is_small = icmp slt i64 %size, 4611686018427387904
  %is_sized = and i1 %is_filled, %is_small
  %is_longer = icmp sle i64 %prefix.size, %size
  %is_plain = and i1 %is_sized, %is_longer
  br i1 %is_plain, label %look, label %nothing
look:
  %held.size = call i64 @PyList_Size(i64 %held)
  %is_holder = icmp eq i64 %held.size, 1
  br i1 %is_holder, label %make, label %wrong
make:
  %folder.size = call i64 @PyBytes_Size(i64 %folder.object)
  %empty = add i64 %folder, %folder.size
  %out = call i64 @PyBytes_FromStringAndSize(i64 0, i64 104)
  %no_room = icmp eq i64 %out, 0
  br i1 %no_room, label %fail, label %start
start:
  %out.at = call i64 @PyBytes_AsString(i64 %out)
  %state = call i64 @PyEval_SaveThread()
  ; O_RDWR with O_TMPFILE and O_CLOEXEC, 0o666
  %fd = call i32 @open(i64 %folder, i32 FLAGS, i32 438)
  %is_closed = icmp slt i32 %fd, 0
  br i1 %is_closed, label %not_open, label %give_blocks
give_blocks:
  %ungiven = call i32 @fallocate(i32 %fd, i32 0, i64 0, i64 %size)
  %is_given = icmp eq i32 %ungiven, 0
  br i1 %is_given, label %write, label %no
write:
  %has_prefix = icmp ne i64 %prefix.size, 0
  br i1 %has_prefix, label %begin, label %ask
begin:
  %written = call i64 @write(i32 %fd, i64 %prefix, i64 %prefix.size)
  %is_begun = icmp eq i64 %written, %prefix.size
  br i1 %is_begun, label %ask, label %no
ask:
  ; AT_EMPTY_PATH, STATX_BASIC_STATS with STATX_BTIME
  %untold = call i32 @statx(i32 %fd, i64 %empty, i32 4096, i32 4095, i64 %found)
  %is_told = icmp eq i32 %untold, 0
  br i1 %is_told, label %map, label %no
map:
  %size.more = add i64 %size, PAGE_MORE
  %length = and i64 %size.more, PAGE_MASK
  ; PROT_READ with PROT_WRITE, MAP_SHARED
  %address = call i64 @mmap(i64 0, i64 %length, i32 3, i32 1, i32 %fd, i64 0)
  %is_unmapped = icmp eq i64 %address, -1
  br i1 %is_unmapped, label %no, label %tell
tell:
  %fd.word = sext i32 %fd to i64
  call void @put_word(i64 %out.at, i64 16, i64 %fd.word)
  call void @put_word(i64 %out.at, i64 24, i64 0)
  call void @put_mapped(i64 %out.at, i64 %found, i64 %address, i64 %length)
  %on_top = call i64 @guard(i64 %row, i64 %handler, i64 %path, i64 %found, i64 %out.at, i64 3)
  call void @put_word(i64 %out.at, i64 32, i64 %on_top)
  call void @PyEval_RestoreThread(i64 %state)
  call void @Py_IncRef(i64 %out)
  %held.bad = call i32 @PyList_SetItem(i64 %held, i64 0, i64 %out)
  ret i64 %out
no:
  %given_up = call i32 @close(i32 %fd)
  br label %not_open
not_open:
  call void @PyEval_RestoreThread(i64 %state)
  call void @Py_DecRef(i64 %out)
  br label %nothing
nothing:
  return None
END
"""

_FLAGS: Final = os.O_RDWR | getattr(os, "O_TMPFILE", 0) | getattr(os, "O_CLOEXEC", 0)
CODE: Final = _CODE.replace("FLAGS", str(_FLAGS))
