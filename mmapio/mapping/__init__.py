"""Mappings: memory that shows a file, opened, used, resized, made durable, and closed."""
