"""A real Envoy with configuration that the test makes, without an agent or a kernel's tables."""
