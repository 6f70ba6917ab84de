"""Benchmarks of Posthouse, alone and beside other mail servers, over loopback. Compared programs run in turns."""
