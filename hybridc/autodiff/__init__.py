"""Differentiation as a pass over Core, in reverse and forward mode.

Every function f that is differentiated becomes two: `f forward`, which computes what f does and returns with it a
*tape*, and `f reverse`, which takes the tape and the adjoints of the results and adds to the adjoints of the arguments.
One file for each subject:

    driver.py       the pass: callees before callers
    tangent.py      types of adjoints, and the small functions that add, take and convert them
    deep.py         those of them that go through values that contain themselves
    lift.py         first, views of what a loop does not change are named before it
    structure.py    then a function is put in a form whose exits the reverse part can follow
    segments.py     loops whose tape would be larger than HYB_TAPE are divided in segments, computed again
    activity.py     which variables depend on what is differentiated by
    wanted.py       which of them reach a result
    region.py       what the reverse part needs of the forward part, and where it is kept
    sizes.py        which sizes are the same, and what a loop only updates
    readonly.py     which tensors and lists are there for the reverse part anyway, and are read again
    lasting.py      which lists nobody changes any more, so that a tape may hold them
    reverse.py      the reverse part: blocks, branches
    calls.py        of calls; derived.py: what is known of a function's two parts
    loops.py        of loops; heads.py: which of them need no record of their last turn, and what is counted
    late_views.py   views of what a last turn did not come to are made where they are used
    forward.py      the forward part: the function itself, which saves what the regions say
    recursion.py    the stack of records of functions that call themselves, and what they are given again
    products.py     products that a function which calls itself adds to derivatives of matrices
    parallel.py     `parallel`
    rules.py        adjoints of aggregates and buffers; elements.py: what is added to parts of elements
    factors.py      the derivative of a product by each of its factors
    convert.py      derivatives as the program sees them
    push.py, push_rules.py    forward mode: functions that also take and give tangents
    replacer.py     what stands for the operators that take derivatives
    choices.py      expectations over choices that are estimated by their probability
    direction.py    checks directions that a program gives
    absent.py       derivatives that are known not to exist only when the program runs
    scalar_rules.py, tensor_rules.py    one table of one-line adjoints for scalar operators, one for tensor operators
"""
