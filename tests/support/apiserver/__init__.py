"""A real etcd and kube-apiserver, and agents and controllers beside them."""
