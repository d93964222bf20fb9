"""What runs in the measuring process: each probe times a real code path at a few sizes."""
