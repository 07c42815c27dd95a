"""The link between an edge in a process of its own and the region service."""
