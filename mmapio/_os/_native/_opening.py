"""Opening, mapping and unmapping of whole files, each in one call.

Sources: open(2), statx(2), <linux/stat.h> on its struct, mmap(2), pread(2), munmap(2).
"""

from __future__ import annotations

from typing import Final

__all__ = ["CODE"]

# A row of the guard's table: `guard._handler` says what its words are.
CODE: Final = """
; Opens a regular file that is not empty, and maps all of it. The result is None if anything else
; is there, or anything fails: the caller finds out what, step by step. Otherwise it is packed, as
; `_facts.MAPPED` unpacks it, and the head follows. It is put into the list as well, which has one
; item: so the caller has it, too, if Ctrl-C comes as this returns.
FUNCTION map_whole bytes:path int:flags int:access int:keeps int:row int:handler int:head list:held
  %found = room 32
  %path.size = call i64 @PyBytes_Size(i64 %path.object)
  %empty = add i64 %path, %path.size
  %held.size = call i64 @PyList_Size(i64 %held)
  %is_holder = icmp eq i64 %held.size, 1
  br i1 %is_holder, label %make, label %wrong
make:
  %out.size = add i64 %head, 104
  %out = call i64 @PyBytes_FromStringAndSize(i64 0, i64 %out.size)
  %no_room = icmp eq i64 %out, 0
  br i1 %no_room, label %fail, label %start
start:
  %out.at = call i64 @PyBytes_AsString(i64 %out)
  %flags.short = trunc i64 %flags to i32
  %state = call i64 @PyEval_SaveThread()
  %fd = call i32 @open(i64 %path, i32 %flags.short, i32 0)
  %is_closed = icmp slt i32 %fd, 0
  br i1 %is_closed, label %not_open, label %ask
ask:
  ; AT_EMPTY_PATH, STATX_BASIC_STATS with STATX_BTIME
  %untold = call i32 @statx(i32 %fd, i64 %empty, i32 4096, i32 4095, i64 %found)
  %is_told = icmp eq i32 %untold, 0
  br i1 %is_told, label %look, label %no
look:
  %mode.from = add i64 %found, 28
  %mode.more = load i32, %mode.from
  %mode = and i32 %mode.more, 65535
  %kind = and i32 %mode, 61440
  %is_regular = icmp eq i32 %kind, 32768
  %size = call i64 @word_of(i64 %found, i64 40)
  %is_filled = icmp sgt i64 %size, 0
  %is_small = icmp slt i64 %size, 4611686018427387904
  %is_sized = and i1 %is_filled, %is_small
  %is_plain = and i1 %is_regular, %is_sized
  br i1 %is_plain, label %map, label %no
map:
  %size.more = add i64 %size, PAGE_MORE
  %length = and i64 %size.more, PAGE_MASK
  ; Of Access.READ, WRITE and COPY: PROT_READ, with PROT_WRITE; MAP_SHARED, or MAP_PRIVATE with
  ; MAP_NORESERVE.
  %reads = icmp eq i64 %access, 0
  %protection = select i1 %reads, i32 1, i32 3
  %copies = icmp eq i64 %access, 2
  %sharing = select i1 %copies, i32 16386, i32 1
  %address = call i64 @mmap(i64 0, i64 %length, i32 %protection, i32 %sharing, i32 %fd, i64 0)
  %is_unmapped = icmp eq i64 %address, -1
  br i1 %is_unmapped, label %no, label %peek
peek:
  %looks = icmp ne i64 %head, 0
  br i1 %looks, label %read, label %write
read:
  %head.to = add i64 %out.at, 104
  %head.read = call i64 @pread(i32 %fd, i64 %head.to, i64 %head, i64 0)
  %is_unread = icmp slt i64 %head.read, 0
  br i1 %is_unread, label %unmap, label %write
write:
  %head.length = phi i64 [ 0, %peek ], [ %head.read, %read ]
  call void @put_word(i64 %out.at, i64 24, i64 %head.length)
  call void @put_mapped(i64 %out.at, i64 %found, i64 %address, i64 %length)
  %may = zext i32 %protection to i64
  %on_top = call i64 @guard(i64 %row, i64 %handler, i64 %path, i64 %found, i64 %out.at, i64 %may)
  call void @put_word(i64 %out.at, i64 32, i64 %on_top)
  %is_kept = icmp ne i64 %keeps, 0
  br i1 %is_kept, label %hold, label %close
hold:
  %fd.word = sext i32 %fd to i64
  call void @put_word(i64 %out.at, i64 16, i64 %fd.word)
  br label %done
close:
  %closed = call i32 @close(i32 %fd)
  call void @put_word(i64 %out.at, i64 16, i64 -1)
  br label %done
done:
  call void @PyEval_RestoreThread(i64 %state)
  call void @Py_IncRef(i64 %out)
  %held.bad = call i32 @PyList_SetItem(i64 %held, i64 0, i64 %out)
  ret i64 %out
unmap:
  %unmapped = call i32 @munmap(i64 %address, i64 %length)
  br label %no
no:
  %given_up = call i32 @close(i32 %fd)
  br label %not_open
not_open:
  call void @PyEval_RestoreThread(i64 %state)
  call void @Py_DecRef(i64 %out)
  return None
END

FUNCTION unmap int:address int:length
  %state = call i64 @PyEval_SaveThread()
  %failed = call i32 @munmap(i64 %address, i64 %length)
  call void @PyEval_RestoreThread(i64 %state)
  %is_bad = icmp ne i32 %failed, 0
  br i1 %is_bad, label %raise, label %good
good:
  return None
END

; Packs where a file is mapped, and its facts.
define void @put_mapped(i64 %out, i64 %found, i64 %address, i64 %length) {
  %mode.from = add i64 %found, 28
  %mode.more = load i32, %mode.from
  %mode = and i32 %mode.more, 65535
  %mode.word = zext i32 %mode to i64
  %inode = call i64 @word_of(i64 %found, i64 32)
  %size = call i64 @word_of(i64 %found, i64 40)
  %blocks = call i64 @word_of(i64 %found, i64 48)
  %born_s = call i64 @word_of(i64 %found, i64 80)
  %born.more = call i64 @word_of(i64 %found, i64 88)
  %born_ns = and i64 %born.more, 4294967295
  %device = call i64 @word_of(i64 %found, i64 136)
  %device.major = and i64 %device, 4294967295
  %device.minor = lshr i64 %device, 32
  call void @put_word(i64 %out, i64 0, i64 %address)
  call void @put_word(i64 %out, i64 8, i64 %length)
  call void @put_word(i64 %out, i64 40, i64 %mode.word)
  call void @put_word(i64 %out, i64 48, i64 %inode)
  call void @put_word(i64 %out, i64 56, i64 %size)
  call void @put_word(i64 %out, i64 64, i64 %blocks)
  call void @put_word(i64 %out, i64 72, i64 %born_s)
  call void @put_word(i64 %out, i64 80, i64 %born_ns)
  call void @put_word(i64 %out, i64 88, i64 %device.major)
  call void @put_word(i64 %out, i64 96, i64 %device.minor)
  ret void
}

; Fills a row of the guard's table, if there is one, for a file that is found by its path; whether
; the handler is on top.
define i64 @guard(i64 %row, i64 %handler, i64 %path, i64 %found, i64 %mapped, i64 %may) {
  %handled = room 20
  %address = call i64 @word_of(i64 %mapped, i64 0)
  %length = call i64 @word_of(i64 %mapped, i64 8)
  %is_guarded = icmp ne i64 %row, 0
  br i1 %is_guarded, label %guard, label %no
guard:
  %inode = call i64 @word_of(i64 %found, i64 32)
  %born_s = call i64 @word_of(i64 %found, i64 80)
  %device = call i64 @word_of(i64 %found, i64 136)
  call void @put_word(i64 %row, i64 8, i64 %address)
  call void @put_word(i64 %row, i64 16, i64 %may)
  call void @put_word(i64 %row, i64 24, i64 -100)
  call void @put_word(i64 %row, i64 32, i64 %path)
  call void @put_word(i64 %row, i64 40, i64 0)
  call void @put_word(i64 %row, i64 48, i64 %inode)
  call void @put_word(i64 %row, i64 56, i64 %device)
  call void @put_word(i64 %row, i64 64, i64 %born_s)
  call void @put_word(i64 %row, i64 72, i64 0)
  call void @put_word(i64 %row, i64 80, i64 0)
  call void @put_word(i64 %row, i64 88, i64 0)
  call void @put_word(i64 %row, i64 96, i64 0)
  call void @put_word(i64 %row, i64 112, i64 0)
  ; Last: from here on the handler looks at the row.
  %row.pointer = inttoptr i64 %row to P64
  store atomic i64 %length, P64 %row.pointer release, align 8
  %unknown = call i32 @sigaction(i32 7, i64 0, i64 %handled)
  %top = call i64 @word_of(i64 %handled, i64 0)
  %is_ours = icmp eq i64 %top, %handler
  %is_ours.word = zext i1 %is_ours to i64
  ret i64 %is_ours.word
no:
  ret i64 0
}

define i64 @word_of(i64 %struct, i64 %offset) {
  %at = add i64 %struct, %offset
  %word = load i64, %at
  ret i64 %word
}

define void @put_word(i64 %struct, i64 %offset, i64 %word) {
  %at = add i64 %struct, %offset
  store i64 %word, %at
  ret void
}
"""
