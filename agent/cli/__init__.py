"""The `weft` command: one file a command, put together here."""
