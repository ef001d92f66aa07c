"""From the IR to the kernel's tables: the differences, the indices, and retries until the tables are as planned.

Which index, slot range or listener port something has is history, not meaning. That history is kept here and is read
back from the kernel's tables after a restart. `driver` is what `kernel` implements.
"""
