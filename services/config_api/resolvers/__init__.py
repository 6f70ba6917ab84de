"""The resolvers resource."""
