"""Measures the server beside its limit (a bare trio loop) and its peers, in the same run."""
