"""Side-by-side measurements of the evaluation engine: ``python -m benchmarks``, or ``make bench``.

Each task is done by this project and by the tool that people would else use, turn by turn in one process, on the same
inputs, and the results are compared. The headline is a ratio: seconds say more about the machine.
"""
