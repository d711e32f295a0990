"""Arrays over mapped files: opened, created, and grown."""
