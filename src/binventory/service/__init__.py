"""Counting over HTTP."""
