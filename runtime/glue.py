"""Small native helpers between compiled code and Python, in LLVM's assembly; compiled once in a process.

A context is followed by fields of the runtime's own: the arguments of a service (id, args, results), the index that a
parallel worker is at, the interrupt flag, and the ctypes callback that serves requests. `host` stores the arguments
there and calls back with the context alone, because a callback of one argument can be `generator.send`: a generator
resumes inside its `try`, so an exception that a signal raises at that very moment is caught, where a Python function
would let it escape into ctypes, which prints and forgets it.
"""

from __future__ import annotations

POLL, LIVE, POOL, SEED, TEAM, LISTS, CLASSES, TEXT_CLASS = 88, 136, 144, 152, 160, 168, 12, 8
"""Fields of the context: what is called where the flag is raised, live blocks, the pool, the seed of hashes, the team
of threads; for each class of sizes free blocks, spare ones, and a length. The classes from the one named on are those
of short buffers."""
BUDGET, SPARE_BUFFERS, SPARES = LISTS + 24 * CLASSES, LISTS + 24 * CLASSES + 16, 32
"""Bytes of free buffers that the context may keep; lists of these, each with the size that it is of."""
RECENT, ENDS = 8, 64
"""Blocks that became free last, after those lists; and after these, bytes that only compiled code uses."""
ALONE = SPARE_BUFFERS + 16 * SPARES + 8 * RECENT + ENDS
"""Not 0 where nobody else counts owners (alone.py)."""
TRACE = ALONE + 8
CONTEXT_SIZE = TRACE + 8 * 64
POOL_SIZE = 16 * CLASSES
SERVICE = CONTEXT_SIZE
"""id, args, results."""
INDEX = CONTEXT_SIZE + 24
FLAG = CONTEXT_SIZE + 32
CALLBACK = CONTEXT_SIZE + 40
CHECK = CONTEXT_SIZE + 48
"""The ctypes callback of the poll."""
ARRIVED, WORKER = CONTEXT_SIZE + 56, CONTEXT_SIZE + 64
"""Is the context counted among those inside? Is it one of a parallel loop's, on several threads?"""
FULL_SIZE = CONTEXT_SIZE + 72
LONE, LONE_THREAD, MET = 8, 16, 24
"""Words of the state of alone.py; the first is how many threads are inside."""
PARALLEL = -1
"""The service id of a parallel loop; its `args` point to (worker, env, count)."""

