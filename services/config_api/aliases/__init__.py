"""The aliases resource."""
