"""The team of threads that share large kernels and `parallel` loops (loops.py): one of this process, or, for kernels
where torch is loaded, torch's own.

Two teams beside each other would disturb each other: those of OpenMP spin for a while after their work. So where torch
is loaded kernels run on its team (torch_team.py), and `torch.set_num_threads` holds for them too. Else they run on a
team of native threads, which is made at the first large kernel or loop: they spin for some 200 microseconds after their
work, and sleep then. Loops always do, since their bodies may call as deeply as others, and OpenMP's threads have small
stacks.

Compiled code finds in its context the address of three words, or 0 where it is to run alone: a function with the
parameters of `GOMP_parallel`, or 0 where there is one thread only; the number of threads to give it; and into how many
parts a kernel is best cut.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

from hybridc_runtime import torch_team
from hybridc_runtime.limits import MARGIN, STACK
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
@hyb_team_done = internal global [16 x i64] zeroinitializer, align 64
@hyb_team_made = internal global i64 0  ; so many threads there are, with the one that calls
@hyb_team_ages = internal global i64 1  ; of processes, each a fork of the one before
@hyb_team_busy = internal global i64 0, align 64  ; somebody's kernel or loop runs
@hyb_team_open = internal global i64 0, align 64  ; members may begin it
@hyb_team_inside = internal global i64 0  ; so many are at it
@hyb_team_waited = internal global i64 0  ; somebody sleeps until they are not
@hyb_team_turn = internal global i64 0, align 64  ; so many kernels and loops there were
@hyb_team_job = internal global ptr null  ; null for a loop
@hyb_team_data = internal global ptr null
@hyb_team_where = internal global i32 0  ; the processor of who called

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_timedwait(ptr, ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_getstack(ptr, ptr, ptr)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_getattr_np(i64, ptr)
declare i64 @pthread_self()
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare void {PAUSE.replace("i32 1", "i32")}

; The lowest address that compiled code may reach on this thread.
define internal i64 @hyb_team_stack() {{
  %attributes = alloca [16 x i64]
  %low_at = alloca i64
  %size_at = alloca i64
  %self = call i64 @pthread_self()
  %got = call i32 @pthread_getattr_np(i64 %self, ptr %attributes)
  %given = call i32 @pthread_attr_getstack(ptr %attributes, ptr %low_at, ptr %size_at)
  %ended = call i32 @pthread_attr_destroy(ptr %attributes)
  %low = load i64, ptr %low_at
  %limit = add i64 %low, {MARGIN}
  ret i64 %limit
}}

define internal ptr @hyb_team_member(ptr %at) {{
entry:
  %number = ptrtoint ptr %at to i64
  %stack = call i64 @hyb_team_stack()
  br label %rest
rest:
  %seen = phi i64 [ 0, %entry ], [ %now, %leave ], [ %now, %wake ]
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
  %theirs = load i32, ptr @hyb_team_where
  call void @hyb_team_part(i32 %theirs)
  ; Who is counted while the team is open is waited for; who comes later does nothing.
  %in = atomicrmw add ptr @hyb_team_inside, i64 1 seq_cst
  %open = {COUNTER}_open seq_cst, align 8
  %may = icmp ne i64 %open, 0
  br i1 %may, label %work, label %leave
work:
  %job = load ptr, ptr @hyb_team_job
  %data = load ptr, ptr @hyb_team_data
  %is_loop = icmp eq ptr %job, null
  br i1 %is_loop, label %loop, label %kernel
kernel:
  call void %job(ptr %data)
  br label %leave
loop:
  %crew = ptrtoint ptr %data to i64
  call void @hyb_loop_member(i64 %crew, i64 %number, i64 %stack)
  br label %leave
leave:
  %out = atomicrmw sub ptr @hyb_team_inside, i64 1 seq_cst
  %sleeps = {COUNTER}_waited seq_cst, align 8
  %asleep = icmp ne i64 %sleeps, 0
  br i1 %asleep, label %wake, label %rest
wake:
  %locked2 = call i32 @pthread_mutex_lock(ptr @hyb_team_lock)
  %ended = call i32 @pthread_cond_signal(ptr @hyb_team_done)
  %unlocked2 = call i32 @pthread_mutex_unlock(ptr @hyb_team_lock)
  br label %rest
}}

define internal void @hyb_team_make(i64 %size) {{
entry:
  %lock = call i32 @pthread_mutex_init(ptr @hyb_team_lock, ptr null)
  %signal = call i32 @pthread_cond_init(ptr @hyb_team_signal, ptr null)
  %end = call i32 @pthread_cond_init(ptr @hyb_team_done, ptr null)
  %thread = alloca i64
  %attributes = alloca [16 x i64]
  %made = call i32 @pthread_attr_init(ptr %attributes)
  %sized = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 {STACK})
  br label %each
each:
  %k = phi i64 [ 1, %entry ], [ %more, %one ]
  store i64 %k, ptr @hyb_team_made
  %short = icmp slt i64 %k, %size
  br i1 %short, label %one, label %done
one:
  %number = inttoptr i64 %k to ptr
  %failed = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @hyb_team_member, ptr %number)
  %more = add i64 %k, 1
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %each, label %done
done:
  %ended = call i32 @pthread_attr_destroy(ptr %attributes)
  ret void
}}

; Is the team free? Then the caller has it until its release.
define internal i64 @hyb_team_take() {{
  %busy = atomicrmw xchg ptr @hyb_team_busy, i64 1 acquire
  %free = xor i64 %busy, 1
  ret i64 %free
}}

define internal void @hyb_team_release() {{
  store atomic i64 0, ptr @hyb_team_busy release, align 8
  ret void
}}

define internal i64 @hyb_team_age() {{
  %age = load i64, ptr @hyb_team_ages
  ret i64 %age
}}

; The members begin, as many of a team of this size as there is work for besides the caller.
define internal void @hyb_team_start(i64 %job, i64 %data, i64 %size, i64 %work) {{
entry:
  %made = load i64, ptr @hyb_team_made
  %first = icmp eq i64 %made, 0
  br i1 %first, label %make, label %start
make:
  call void @hyb_team_make(i64 %size)
  br label %start
start:
  %job_at = inttoptr i64 %job to ptr
  %data_at = inttoptr i64 %data to ptr
  store ptr %job_at, ptr @hyb_team_job
  store ptr %data_at, ptr @hyb_team_data
  %here = call i32 @sched_getcpu()
  store i32 %here, ptr @hyb_team_where
  store atomic i64 1, ptr @hyb_team_open seq_cst, align 8
  %locked = call i32 @pthread_mutex_lock(ptr @hyb_team_lock)
  %was = atomicrmw add ptr @hyb_team_turn, i64 1 seq_cst
  %members = load i64, ptr @hyb_team_made
  %all = icmp sge i64 %work, %members
  br i1 %all, label %everybody, label %some
everybody:
  %told = call i32 @pthread_cond_broadcast(ptr @hyb_team_signal)
  br label %begun
some:
  %k = phi i64 [ 1, %start ], [ %more, %one ]
  %short = icmp slt i64 %k, %work
  br i1 %short, label %one, label %begun
one:
  %woken = call i32 @pthread_cond_signal(ptr @hyb_team_signal)
  %more = add i64 %k, 1
  br label %some
begun:
  %unlocked = call i32 @pthread_mutex_unlock(ptr @hyb_team_lock)
  ret void
}}

; No more of them begin.
define internal void @hyb_team_close() {{
  store atomic i64 0, ptr @hyb_team_open seq_cst, align 8
  ret void
}}

define internal i64 @hyb_team_left() {{
  %left = {COUNTER}_inside seq_cst, align 8
  ret i64 %left
}}

; The caller waits a moment for them: after some turns it sleeps until they are out, or a fiftieth of a second.
define internal void @hyb_team_rest(i64 %turns) {{
entry:
  %time = alloca [2 x i64]
  %long = icmp sgt i64 %turns, {SPINS}
  br i1 %long, label %sleep, label %pause
pause:
  call void {PAUSE}
  ret void
sleep:
  %got = call i32 @clock_gettime(i32 0, ptr %time)
  %part_at = getelementptr i8, ptr %time, i64 8
  %part = load i64, ptr %part_at
  %later = add i64 %part, 20000000
  %over = icmp sge i64 %later, 1000000000
  %carry = zext i1 %over to i64
  %excess = mul i64 %carry, 1000000000
  %rest = sub i64 %later, %excess
  store i64 %rest, ptr %part_at
  %seconds = load i64, ptr %time
  %until = add i64 %seconds, %carry
  store i64 %until, ptr %time
  %locked = call i32 @pthread_mutex_lock(ptr @hyb_team_lock)
  store atomic i64 1, ptr @hyb_team_waited seq_cst, align 8
  %left = {COUNTER}_inside seq_cst, align 8
  %some = icmp ne i64 %left, 0
  br i1 %some, label %wait, label %end
wait:
  %waited = call i32 @pthread_cond_timedwait(ptr @hyb_team_done, ptr @hyb_team_lock, ptr %time)
  br label %end
end:
  store atomic i64 0, ptr @hyb_team_waited seq_cst, align 8
  %unlocked = call i32 @pthread_mutex_unlock(ptr @hyb_team_lock)
  ret void
}}

; One kernel at a time; who finds the team at work does the whole job.
define void @hyb_rt_fork(ptr %job, ptr %data, i32 %size, i32 %flags) {{
entry:
  %taken = call i64 @hyb_team_take()
  %busy = icmp eq i64 %taken, 0
  br i1 %busy, label %alone, label %start
alone:
  call void %job(ptr %data)
  ret void
start:
  %task = ptrtoint ptr %job to i64
  %with = ptrtoint ptr %data to i64
  %wanted = sext i32 %size to i64
  call void @hyb_team_start(i64 %task, i64 %with, i64 %wanted, i64 %wanted)
  call void %job(ptr %data)
  call void @hyb_team_close()
  br label %join
join:
  %i = phi i64 [ 0, %start ], [ %next, %pause ], [ %next, %yield ]
  %left = call i64 @hyb_team_left()
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
  call void @hyb_team_release()
  ret void
}}

; In the child of a fork, which has none of the threads.
define void @hyb_rt_team_gone() {{
  store i64 0, ptr @hyb_team_made
  store i64 0, ptr @hyb_team_open
  store i64 0, ptr @hyb_team_inside
  store i64 0, ptr @hyb_team_waited
  store i64 0, ptr @hyb_team_turn
  store i64 0, ptr @hyb_team_busy
  %age = load i64, ptr @hyb_team_ages
  %older = add i64 %age, 1
  store i64 %older, ptr @hyb_team_ages
  ret void
}}
"""
NAMES = ("hyb_rt_fork", "hyb_rt_team_gone")


