"""Models out of torch: ONNX graphs, and a runtime that needs numpy, onnxruntime and a tokenizer alone."""
