"""Where changes come from: each source yields batches of changes, and `Synced` once it has said all it knows."""
