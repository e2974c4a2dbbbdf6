"""Clients that push to our server for a while and say how many pushes were accepted."""
