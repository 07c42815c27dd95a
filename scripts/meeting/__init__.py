"""The meeting of `scripts/demo`: a real gateway, real client processes, and figures that must come out exactly.

Rules: only public names of the project are used; everything shown was observed by a client, answered by the control
API or read from a ledger; what the scenario demands is written down in `figures` alone.
"""
