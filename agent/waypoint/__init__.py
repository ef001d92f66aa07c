"""The node's Envoy: what it is told (delta ADS), how it is started, and whether it answers."""
