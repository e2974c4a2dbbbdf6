"""Bare trio loops: the least that can do the work, and so the limit of what a server can reach."""
