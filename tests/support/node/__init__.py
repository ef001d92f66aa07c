"""Labs of one node: pods as network namespaces, the agent, a real Envoy."""
