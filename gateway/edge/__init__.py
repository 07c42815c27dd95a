"""The edge: who is connected, and what goes over their sockets."""
