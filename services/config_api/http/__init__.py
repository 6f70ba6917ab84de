"""The HTTP side: requests, roles, responses, the OpenAPI document."""
