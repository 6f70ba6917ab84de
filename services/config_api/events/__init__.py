"""Events about messages for other systems. A single reader reads relay's events, and passes them to webhooks and
streams.
"""
