"""From the name of a service to where it is."""
