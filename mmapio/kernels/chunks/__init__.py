"""Functions of the user, compiled and run over the chunks of an array."""
