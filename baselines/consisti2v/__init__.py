"""ConsistI2V (TIGER-AI-Lab/ConsistI2V): first-frame attention and low-frequency initialisation."""
