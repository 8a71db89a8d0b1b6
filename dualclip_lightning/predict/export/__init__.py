"""Export of detectors to files that run without this package: ONNX, and OpenVINO."""
