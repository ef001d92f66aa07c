// The first process of every pod's sandbox: it holds the pod's namespaces, and sleeps.
module weft.dev/tests/cluster/pause

go 1.26.0
