"""A thread of a team that the system has put on the caller's processor goes to another one.

Who is woken begins where it slept, or where its waker runs. Linux looks for an idle processor only among those that
share the last cache, of which a virtual machine often says nothing: there both threads stay on one processor, each a
turn, beside one that does nothing, for as long as they sleep between kernels.
"""

from __future__ import annotations

WORDS = 16
"""Of a set of processors: 1 024, as glibc has it. Where the system has more it refuses, and all stay where they are."""

IR = f"""
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)

; Away from the caller's processor, if this thread is there and may be elsewhere.
define internal void @hyb_team_part(i32 %theirs) {{
entry:
  %set = alloca [{WORDS} x i64]
  %here = call i32 @sched_getcpu()
  %same = icmp eq i32 %here, %theirs
  %known = icmp ult i32 %here, {64 * WORDS}
  %crowded = and i1 %same, %known
  br i1 %crowded, label %ask, label %done
ask:
  %got = call i32 @sched_getaffinity(i32 0, i64 {8 * WORDS}, ptr %set)
  %failed = icmp ne i32 %got, 0
  br i1 %failed, label %done, label %without
without:
  %number = zext i32 %here to i64
  %word = lshr i64 %number, 6
  %word_at = getelementptr i64, ptr %set, i64 %word
  %all = load i64, ptr %word_at
  %place = and i64 %number, 63
  %bit = shl i64 1, %place
  %others = xor i64 %bit, -1
  %rest = and i64 %all, %others
  store i64 %rest, ptr %word_at
  ; What it may do is what it might before: the system moves it at once.
  %moved = call i32 @sched_setaffinity(i32 0, i64 {8 * WORDS}, ptr %set)
  store i64 %all, ptr %word_at
  %free = call i32 @sched_setaffinity(i32 0, i64 {8 * WORDS}, ptr %set)
  br label %done
done:
  ret void
}}
"""
