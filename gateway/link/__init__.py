"""The link: what an edge in a process of its own and the region service say to each other."""
