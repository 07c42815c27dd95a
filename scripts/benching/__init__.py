"""The bench: fixed workloads on a real gateway beside yardsticks of the same run, and the table of what is reached.

Rules: every server and every load is a process of its own; servers are pinned to one core and loads to another; what a
server spends is read from its own processor clock; medians of interleaved rounds; nothing counts that was not proved.
"""
