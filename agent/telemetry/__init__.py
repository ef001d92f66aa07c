"""Logs, metrics, flows, the access log, and the HTTP server of the agent that shows them."""
