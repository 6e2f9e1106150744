"""Kernels on the team of threads that torch has: OpenMP's, of the library that came with it.

OpenMP waits for all of its threads, whether there is work left for them or not. Where other processes have their cores
that lasts until the system gives one back, milliseconds for a kernel of microseconds; of the own team (team.py) nobody
is waited for who has not begun. So a kernel that waited longer than it worked sends those of the next fifth of a second
there.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

LATE, APART = 300_000, 200_000_000
"""Nanoseconds of waiting for OpenMP's threads that are too many, and of keeping away from them."""

IR = f"""
; OpenMP's fork and its `omp_get_max_threads`, as many threads as kernels may have, and until when nobody asks it.
@hyb_team_theirs = internal global ptr null
@hyb_team_most = internal global ptr null
@hyb_team_given = internal global i32 0
@hyb_team_apart = internal global i64 0, align 64

define internal i64 @hyb_team_clock() {{
  %time = alloca [2 x i64]
  %got = call i32 @clock_gettime(i32 1, ptr %time)
  %seconds = load i64, ptr %time
  %part_at = getelementptr i8, ptr %time, i64 8
  %part = load i64, ptr %part_at
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %part
  ret i64 %now
}}

; What OpenMP's threads run: (the job, its data, the caller, how long the job took there, its processor).
define internal void @hyb_team_timed(ptr %shared) {{
entry:
  %job = load ptr, ptr %shared
  %data_at = getelementptr i8, ptr %shared, i64 8
  %data = load ptr, ptr %data_at
  %caller_at = getelementptr i8, ptr %shared, i64 16
  %caller = load i64, ptr %caller_at
  %self = call i64 @pthread_self()
  %calls = icmp eq i64 %self, %caller
  br i1 %calls, label %timed, label %member
member:
  %where_at = getelementptr i8, ptr %shared, i64 32
  %where = load i64, ptr %where_at
  %theirs = trunc i64 %where to i32
  call void @hyb_team_part(i32 %theirs)
  call void %job(ptr %data)
  ret void
timed:
  %start = call i64 @hyb_team_clock()
  call void %job(ptr %data)
  %end = call i64 @hyb_team_clock()
  %took = sub i64 %end, %start
  %took_at = getelementptr i8, ptr %shared, i64 24
  store i64 %took, ptr %took_at
  ret void
}}

; On OpenMP's team, unless it was waited for in vain a moment ago.
define void @hyb_rt_share(ptr %job, ptr %data, i32 %size, i32 %flags) {{
entry:
  %shared = alloca [5 x i64]
  %start = call i64 @hyb_team_clock()
  %until = load atomic i64, ptr @hyb_team_apart monotonic, align 8
  %apart = icmp slt i64 %start, %until
  br i1 %apart, label %own, label %theirs
own:
  %all = icmp eq i32 %size, 0
  br i1 %all, label %ask, label %known
ask:
  %most = load ptr, ptr @hyb_team_most
  %told = call i32 %most()
  %given = load i32, ptr @hyb_team_given
  %less = icmp slt i32 %told, %given
  %fewest = select i1 %less, i32 %told, i32 %given
  br label %known
known:
  %count = phi i32 [ %size, %own ], [ %fewest, %ask ]
  call void @hyb_rt_fork(ptr %job, ptr %data, i32 %count, i32 %flags)
  ret void
theirs:
  store ptr %job, ptr %shared
  %data_at = getelementptr i8, ptr %shared, i64 8
  store ptr %data, ptr %data_at
  %self = call i64 @pthread_self()
  %caller_at = getelementptr i8, ptr %shared, i64 16
  store i64 %self, ptr %caller_at
  %here = call i32 @sched_getcpu()
  %where = sext i32 %here to i64
  %where_at = getelementptr i8, ptr %shared, i64 32
  store i64 %where, ptr %where_at
  %fork = load ptr, ptr @hyb_team_theirs
  call void %fork(ptr @hyb_team_timed, ptr %shared, i32 %size, i32 %flags)
  %end = call i64 @hyb_team_clock()
  %lasted = sub i64 %end, %start
  %took_at = getelementptr i8, ptr %shared, i64 24
  %took = load i64, ptr %took_at
  %waited = sub i64 %lasted, %took
  %long = icmp sgt i64 %waited, {LATE}
  %longer = icmp sgt i64 %waited, %took
  %late = and i1 %long, %longer
  br i1 %late, label %leave, label %done
leave:
  %later = add i64 %end, {APART}
  store atomic i64 %later, ptr @hyb_team_apart monotonic, align 8
  br label %done
done:
  ret void
}}

define void @hyb_rt_team_theirs(ptr %fork, ptr %most, i32 %given) {{
  store ptr %fork, ptr @hyb_team_theirs
  store ptr %most, ptr @hyb_team_most
  store i32 %given, ptr @hyb_team_given
  ret void
}}
"""
NAMES = ("hyb_rt_share", "hyb_rt_team_theirs")


def find() -> tuple[int, int] | None:
    """The addresses of `GOMP_parallel` and `omp_get_max_threads` as torch uses them, if it is loaded."""
    where = getattr(sys.modules.get("torch"), "__file__", None)
    if where is None:
        return None
    for library in sorted((Path(where).parent / "lib").glob("libgomp*.so*")):
        try:
            found = ctypes.CDLL(str(library))
            named = found.GOMP_parallel, found.omp_get_max_threads
            fork, most = (ctypes.cast(f, ctypes.c_void_p).value for f in named)
        except (OSError, AttributeError):
            continue
        if fork and most:
            return fork, most
    return None
