"""The page cache: how much of files it holds, in figures and pictures, and hints to it."""
