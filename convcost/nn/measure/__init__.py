"""The timing of layers and models by one protocol, and the calibration of the machine."""
