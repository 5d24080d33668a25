"""The former place of the client, kept for programs that import it from here."""

from pipeline.serving.client import ClientError, PolicyClient

__all__ = ["ClientError", "PolicyClient"]
