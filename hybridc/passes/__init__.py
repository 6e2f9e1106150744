"""Core to Core: one file for each pass, in the order of `pipeline.PASSES`.

Before derivatives are written out, and after it again:

    dce.py, cases.py            what nothing needs goes, and cases that nothing makes
    entries.py                  what is called from outside and within, for each
    lifted.py                   maps of constants, before loops and around calls
    unpack.py, options.py       aggregates and options that are only taken apart
    apart.py                    what derivatives go through and is called from outside too, for the program alone
    inline.py, whole.py         small functions, and what is differentiated, where they are called
    simplify.py                 constants, copies, branches that are decided
    slices.py                   windows that loops move over tensors, as small tensors
    shapes.py                   what is computed of tensors of known sizes has known sizes
    scalars.py, elements.py     small tensors as their elements, operator by operator
    ahead.py                    products that all turns of a loop make, before it

After it:

    zeros.py                    adjoints that every call begins with nothing
    one_loop.py, reuse.py       a derivative's two loops as one, and the memory of its records
    sums.py                     what derivatives add up where it goes
    share.py                    what was computed before
    stencils.py                 parts of one matrix that are moved against each other, in one run
    transposed.py               transposes that undo each other
    spread.py, sink.py, fuse.py, sizes.py, agreed.py    tensor operators that are one kernel
    add_into.py, into_part.py   kernels that end in a part of a tensor
    place.py                    what runs on a GPU
    invariant.py                what no turn of a loop changes, before it
    tables.py, counters.py      lists of lists whose rows have one length; counters of a loop that are one
    unswitch.py                 loops that call nothing where something holds that no turn changes
    tensor_places.py, remainders.py    indices of tensors as places; remainders that are places
    split.py                    a loop that asks whether its index has come to a place is two
    bounds.py, rows.py          counted loops (counted.py) without checks, and with the row that they change at hand
    quiet.py                    turns that change nothing, by blocks
    prefetch.py, reassociate.py    memory that is asked for ahead; what a turn has from the one before comes last
    scans.py                    minima that wait for the turn before, by stretches

Before code is made of it (llvm/compile.py):

    hoist.py, views.py          aggregates that are only taken apart, parts of buffers that are only read
    static_lists.py             lists of constants, in the program's data
    cuts.py                     new buffers of bytes that are filled at once
    ownership.py                who frees what; borrow.py: which parameters are only read; liveness.py: what comes later
    lanes.py                    what turns of a loop compute ahead, several at once
    copies.py                   for `hybridc explain`: copies that remain

On demand:

    trap.py                     HYB_TRAP_NAN
    guard.py, guard_values.py   Core of unknown origin, with checks
    recognise.py                functions that this process has compiled before
    each.py                     a pass that makes each function anew by itself
"""
