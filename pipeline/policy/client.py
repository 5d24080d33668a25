"""Import the client under its former name; programs that use it keep working."""

from pipeline.serving.client import ClientError, PolicyClient

__all__ = ["ClientError", "PolicyClient"]
