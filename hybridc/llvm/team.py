"""Large kernels on several threads: a kernel that can do some of its units alone (rows, panels of columns) is cut into
runs of them, which the threads of the host's team take one after the other: the one that called from the first on, the
others from the last. So each finds in its caches what it had at the call before.

What a unit computes does not depend on how units are cut, so results are the same for any number of threads. The
thread that called the kernel has the program's context, and polls; the others have one of their own, of which kernels
use only what tells them to stop and what takes a fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.llvm.abi import CONTEXT_SIZE, OFFSET, fault_code
from hybridc.llvm.code import Code
from hybridc.llvm.module import Module
from hybridc.llvm.strided import parts
from hybridc.llvm.support import CTX, context_field, flag_of, interrupted, set_fault

LARGE = 2_000_000
"""Multiplications (or what takes as long) from which a kernel is shared: about 20 microseconds, where threads that
sleep need longer to wake, and those that do not less than one."""
READING = 8
"""Rows that are multiplied by a matrix in the time that it takes to read it."""
LONG = 1 << 30
"""Such, between two polls: about 15 milliseconds."""
JOB = {name: 8 * i for i, name in enumerate(
    ("ctx", "run", "env", "units", "grain", "runs", "taken", "last", "failed", "stop", "thread", "size"))}


def spread(
    code: Code, part: str, args: Sequence[tuple[str, str]], units: str, work: str, pieces: int = 1, polls: bool = True
) -> str:
    """i32, nonzero after a fault: `part` of (ctx, *args, first, last), which does units first to last and gives such an
    i32, for all units. `work` is that of all of them, as LARGE counts; `pieces` for each thread are handed out. A part
    that does not poll by itself is handed out in pieces that are not LONG."""
    run = _thunk(code.module, part, tuple(t for t, _ in args))
    alone, together, done = code.label("alone"), code.label("together"), code.label("done")
    shared = code.op2("and", "i1", code.icmp("sge", work, str(LARGE)), code.icmp("sgt", units, "1"))
    if polls:
        has_team = code.icmp("ne", code.load("ptr", context_field(code, "team")), "null", "ptr")
        shared = code.op2("and", "i1", shared, has_team)
    code.branch(shared, together, alone)
    code.start(alone)
    one = code.call("i32", part, [CTX, *args, ("i64", "0"), ("i64", units)])
    after = code.here
    code.jump(done)
    code.start(together)
    env = code.alloca(8 * len(args))
    for i, (t, v) in enumerate(args):
        code.store(t, v, code.ptr_add(env, 8 * i))
    most = units if polls else code.add(
        code.op2("udiv", "i64", units, code.add(code.op2("udiv", "i64", work, str(LONG)), "1")), "1")
    many = code.call("i32", _share(code.module), [
        CTX, ("ptr", run), ("ptr", env), ("i64", units), ("i64", str(pieces)), ("i64", most)])
    code.jump(done)
    code.start(done)
    return code.phi("i32", [(one, after), (many, together)])


def _thunk(module: Module, part: str, types: tuple[str, ...]) -> str:
    """i32 (ctx, env, first, last): the part, with arguments from memory."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%env"), ("i64", "%first"), ("i64", "%last")], "i32")
        args = [(t, code.load(t, code.ptr_add("%env", 8 * i))) for i, t in enumerate(types)]
        code.ret(code.call("i32", part, [CTX, *args, ("i64", "%first"), ("i64", "%last")]))
        code.finish()

    return module.helper(("hyb.part", part), make)


