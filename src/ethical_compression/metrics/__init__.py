"""Scores of tables of answers: tables in, tables out, and never a model."""
