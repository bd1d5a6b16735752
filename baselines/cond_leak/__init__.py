"""Cond-leak: conditional image leakage fixed, on DynamiCrafter or VideoCrafter1."""
