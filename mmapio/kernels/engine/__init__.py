"""The engine of all kernels: compiling, threads, pieces of arrays, vectors, reading ahead."""
