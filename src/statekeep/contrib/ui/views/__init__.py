"""The pages: each takes a request and returns an answer."""
