"""The decision of the kernel in Python, from the same bytes. Its modules have the names of the headers in `bpf/`."""
