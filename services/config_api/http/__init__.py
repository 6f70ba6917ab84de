"""The HTTP interface: requests, roles, responses, and the OpenAPI document."""
