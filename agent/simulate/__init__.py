"""What happens to a connection and to a request, computed from the plan: no kernel, no Envoy, no input, no output."""
