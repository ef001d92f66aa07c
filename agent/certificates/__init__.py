"""Certificates with SPIFFE IDs (X.509-SVIDs): which requests are granted, and the life of the authorities that sign.

It reads no clock and does no I/O.
"""
