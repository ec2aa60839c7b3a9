"""The doctor: finds damaged conversations and repairs them."""
