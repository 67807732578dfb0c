"""Where az looks for the models of its api-version."""
