"""Faces for values of types that pydantic knows."""
