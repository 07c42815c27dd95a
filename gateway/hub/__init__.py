"""The hub: calls and their truth, from what happened to what is written and sent."""
