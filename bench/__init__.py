"""Measurements of Posthouse beside real peers, on loopback. Within one run the contenders are measured in turns."""
