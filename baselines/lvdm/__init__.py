"""The LVDM family: the network, encoders and sampler that VideoCrafter, DynamiCrafter and Cond-leak share."""
