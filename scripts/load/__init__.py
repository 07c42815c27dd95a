"""The load of `scripts/load_test`: many sessions on a running gateway, from processes of their own.

Rules: nothing is counted as proved without its receipt, and the gateway's own coverage must agree; all times are taken
in the client's process when bytes arrive; the load measures itself, too, and says when it was what held things up.
"""
