"""The endpoints by which the gateway is operated, for example those of the queue, of blocked clients, and of tests of
relay hosts.
"""
