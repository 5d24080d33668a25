"""A policy served over a WebSocket: protocol, server, client and TLS."""
