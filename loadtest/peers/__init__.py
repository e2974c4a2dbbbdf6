"""The servers that are measured: ours, the bare loops, and what others would use instead."""
