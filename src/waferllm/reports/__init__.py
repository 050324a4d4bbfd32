"""Reports: what programs, models and chips come to, in tables for people and JSON for programs."""
