// The Multi-Cluster Services API, for its definitions.
module weft.dev/tests/cluster/multicluster

go 1.26.0

require sigs.k8s.io/mcs-api v0.5.2