IR = f"""
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)

define i32 @hyb_rt_host(ptr %ctx, i64 %id, ptr %args, ptr %results) {{
  %at = getelementptr i8, ptr %ctx, i64 {SERVICE}
  store i64 %id, ptr %at
  %at1 = getelementptr i8, ptr %ctx, i64 {SERVICE + 8}
  store ptr %args, ptr %at1
  %at2 = getelementptr i8, ptr %ctx, i64 {SERVICE + 16}
  store ptr %results, ptr %at2
  %cb_at = getelementptr i8, ptr %ctx, i64 {CALLBACK}
  %cb = load ptr, ptr %cb_at
  %status = call i32 @outside(ptr %ctx, ptr %cb)
  ret i32 %status
}}

define i32 @hyb_rt_poll(ptr %ctx) {{
  %cb_at = getelementptr i8, ptr %ctx, i64 {CHECK}
  %cb = load ptr, ptr %cb_at
  %status = call i32 @outside(ptr %ctx, ptr %cb)
  ret i32 %status
}}

; A callback to Python, for which the thread leaves compiled code (alone.py).
define internal i32 @outside(ptr %ctx, ptr %callback) {{
entry:
  %context = ptrtoint ptr %ctx to i64
  %gil = call i32 @PyGILState_Ensure()
  %counted = call i64 @hyb_depart(i64 %context)
  %status = call i32 %callback(ptr %ctx)
  %uncounted = icmp eq i64 %counted, 0
  br i1 %uncounted, label %done, label %back
back:
  call void @hyb_arrive(i64 %context, i64 0)
  br label %done
done:
  call void @PyGILState_Release(i32 %gil)
  ret i32 %status
}}

define i32 @hyb_rt_parallel(ptr %ctx, ptr %worker, ptr %env, i64 %count) {{
  %args = alloca [3 x i64]
  store ptr %worker, ptr %args
  %at1 = getelementptr i8, ptr %args, i64 8
  store ptr %env, ptr %at1
  %at2 = getelementptr i8, ptr %args, i64 16
  store i64 %count, ptr %at2
  %status = call i32 @hyb_rt_host(ptr %ctx, i64 {PARALLEL}, ptr %args, ptr null)
  ret i32 %status
}}

; Somebody asks whether the context is to stop: 1 if so, and then it holds the fault.
define internal i32 @stops(ptr %ctx) {{
  %flag_at = getelementptr i8, ptr %ctx, i64 {FLAG}
  %flag = load volatile i32, ptr %flag_at
  %asked = icmp ne i32 %flag, 0
  br i1 %asked, label %ask, label %go
ask:
  %poll_at = getelementptr i8, ptr %ctx, i64 {POLL}
  %poll = load ptr, ptr %poll_at
  %status = call i32 %poll(ptr %ctx)
  ret i32 %status
go:
  ret i32 0
}}

; Take indices from `next` until `limit`; a fault lowers the limit to its index, so that lower ones still run.
define internal i32 @hyb_rt_work(ptr %ctx, ptr %worker, ptr %env, ptr %next, ptr %limit) {{
entry:
  %index_at = getelementptr i8, ptr %ctx, i64 {INDEX}
  br label %turn
turn:
  %i = atomicrmw add ptr %next, i64 1 seq_cst
  %end = load atomic i64, ptr %limit seq_cst, align 8
  %go = icmp slt i64 %i, %end
  br i1 %go, label %look, label %done
look:
  store i64 %i, ptr %index_at
  %stops = call i32 @stops(ptr %ctx)
  %stopped = icmp ne i32 %stops, 0
  br i1 %stopped, label %fault, label %body
body:
  %status = call i32 %worker(ptr %ctx, ptr %env, i64 %i)
  %failed = icmp ne i32 %status, 0
  br i1 %failed, label %fault, label %turn
fault:
  %old = atomicrmw min ptr %limit, i64 %i seq_cst
  ret i32 1
done:
  ret i32 0
}}

; The same for a thread that has the GIL, and gives it up meanwhile.
define i32 @hyb_rt_take(ptr %ctx, ptr %worker, ptr %env, ptr %next, ptr %limit) {{
  %context = ptrtoint ptr %ctx to i64
  call void @hyb_arrive(i64 %context, i64 0)
  %thread = call i64 @PyEval_SaveThread()
  %status = call i32 @hyb_rt_work(ptr %ctx, ptr %worker, ptr %env, ptr %next, ptr %limit)
  call void @PyEval_RestoreThread(i64 %thread)
  %counted = call i64 @hyb_depart(i64 %context)
  ret i32 %status
}}

; A parallel loop within another, which has the threads: all indices in order, and the index stays that of the other.
define i32 @hyb_rt_alone(ptr %ctx, ptr %worker, ptr %env, i64 %count) {{
entry:
  br label %turn
turn:
  %i = phi i64 [ 0, %entry ], [ %next, %done ]
  %go = icmp slt i64 %i, %count
  br i1 %go, label %look, label %end
look:
  %stops = call i32 @stops(ptr %ctx)
  %stopped = icmp ne i32 %stops, 0
  br i1 %stopped, label %fault, label %body
body:
  %status = call i32 %worker(ptr %ctx, ptr %env, i64 %i)
  %failed = icmp ne i32 %status, 0
  br i1 %failed, label %fault, label %done
done:
  %next = add i64 %i, 1
  br label %turn
fault:
  ret i32 1
end:
  ret i32 0
}}

; Counted blocks, for who has the GIL: one more owner, unless static.
define void @hyb_rt_retain(ptr %block) {{
  call void @hyb_wait()
  %count = load atomic i64, ptr %block monotonic, align 8
  %static = icmp slt i64 %count, 0
  br i1 %static, label %done, label %add
add:
  %old = atomicrmw add ptr %block, i64 1 monotonic
  br label %done
done:
  ret void
}}

; One owner less; 1 if it was the last.
define i32 @hyb_rt_drop(ptr %block) {{
  call void @hyb_wait()
  %count = load atomic i64, ptr %block monotonic, align 8
  %static = icmp slt i64 %count, 0
  br i1 %static, label %no, label %sub
sub:
  %old = atomicrmw sub ptr %block, i64 1 acq_rel
  %last = icmp eq i64 %old, 1
  %result = zext i1 %last to i32
  ret i32 %result
no:
  ret i32 0
}}

; A list of free blocks for everybody, unless somebody else is at the lock.
define void @hyb_rt_give(ptr %class, ptr %list) {{
  %none = icmp eq ptr %list, null
  br i1 %none, label %done, label %try
try:
  %was = atomicrmw xchg ptr %class, i64 1 acquire
  %taken = icmp ne i64 %was, 0
  br i1 %taken, label %done, label %put
put:
  %lists = getelementptr i8, ptr %class, i64 8
  %old = load ptr, ptr %lists
  %link = getelementptr i8, ptr %list, i64 8
  store ptr %old, ptr %link
  store ptr %list, ptr %lists
  store atomic i64 0, ptr %class release, align 8
  br label %done
done:
  ret void
}}

define void @hyb_rt_count(ptr %cell, i64 %change) {{
  %old = atomicrmw add ptr %cell, i64 %change monotonic
  ret void
}}
"""
NAMES = ("hyb_rt_host", "hyb_rt_poll", "hyb_rt_parallel", "hyb_rt_take", "hyb_rt_alone", "hyb_rt_retain", "hyb_rt_drop",
         "hyb_rt_count", "hyb_rt_give")
