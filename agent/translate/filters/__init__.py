"""The filters of HTTPRoutes and GRPCRoutes, a module for each; `registry` has them in the order of Envoy's chain."""
