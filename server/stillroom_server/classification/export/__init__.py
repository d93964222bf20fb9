"""A classifier leaves the room: its folder, its ONNX graph, and the proof that both agree."""
