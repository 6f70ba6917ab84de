"""Mail on its way, its destinations, its history: relay, seen through the API."""
