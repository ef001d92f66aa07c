"""Listener IRs as Envoy's resources, in protobuf's JSON form: plain mappings, made by pure functions."""
