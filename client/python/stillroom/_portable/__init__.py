"""Parts of ``stillroom.portable``: what it reads and what it computes."""
