"""Events about messages for other systems. In each process, one reader reads relay's new events for all webhooks and
streams.
"""
