"""Trials of several processes: data parallelism on the GPUs, or the CPU cores, of one node.

    group       the exchange between the processes, by torch.distributed
    messages    what the first process writes to the others, and they to it
    processes   the other processes as the first one sees them: their start, orders, failures, end
    worker      the program of the other processes

The first process is the one that runs the attempt. It alone evaluates, reports, writes checkpoints
and reads them. At the begin of each epoch that the processes share, it sends its whole state to the
others, which therefore keep nothing from one epoch to the next.
"""