def threads() -> int:
    """HYB_THREADS, or as many as the processors this process may use."""
    return max(1, int(os.environ.get("HYB_THREADS", "0")) or len(os.sched_getaffinity(0)))


@dataclass
class _Team:
    """Addresses of this process's `hyb_rt_fork` and `hyb_rt_share`, and its `hyb_rt_team_theirs`."""

    own: int
    shared: int
    theirs: Callable[[int, int, int], None]


_team: _Team
_forked = False
"""OpenMP's team does not live on in a child, and nobody can make it another."""


def begin(address: dict[str, int]) -> None:
    """With the addresses of NAMES, here and in torch_team.py."""
    global _team
    theirs = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)(address["hyb_rt_team_theirs"])
    gone = ctypes.PYFUNCTYPE(None)(address["hyb_rt_team_gone"])
    _team = _Team(address["hyb_rt_fork"], address["hyb_rt_share"], theirs)

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
    elif theirs := None if _forked else torch_team.find():
        begins, most = theirs
        _team.theirs(begins, most, given)
        # 0 is what torch was told, unless the user says otherwise.
        fork, size = _team.shared, given if "HYB_THREADS" in os.environ else 0
    else:
        fork, size = _team.own, given
    TRIPLE.pack_into(MEMORY, CELL, fork, size, given)
