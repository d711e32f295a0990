"""Writing of dirty pages, which is started or waited for; and whether the file is as it was then.

Sources: sync_file_range(2), msync(2), statx(2), <linux/stat.h> on its struct.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CODE"]

CODE: Final = """
FUNCTION start_writeback fd:fd int:offset int:length
  %state = call i64 @PyEval_SaveThread()
  ; SYNC_FILE_RANGE_WRITE
  %failed = call i32 @sync_file_range(i32 %fd, i64 %offset, i64 %length, i32 2)
  call void @PyEval_RestoreThread(i64 %state)
  %is_bad = icmp ne i32 %failed, 0
  br i1 %is_bad, label %raise, label %good
good:
  return None
END

; The system tells of a failure once: it is noted before a signal handler can run.
FUNCTION sync int:address int:length list:failed
  %errno = call i64 @__errno_location()
  %state = call i64 @PyEval_SaveThread()
  ; MS_SYNC
  %result = call i32 @msync(i64 %address, i64 %length, i32 4)
  call void @PyEval_RestoreThread(i64 %state)
  %is_bad = icmp ne i32 %result, 0
  br i1 %is_bad, label %note, label %good
good:
  return None
note:
  %code = load i32, %errno
  %noted = call i32 @note(i64 %failed)
  store i32 %code, %errno
  %is_noted = icmp eq i32 %noted, 0
  br i1 %is_noted, label %raise, label %fail
END

; Whether the file at a path, or of a descriptor, still has the inode, size, blocks, birth and
; device of some facts, once the memory is synced.
FUNCTION sync_unchanged int:address int:length list:failed fd:fd bytes:path bytes:facts
  %found = room 32
  %size = call i64 @PyBytes_Size(i64 %facts.object)
  %is_whole = icmp eq i64 %size, 48
  br i1 %is_whole, label %start, label %wrong
start:
  %errno = call i64 @__errno_location()
  %state = call i64 @PyEval_SaveThread()
  %result = call i32 @msync(i64 %address, i64 %length, i32 4)
  %is_bad = icmp ne i32 %result, 0
  br i1 %is_bad, label %note, label %look
note:
  %code = load i32, %errno
  call void @PyEval_RestoreThread(i64 %state)
  %noted = call i32 @note(i64 %failed)
  store i32 %code, %errno
  %is_noted = icmp eq i32 %noted, 0
  br i1 %is_noted, label %raise, label %fail
look:
  ; AT_FDCWD, AT_EMPTY_PATH, STATX_BASIC_STATS with STATX_BTIME
  %is_named = icmp slt i32 %fd, 0
  %from = select i1 %is_named, i32 -100, i32 %fd
  %flags = select i1 %is_named, i32 0, i32 4096
  %untold = call i32 @statx(i32 %from, i64 %path, i32 %flags, i32 4095, i64 %found)
  call void @PyEval_RestoreThread(i64 %state)
  %is_told = icmp eq i32 %untold, 0
  br i1 %is_told, label %compare, label %changed
compare:
  %1 = call i64 @other(i64 %found, i64 32, i64 %facts, i64 0)
  %2 = call i64 @other(i64 %found, i64 40, i64 %facts, i64 8)
  %3 = call i64 @other(i64 %found, i64 48, i64 %facts, i64 16)
  %4 = call i64 @other(i64 %found, i64 80, i64 %facts, i64 24)
  %5 = call i64 @other(i64 %found, i64 88, i64 %facts, i64 32)
  %6 = and i64 %5, 4294967295
  %7 = call i64 @other(i64 %found, i64 136, i64 %facts, i64 40)
  %8 = or i64 %1, %2
  %9 = or i64 %3, %4
  %10 = or i64 %6, %7
  %11 = or i64 %8, %9
  %differs = or i64 %10, %11
  %is_same = icmp eq i64 %differs, 0
  br i1 %is_same, label %same, label %changed
same:
  return True
changed:
  return False
END

define i32 @note(i64 %failed) {
  %one = call i64 @PyLong_FromLongLong(i64 -1)
  %is_none = icmp eq i64 %one, 0
  br i1 %is_none, label %bad, label %append
append:
  %result = call i32 @PyList_Append(i64 %failed, i64 %one)
  call void @Py_DecRef(i64 %one)
  ret i32 %result
bad:
  ret i32 -1
}

define i64 @other(i64 %one, i64 %in_one, i64 %two, i64 %in_two) {
  %at_one = add i64 %one, %in_one
  %at_two = add i64 %two, %in_two
  %word = load i64, %at_one
  %known = load i64, %at_two
  %differs = xor i64 %word, %known
  ret i64 %differs
}
"""
