"""gRPC between the front and the teacher engine; the rest of the room knows none."""
