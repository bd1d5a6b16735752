"""The VBench-I2V dimensions, quirks included. Source of all: Vchitect/VBench at 45e79ec (Apache-2.0)."""
