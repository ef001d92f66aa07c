"""The hands in the kernel: programs are loaded and attached, tables written, pod cgroups observed.

The only importer of `ctypes`, and in a child process of its own of BCC. Decides nothing; `oracle` only reads.
"""
