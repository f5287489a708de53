"""Is the built-in layout still the best in this onnxruntime on this CPU?"""
