"""What manifests would do, said without a kernel, an Envoy or root: by the code that the agent runs."""
