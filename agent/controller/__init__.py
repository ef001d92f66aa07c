"""The controller: it writes Route statuses and the XMesh for the whole cluster. One replica leads."""
