"""Talking to the Kubernetes API server: raw bytes over HTTP. The only importer of `kubernetes` and `aiohttp`."""
