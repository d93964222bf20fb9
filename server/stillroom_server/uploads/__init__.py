"""Files that clients bring: received in chunks, resumable, checked, and gone after a while."""
