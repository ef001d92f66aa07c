"""Encryption between nodes: which WireGuard devices, peers, routes and rules a node should have. Pure.

A node has a device for each generation of its keys, two while keys are replaced. Policy routing sends packets of its
pods to the pods of another node into the device by which that node can be reached. The kernel keeps all of it while no
agent runs: a device has its private key, which is nowhere else, and its alias says which generation it is.
"""