def _share(module: Module) -> str:
    """i32 (ctx, run, env, units, pieces, most): run(ctx, env, first, last) for all units, at most so many at a time, on
    the host's team."""

    def make(name: str) -> None:
        params = [CTX, ("ptr", "%run"), ("ptr", "%env"), *(("i64", n) for n in ("%units", "%pieces", "%most"))]
        code = Code(module, name, params, "i32", attributes="noinline nounwind")
        team = code.load("ptr", context_field(code, "team"))
        asked, alone, fork_at = code.label("asked"), code.label("alone"), code.label("fork")
        code.branch(code.icmp("eq", team, "null", "ptr"), alone, asked)
        code.start(asked)
        fork = code.load("ptr", team)
        code.branch(code.icmp("eq", fork, "null", "ptr"), alone, fork_at)
        code.start(alone)
        with code.loop("%units", step="%most") as turn:
            with interrupted(code, flag_of(code)):
                code.ret("1")
            last = code.call("i64", "@llvm.smin.i64", [("i64", code.add(turn.index, "%most")), ("i64", "%units")])
            status = code.call("i32", "%run", [CTX, ("ptr", "%env"), ("i64", turn.index), ("i64", last)])
            with code.when(code.icmp("ne", status, "0", "i32")):
                code.ret("1")
        code.ret("0")
        code.start(fork_at)
        pieces = code.mul(code.load("i64", code.ptr_add(team, 16)), "%pieces")
        even = code.op2("udiv", "i64", code.sub(code.add("%units", pieces), "1"), pieces)
        grain = code.call("i64", "@llvm.smin.i64", [("i64", even), ("i64", "%most")])
        job = code.alloca(JOB["size"])
        for field, t, value in (("ctx", "ptr", "%ctx"), ("run", "ptr", "%run"), ("env", "ptr", "%env"),
                                ("units", "i64", "%units"), ("grain", "i64", grain),
                                ("runs", "i64", parts(code, "%units", grain)), ("taken", "i64", "0"),
                                ("last", "i64", "0"), ("failed", "i64", "0"), ("stop", "i64", "0"),
                                ("thread", "i64", code.call("i64", "@pthread_self", []))):
            code.store(t, value, code.ptr_add(job, JOB[field]))
        size = code.convert("trunc", "i64", code.load("i64", code.ptr_add(team, 8)), "i32")
        code.call("void", fork, [("ptr", _member(module)), ("ptr", job), ("i32", size), ("i32", "0")])
        with code.when(code.icmp("eq", code.load("i64", code.ptr_add(job, JOB["failed"])), "0")):
            code.ret("0")
        # What fails on another thread is the memory it asked for.
        with code.when(code.icmp("eq", code.load("i64", context_field(code, "fault")), "0")):
            code.call("void", set_fault(module), [CTX, ("i64", str(fault_code("MemoryError")))])
        code.ret("1")
        code.finish()

    return module.helper("hyb.share", make)


def _member(module: Module) -> str:
    """void (job): what each thread of the team does."""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%job")], "void", attributes="noinline nounwind")

        def field(name: str) -> str:
            return code.ptr_add("%job", JOB[name])

        own = code.alloca(CONTEXT_SIZE)
        code.zero_bytes(own, str(OFFSET["trace"]))
        code.store("ptr", field("stop"), code.ptr_add(own, OFFSET["flag"]))
        code.store("ptr", _yes(module), code.ptr_add(own, OFFSET["poll"]))
        caller = code.icmp("eq", code.call("i64", "@pthread_self", []), code.load("i64", field("thread")))
        ctx = code.select(caller, "ptr", code.load("ptr", field("ctx")), own)
        run, env, units, grain, runs = (code.load(t, field(f)) for f, t in (
            ("run", "ptr"), ("env", "ptr"), ("units", "i64"), ("grain", "i64"), ("runs", "i64")))
        turn, body, others, mine, fault, done = map(code.label, ("turn", "body", "others", "mine", "fault", "done"))
        before = code.here
        code.jump(turn)
        code.start(turn)
        front, front_slot = code.phi_slot("i64")
        taken = code.ins(f"atomicrmw add ptr {field('taken')}, i64 1 monotonic")
        failed = code.ins(f"load atomic i64, ptr {field('failed')} monotonic, align 8")
        more = code.op2("and", "i1", code.icmp("slt", taken, runs), code.icmp("eq", failed, "0"))
        code.branch(more, body, done)
        code.start(body)
        with interrupted(code, flag_of(code, ctx), ctx):
            code.jump(fault)
        asked = code.here
        code.branch(caller, mine, others)
        code.start(others)
        back = code.ins(f"atomicrmw add ptr {field('last')}, i64 1 monotonic")
        from_back = code.sub(code.sub(runs, "1"), back)
        code.jump(mine)
        code.start(mine)
        first = code.mul(code.phi("i64", [(front, asked), (from_back, others)]), grain)
        last = code.call("i64", "@llvm.smin.i64", [("i64", code.add(first, grain)), ("i64", units)])
        status = code.call("i32", run, [("ptr", ctx), ("ptr", env), ("i64", first), ("i64", last)])
        code.fill_phi(front_slot, [("0", before), (code.add(front, "1"), code.here)])
        code.branch(code.icmp("eq", status, "0", "i32"), turn, fault)
        code.start(fault)
        code.do(f"store atomic i64 1, ptr {field('failed')} monotonic, align 8")
        code.do(f"store atomic i64 1, ptr {field('stop')} monotonic, align 8")
        code.jump(done)
        code.start(done)
        code.ret()
        code.finish()

    return module.helper("hyb.member", make)


def _yes(module: Module) -> str:
    """i32 (ctx): the poll of a thread that is told to stop."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX], "i32")
        code.ret("1")
        code.finish()

    return module.helper("hyb.stop", make)
