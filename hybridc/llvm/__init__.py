"""Core and kernels to LLVM's text, and that to objects.

A program:

    compile.py                  Core to objects, with the tables that the runtime needs
    analysis.py, lend.py        what is known of each function before its code is made
    module.py, unit.py, written.py    what functions share, text that was written before
    definitions.py, partition.py    the text of a program, and its pieces
    backend.py, processors.py   LLVM itself, and what it makes code for
    abi.py, layout.py           the context that functions get; how values look
    entry.py, jit.py            what an object exports; one loaded here, for tests and tools

A function:

    branches.py, conditions.py  branches, matches and where they meet; conditions of several parts
    functions.py, control.py    the whole, and its blocks, branches, loops and calls; parallel.py: `parallel`
    emitter.py, code.py         what operators write their code with (read emitter.py first)
    table.py                    the code of every operator, by its name
    aggregate_ops.py, buffer_ops.py, byte_ops.py, host_ops.py, scalar_ops.py, text_ops.py, resize.py, casts.py
    static_lists.py             lists of constants
    vector_sort.py, counting_sort.py, word_vectors.py    sorting numbers
    scans.py                    minima that wait for the one before
    refcount.py, opening.py     owners; pool.py, spares.py, support.py: memory, faults and polls

Operators on tensors, each by itself:

    tensor_kernels.py           all of them, by name; tensor_access.py: what they are written with
    tensor_*.py, strided.py, squares.py    by subject
    made_over.py                small ones in the memory of others

Fused kernels and products:

    fused.py, device.py         in the host function, on the CPU and on a GPU
    row_kernel.py, kernel_products.py, column_loops.py    a scheduled graph: loops over rows, products, columns
    wide.py, lane.py, elementary.py, in_registers.py    vectors, and what is computed of them
    lanes.py                    turns of a loop, side by side in their lanes
    product.py, block_product.py, row_product.py, tiles.py    products of matrices, of blocks, of a row; a tile
    kept_panels.py, ends.py     weights that are kept turned, and read from where they were left
    window_panels.py, window_pool.py, window_adjoint.py    convolutions, pools, and what is added up in derivatives
    team.py                     large kernels on several threads
"""
