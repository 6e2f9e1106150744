"""Small differentiable programs, thousands at a time: derivatives in compiled code, on the interpreter, by differences.

`base` is what all share (floats that carry derivatives, expressions, blocks); `control`, `data`, `functions`,
`derivatives` and `tensors` each write the constructs of one subject; `program` puts a program together; `judge` runs a
file of them.
"""
