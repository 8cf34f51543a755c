"""The attacks of one publication a file, at its own strengths."""
