"""Forms made from the schemas of the OpenAPI document."""
