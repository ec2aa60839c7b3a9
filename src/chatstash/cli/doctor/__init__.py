"""The command `doctor`: examines conversations, repairs them, and reports."""
