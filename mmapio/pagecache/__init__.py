"""The page cache: what of files and memory it holds, shown and advised on."""
