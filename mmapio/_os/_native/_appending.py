"""Rows of an array appended to a file, if that is all there is to do.

Sources: PyArrayObject_fields in numpy's ndarraytypes.h, which is part of its ABI; lseek(2) and
write(2).
"""

from __future__ import annotations

from typing import Final

from .._rows import TAIL_BYTES

__all__ = ["CODE"]

# A plan: the words of `RowPlan`.
CODE: Final = """
FUNCTION append_rows fd:fd object:rows bytes:plan int:end
  %plan.bytes = call i64 @PyBytes_Size(i64 %plan.object)
  %has_head = icmp uge i64 %plan.bytes, 40
  br i1 %has_head, label %measure, label %wrong
measure:
  %row_nd.at = add i64 %plan, 8
  %row_nd = load i64, %row_nd.at
  %row_nd.bytes = shl i64 %row_nd, 3
  %plan.length = add i64 %row_nd.bytes, 40
  %is_whole = icmp eq i64 %plan.bytes, %plan.length
  br i1 %is_whole, label %look, label %wrong
look:
  %type.at = add i64 %rows, 8
  %type = load i64, %type.at
  %array = call i64 @object_ndarray()
  %is_array = icmp eq i64 %type, %array
  br i1 %is_array, label %look_at_items, label %no
look_at_items:
  %nbytes = call i64 @row_bytes(i64 %rows, i64 %plan)
  %fits = icmp ugt i64 %nbytes, 0
  br i1 %fits, label %look_at_base, label %no
look_at_base:
  ; Memory that has a base may be a file's, which may be lost.
  %base.at = add i64 %rows, 48
  %base = load i64, %base.at
  %has_base = icmp ne i64 %base, 0
  %losses.at = add i64 %plan, 16
  %losses = load i64, %losses.at
  %can_tell = icmp ne i64 %losses, 0
  br i1 %has_base, label %ask, label %write
ask:
  br i1 %can_tell, label %look_for_losses, label %no
look_for_losses:
  %lost = load i64, %losses
  %is_lost = icmp ne i64 %lost, 0
  br i1 %is_lost, label %no, label %write
write:
  %data.at = add i64 %rows, 16
  %data = load i64, %data.at
  %state = call i64 @PyEval_SaveThread()
  ; SEEK_END
  %size = call i64 @lseek(i32 %fd, i64 0, i32 2)
  %is_at_end = icmp eq i64 %size, %end
  br i1 %is_at_end, label %go, label %elsewhere
elsewhere:
  call void @PyEval_RestoreThread(i64 %state)
  br label %no
go:
  %written = call i64 @write(i32 %fd, i64 %data, i64 %nbytes)
  call void @PyEval_RestoreThread(i64 %state)
  %is_written = icmp eq i64 %written, %nbytes
  br i1 %is_written, label %look_again, label %in_part
look_again:
  br i1 %has_base, label %look_for_new_losses, label %yes
look_for_new_losses:
  %lost_now = load i64, %losses
  %is_lost_now = icmp ne i64 %lost_now, 0
  br i1 %is_lost_now, label %in_part, label %yes
no:
  return False
in_part:
  return None
yes:
  %many.at = add i64 %plan, 32
  %many = load i64, %many.at
  %is_one = icmp eq i64 %many, 0
  br i1 %is_one, label %one, label %tail
one:
  return True
tail:
  ; Of many rows the last bytes are returned, TAIL of them at the most.
  %is_short = icmp ult i64 %nbytes, TAIL
  %tail.bytes = select i1 %is_short, i64 %nbytes, i64 TAIL
  %data.end = add i64 %data, %nbytes
  %tail.at = sub i64 %data.end, %tail.bytes
  %copy = call i64 @PyBytes_FromStringAndSize(i64 %tail.at, i64 %tail.bytes)
  ret i64 %copy
END

; The bytes of an array of whole rows in C order; 0 if it is another.
define i64 @row_bytes(i64 %rows, i64 %plan) {
  %dtype.at = add i64 %rows, 56
  %dtype = load i64, %dtype.at
  %our_dtype = load i64, %plan
  %same_dtype = icmp eq i64 %dtype, %our_dtype
  br i1 %same_dtype, label %look_at_order, label %no
look_at_order:
  %flags.at = add i64 %rows, 64
  %flags = load i32, %flags.at
  %in_order = trunc i32 %flags to i1
  br i1 %in_order, label %look_at_nd, label %no
look_at_nd:
  %nd.at = add i64 %rows, 24
  %nd32 = load i32, %nd.at
  %nd = zext i32 %nd32 to i64
  %row_nd.at = add i64 %plan, 8
  %row_nd = load i64, %row_nd.at
  %many.at = add i64 %plan, 32
  %many = load i64, %many.at
  %our_nd = add i64 %row_nd, %many
  %same_nd = icmp eq i64 %nd, %our_nd
  br i1 %same_nd, label %count, label %no
count:
  %dims.at = add i64 %rows, 32
  %dims = load i64, %dims.at
  %is_many = icmp ne i64 %many, 0
  br i1 %is_many, label %count_rows, label %compare
count_rows:
  %first = load i64, %dims
  br label %compare
compare:
  %rows_there = phi i64 [ 1, %count ], [ %first, %count_rows ]
  %many.bytes = shl i64 %many, 3
  %row_dims = add i64 %dims, %many.bytes
  %our_dims = add i64 %plan, 40
  br label %each
each:
  %k = phi i64 [ 0, %compare ], [ %next, %same ]
  %is_left = icmp ult i64 %k, %row_nd
  br i1 %is_left, label %one, label %all
one:
  %k.bytes = shl i64 %k, 3
  %dim.at = add i64 %row_dims, %k.bytes
  %our_dim.at = add i64 %our_dims, %k.bytes
  %dim = load i64, %dim.at
  %our_dim = load i64, %our_dim.at
  %next = add i64 %k, 1
  %is_same = icmp eq i64 %dim, %our_dim
  br i1 %is_same, label %same, label %no
same:
  br label %each
all:
  %of_row.at = add i64 %plan, 24
  %of_row = load i64, %of_row.at
  %nbytes = mul i64 %rows_there, %of_row
  ret i64 %nbytes
no:
  ret i64 0
}
""".replace("TAIL", str(TAIL_BYTES))
