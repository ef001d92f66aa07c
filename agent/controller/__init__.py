"""The cluster-wide writer: Route statuses and the XMesh, by one leader among equals."""
