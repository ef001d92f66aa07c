"""The agent's process on a node: its start, its loop, its status."""
