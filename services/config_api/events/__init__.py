"""Events about messages for other systems. One reader reads relay's events, and webhooks and streams get them from
it.
"""
