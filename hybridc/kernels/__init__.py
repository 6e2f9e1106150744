"""Kernels as graphs: what a fused region computes, whatever machine runs it.

    graph.py                    the graph; axes.py: which axes run together
    totals.py                   reductions over the rows, beside what each row gives
    schedule.py                 when each node is computed, and what is kept in memory
    late.py, online.py, causal.py    attention: divided after its product, in one pass, without what is masked
    columns.py                  columns that threads may share
    device.py                   which kernels a GPU can run
    cost.py, show.py            what they move and compute; as text
"""
