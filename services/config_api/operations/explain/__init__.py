"""Why something is decided or routed as it is: policy and relay, asked through the API."""
