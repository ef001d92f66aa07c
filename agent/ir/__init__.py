"""Our own values between the Kubernetes API and what is made of it: for the kernel, for Envoy, for statuses."""
