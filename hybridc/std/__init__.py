"""The standard library, in Hyb.

    core.hyb                    operators of Core under names, and what the containers share
    prelude.hyb                 functions that are everywhere; _elementwise.hyb: operators of tensors as values
    list.hyb, map.hyb, set.hyb, deque.hyb, heap.hyb, graph.hyb    containers; _sort.hyb, _order.hyb: their sorting
    str.hyb, _parts.hyb, _letters.hyb    text; _format.hyb, _fixed.hyb, _integers.hyb: made of values;
                                _numbers.hyb: read as numbers; _keys.hyb: as keys
    graphs.hyb                  algorithms on graphs
    rng.hyb, store.hyb          random numbers, maps on disk
    nn.hyb, optim.hyb, loaders.hyb    layers, optimisers, batches
"""
