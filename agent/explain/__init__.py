"""Answers about traffic: what happens to a connection or a request, and why.

`answer` and what it imports evaluate a request on the IR (pure). `lint`, `simulation` and `diff` do it for manifests,
without a kernel, Envoy or root; `connection` and `trace` do it for a running agent.
"""
