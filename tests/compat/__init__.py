"""Behaviour that a program written for Ray relies on; every test runs on both engines."""
