"""The team of threads that share large kernels: torch's own where torch is loaded, else one of this process.

Two teams beside each other would disturb each other: those of OpenMP spin for a while after their work. So where torch
is loaded kernels run on its team, by `GOMP_parallel` of the library that came with it, and `torch.set_num_threads`
holds for them too. Else a team of native threads, which have nothing to do with Python, is made at the first large
kernel: they spin for some 200 microseconds after their work, and sleep then.

Compiled code finds in its context the address of three words, or 0 where it is to run alone: a function with the
parameters of `GOMP_parallel`, or 0 where there is one thread only; the number of threads to give it; and into how many
parts a kernel is best cut.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from hybridc_runtime.memory import MEMORY, TRIPLE, allocate

CELL = allocate(TRIPLE.size)
"""The address of those three words."""
SPINS = 4000
"""Looks of a thread that has nothing to do, before it sleeps: about 200 microseconds, for the next call."""
PAUSE = "@llvm.x86.sse2.pause()" if platform.machine() == "x86_64" else "@llvm.aarch64.hint(i32 1)"
COUNTER = "load atomic i64, ptr @hyb_team"

IR = f"""
; A mutex and a condition, with room for those of any C library.
@hyb_team_lock = internal global [16 x i64] zeroinitializer, align 64
@hyb_team_signal = internal global [16 x i64] zeroinitializer, align 64
@hyb_team_made = internal global i64 0
@hyb_team_busy = internal global i64 0  ; somebody's kernel runs
@hyb_team_open = internal global i64 0, align 64  ; members may begin it
@hyb_team_inside = internal global i64 0  ; so many are at it
@hyb_team_turn = internal global i64 0, align 64  ; so many kernels there were
@hyb_team_job = internal global ptr null
@hyb_team_data = internal global ptr null

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()
declare void {PAUSE.replace("i32 1", "i32")}

define internal ptr @hyb_team_member(ptr %unused) {{
entry:
  br label %rest
rest:
  %seen = phi i64 [ 0, %entry ], [ %now, %leave ]
  br label %spin
spin:
  %i = phi i64 [ 0, %rest ], [ %next, %again ]
  %turn = {COUNTER}_turn acquire, align 8
  %new = icmp ne i64 %turn, %seen
  br i1 %new, label %go, label %again
again:
  call void {PAUSE}
  %next = add i64 %i, 1
  %tired = icmp sgt i64 %next, {SPINS}
  br i1 %tired, label %sleep, label %spin
sleep:
  %locked = call i32 @pthread_mutex_lock(ptr @hyb_team_lock)
  br label %look
look:
  %turn2 = {COUNTER}_turn acquire, align 8
  %new2 = icmp ne i64 %turn2, %seen
  br i1 %new2, label %woken, label %wait
wait:
  %waited = call i32 @pthread_cond_wait(ptr @hyb_team_signal, ptr @hyb_team_lock)
  br label %look
woken:
  %unlocked = call i32 @pthread_mutex_unlock(ptr @hyb_team_lock)
  br label %go
go:
  %now = {COUNTER}_turn acquire, align 8
  ; Who is counted while the team is open is waited for; who comes later does nothing.
  %in = atomicrmw add ptr @hyb_team_inside, i64 1 seq_cst
  %open = {COUNTER}_open seq_cst, align 8
  %may = icmp ne i64 %open, 0
  br i1 %may, label %work, label %leave
work:
  %job = load ptr, ptr @hyb_team_job
  %data = load ptr, ptr @hyb_team_data
  call void %job(ptr %data)
  br label %leave
leave:
  %out = atomicrmw sub ptr @hyb_team_inside, i64 1 seq_cst
  br label %rest
}}

define internal void @hyb_team_make(i64 %size) {{
entry:
  %lock = call i32 @pthread_mutex_init(ptr @hyb_team_lock, ptr null)
  %signal = call i32 @pthread_cond_init(ptr @hyb_team_signal, ptr null)
  store i64 1, ptr @hyb_team_made
  %thread = alloca i64
  br label %each
each:
  %k = phi i64 [ 1, %entry ], [ %more, %one ]
  %short = icmp slt i64 %k, %size
  br i1 %short, label %one, label %done
one:
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @hyb_team_member, ptr null)
  %more = add i64 %k, 1
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %each, label %done
done:
  ret void
}}

