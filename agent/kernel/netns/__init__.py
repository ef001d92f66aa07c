"""The network namespace helper: the process of weft that may open network namespaces of pods.

It holds CAP_SYS_ADMIN and CAP_SYS_PTRACE. The agent, which reads what others write, holds neither, and requests
descriptors from it over a Unix socket: `protocol.py`.
"""
