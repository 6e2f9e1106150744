"""Small native helpers between compiled code and Python, in LLVM's assembly; compiled once in a process.

A context is followed by fields of the runtime's own: the arguments of a service (id, args, results), the index that a
parallel worker is at, the interrupt flag, and the ctypes callback that serves requests. `host` stores the arguments
there and calls back with the context alone, because a callback of one argument can be `generator.send`: a generator
resumes inside its `try`, so an exception that a signal raises at that very moment is caught, where a Python function
would let it escape into ctypes, which prints and forgets it.
"""

from __future__ import annotations

from hybridc_runtime.faults import FAULTS

FAULT_CODE, MESSAGE, TRACE_LENGTH, DEPTH, DEPTH_LIMIT, STACK_LIMIT = 0, 24, 48, 56, 64, 72
"""Fields of the context: the fault and its message, how many places it has; how deep calls are and may be."""
HOST, FLAG_POINTER, PARALLEL, RELEASE_FOREIGN = 80, 96, 104, 112
INTERRUPTED, HOST_ERROR = (1 + FAULTS.index(kind) for kind in ("KeyboardInterrupt", "HostError"))
POLL, LIVE_BLOCKS, POOL, SEED, TEAM, LISTS, CLASSES, TEXT_CLASS = 88, 136, 144, 152, 160, 168, 12, 8
"""Fields of the context: what is called where the flag is raised, live blocks, the pool, the seed of hashes, the team
of threads; for each class of sizes free blocks, spare ones, and a length. The classes from the one named on are those
of short buffers."""
BUDGET, SPARE_BUFFERS, SPARES = LISTS + 24 * CLASSES, LISTS + 24 * CLASSES + 16, 128
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
ARRIVED, CREW, GUEST = CONTEXT_SIZE + 56, CONTEXT_SIZE + 64, CONTEXT_SIZE + 72
"""Is the context counted among those inside? The crew of its program. 1 where its thread is one that Python does not
know yet, and is to know for good from its first service on."""
FULL_SIZE = CONTEXT_SIZE + 80
LONE, LONE_THREAD, MET = 8, 16, 24
"""Words of the state of alone.py; the first is how many threads are inside."""
NO_SERVICE, PREPARE, FINISH = -1, -2, -3
"""Instead of the id of a service: none; to make a crew's contexts, and to end a loop of theirs. For both `args` is what
AGE is to be after it."""
NEXT, LIMIT, STOP, SIZE, AGE, PARENT, TASK, ENV, LEVEL, SHARE, DIRTY = 0, 128, 136, *(192 + 8 * i for i in range(8))
"""Words of a crew (loops.py): the index that nobody has yet, and from which on none is to run; a flag; how many
contexts there are, and the age of the process that they were made in, or 0; of the loop in progress its context, its
function, what that uses, and the depth of calls; the part of the indices that a thread takes at a time, as a shift; how
many contexts have a fault or called a service."""
LINES, LINE, RANGE, OWN = 256, 128, 0, 8
"""After those, for each context, apart from what other threads write: indices that its thread has taken, and itself."""
INDEX_BITS, AT_ONCE = 31, 256
"""Of an index within a range; of indices that are taken at a time."""

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
  %guest_at = getelementptr i8, ptr %ctx, i64 {GUEST}
  %guest = load i64, ptr %guest_at
  %new = icmp eq i64 %guest, 1
  br i1 %new, label %keep, label %known
keep:
  %again = call i32 @PyGILState_Ensure()
  store i64 2, ptr %guest_at
  br label %known
known:
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

define internal i64 @hyb_outside(i64 %context, i64 %callback) {{
  %ctx = inttoptr i64 %context to ptr
  %cb = inttoptr i64 %callback to ptr
  %status = call i32 @outside(ptr %ctx, ptr %cb)
  %wide = sext i32 %status to i64
  ret i64 %wide
}}

define internal i64 @hyb_ask_host(i64 %context, i64 %id, i64 %args) {{
  %ctx = inttoptr i64 %context to ptr
  %at = inttoptr i64 %args to ptr
  %status = call i32 @hyb_rt_host(ptr %ctx, i64 %id, ptr %at, ptr null)
  %wide = sext i32 %status to i64
  ret i64 %wide
}}

define internal i64 @hyb_hold() {{
  %gil = call i32 @PyGILState_Ensure()
  %wide = zext i32 %gil to i64
  ret i64 %wide
}}

define internal void @hyb_let_hold(i64 %wide) {{
  %gil = trunc i64 %wide to i32
  call void @PyGILState_Release(i32 %gil)
  ret void
}}

; A parallel loop; one within another; and the poll of contexts at work on one.
define i32 @hyb_rt_parallel(ptr %ctx, ptr %worker, ptr %env, i64 %count) {{
  %context = ptrtoint ptr %ctx to i64
  %task = ptrtoint ptr %worker to i64
  %with = ptrtoint ptr %env to i64
  %wide = call i64 @hyb_loop(i64 %context, i64 %task, i64 %with, i64 %count)
  %status = trunc i64 %wide to i32
  ret i32 %status
}}

define i32 @hyb_rt_alone(ptr %ctx, ptr %worker, ptr %env, i64 %count) {{
  %context = ptrtoint ptr %ctx to i64
  %task = ptrtoint ptr %worker to i64
  %with = ptrtoint ptr %env to i64
  %wide = call i64 @hyb_loop_alone(i64 %context, i64 %task, i64 %with, i64 %count)
  %status = trunc i64 %wide to i32
  ret i32 %status
}}

define i32 @hyb_rt_told(ptr %ctx) {{
  %context = ptrtoint ptr %ctx to i64
  %wide = call i64 @hyb_loop_poll(i64 %context)
  %status = trunc i64 %wide to i32
  ret i32 %status
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
NAMES = ("hyb_rt_host", "hyb_rt_poll", "hyb_rt_parallel", "hyb_rt_alone", "hyb_rt_told", "hyb_rt_retain", "hyb_rt_drop",
         "hyb_rt_count", "hyb_rt_give")
