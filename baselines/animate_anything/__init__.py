"""AnimateAnything (Dai et al., 2023): ModelScope text-to-video with a first frame, a mask and a motion strength."""
