"""Models, whoever runs them: the interface of a backend, and the backends."""
