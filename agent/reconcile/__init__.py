"""From the plan to the tables: what differs, where it goes, and trying again until it is so.

Which index, slot range or listener port something has is history, not meaning; that history lives here and is read
back from the kernel's tables after a restart.
"""
