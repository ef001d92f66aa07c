"""The node's Envoy: its configuration (delta ADS), its start, and whether its listeners accept connections."""