; One kernel at a time; who finds the team at work does the whole job.
define void @hyb_rt_fork(ptr %job, ptr %data, i32 %size, i32 %flags) {{
  %busy = atomicrmw xchg ptr @hyb_team_busy, i64 1 acquire
  %taken = icmp ne i64 %busy, 0
  br i1 %taken, label %alone, label %begin
alone:
  call void %job(ptr %data)
  ret void
begin:
  %made = load i64, ptr @hyb_team_made
  %first = icmp eq i64 %made, 0
  br i1 %first, label %make, label %start
make:
  %wanted = sext i32 %size to i64
  call void @hyb_team_make(i64 %wanted)
  br label %start
start:
  store ptr %job, ptr @hyb_team_job
  store ptr %data, ptr @hyb_team_data
  store atomic i64 1, ptr @hyb_team_open seq_cst, align 8
  %locked = call i32 @pthread_mutex_lock(ptr @hyb_team_lock)
  %was = atomicrmw add ptr @hyb_team_turn, i64 1 seq_cst
  %told = call i32 @pthread_cond_broadcast(ptr @hyb_team_signal)
  %unlocked = call i32 @pthread_mutex_unlock(ptr @hyb_team_lock)
  call void %job(ptr %data)
  store atomic i64 0, ptr @hyb_team_open seq_cst, align 8
  br label %join
join:
  %i = phi i64 [ 0, %start ], [ %next, %pause ], [ %next, %yield ]
  %left = {COUNTER}_inside seq_cst, align 8
  %done = icmp eq i64 %left, 0
  %next = add i64 %i, 1
  %long = icmp sgt i64 %i, {SPINS}
  br i1 %done, label %end, label %wait
wait:
  br i1 %long, label %yield, label %pause
pause:
  call void {PAUSE}
  br label %join
yield:
  %yielded = call i32 @sched_yield()
  br label %join
end:
  store atomic i64 0, ptr @hyb_team_busy release, align 8
  ret void
}}

; In the child of a fork, which has none of the threads.
define void @hyb_rt_team_gone() {{
  store i64 0, ptr @hyb_team_made
  store i64 0, ptr @hyb_team_open
  store i64 0, ptr @hyb_team_inside
  store i64 0, ptr @hyb_team_turn
  store i64 0, ptr @hyb_team_busy
  ret void
}}
"""
NAMES = ("hyb_rt_fork", "hyb_rt_team_gone")


def threads() -> int:
    """HYB_THREADS, or as many as the processors this process may use."""
    return max(1, int(os.environ.get("HYB_THREADS", "0")) or len(os.sched_getaffinity(0)))


_own = 0
"""The address of `hyb_rt_fork`."""
_forked = False
"""OpenMP's team does not live on in a child, and nobody can make it another."""


def begin(own: int, gone: Callable[[], None]) -> None:
    """With the addresses of this process's `hyb_rt_fork`, and its `hyb_rt_team_gone`."""
    global _own
    _own = own

    def forked() -> None:
        global _forked
        _forked = True
        gone()
        choose()

    os.register_at_fork(after_in_child=forked)


def choose() -> None:
    """Which team it is from now on."""
    given = threads()
    if given == 1:
        fork, size = 0, 1
    elif theirs := _of_torch():
        # 0 is what torch was told, unless the user says otherwise.
        fork, size = theirs, given if "HYB_THREADS" in os.environ else 0
    else:
        fork, size = _own, given
    TRIPLE.pack_into(MEMORY, CELL, fork, size, given)


def _of_torch() -> int:
    """The address of `GOMP_parallel` as torch uses it, or 0."""
    where = getattr(sys.modules.get("torch"), "__file__", None)
    if where is None or _forked:
        return 0
    for library in sorted((Path(where).parent / "lib").glob("libgomp*.so*")):
        try:
            return ctypes.cast(ctypes.CDLL(str(library)).GOMP_parallel, ctypes.c_void_p).value or 0
        except (OSError, AttributeError):
            continue
    return 0
