"""Azure apps: what their exported manifest says, and what keeps them from serving bulk grants."""
