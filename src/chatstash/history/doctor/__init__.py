"""Finds damaged conversations and repairs them."""
