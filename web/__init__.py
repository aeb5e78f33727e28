"""What people see: the chat page, its API, and the health of the mesh."""

from web.app import create_web

__all__ = ["create_web"]
