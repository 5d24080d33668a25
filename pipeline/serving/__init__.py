"""A policy behind a WebSocket: protocol, server and client."""
