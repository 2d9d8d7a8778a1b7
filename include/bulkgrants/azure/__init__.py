"""Azure apps: reads their exported manifest and finds what prevents bulk grants."""
