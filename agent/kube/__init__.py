"""Kubernetes objects from an API server or from manifests, as values of `model`, and writes back to the API server.

A source yields batches of changes, and `Synced` after its first complete list. `client` is the only importer of
`kubernetes` and `aiohttp`.
"""
