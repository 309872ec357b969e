"""Tests and test equipment of the provider."""
