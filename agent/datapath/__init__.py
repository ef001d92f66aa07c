"""From the IR to the tables of the kernel: differences, indices, and retries until the tables are as planned.

Indices, slot ranges and listener ports are state of this package; after a restart it reads them from the tables.
`driver` is the interface that `kernel` implements.
"""
