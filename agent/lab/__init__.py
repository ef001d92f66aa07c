"""A small cluster of one node for people without one: pods are network namespaces and cgroups.

It plays the parts of a cluster that a mesh meets: API objects in a folder, controllers, a kubelet, service rules, DNS,
in IPv4, IPv6 or both. Nothing of it is in the host's network namespace, and `down` removes all of it.
"""
