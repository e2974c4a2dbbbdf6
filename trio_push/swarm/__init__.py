"""The swarm: many simulated devices on one server, pushes for them, and the books of both."""
