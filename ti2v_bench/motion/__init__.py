"""Optical flow and the motion heatmap made from it; used by the metrics and by MotiF."""
