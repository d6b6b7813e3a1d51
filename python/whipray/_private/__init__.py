"""Internals of the Python layer; nothing here is public."""
