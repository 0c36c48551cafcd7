"""One file for each way to write the same server and the same client."""
