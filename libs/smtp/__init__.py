"""The values of the mail RFCs: replies, addresses, parameters, envelopes, headers, networks. This package is pure, and
has no I/O.
"""
