"""Access to the kernel: it loads and attaches programs, writes tables and watches pod cgroups.

The only package that imports `ctypes`, and in a child process BCC. It makes no decisions; `oracle` only reads.
"""
