"""The image and the compose files in real containers, run by podman: `make containers`."""
