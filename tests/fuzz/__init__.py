"""Random well-typed Hyb programs, run on every engine and compared; and hostile source text.

    python -m tests.fuzz programs --seed 1 --count 1000
    python -m tests.fuzz source --seed 1 --count 1000

`types` and `base` are what every generator needs; `scalars`, `text`, `containers`, `data`, `functions`, `statements`,
`tensors` and `models` each make one subject; `program` puts a case together. `engines` runs a file of cases on the
reference interpreter, compiled at O0, and from a `.hybx` compiled at O3; `compare` says whether outcomes agree;
`campaign` does this in processes that may crash or hang; `shrink` makes what fails small. `source` makes hostile text.
`slopes/` makes small differentiable programs and judges their derivatives.
"""
