"""Replicas of one model, trained together as one stacked model."""
