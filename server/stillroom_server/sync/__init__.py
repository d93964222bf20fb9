"""Pushes models to the Hugging Face Hub and pulls them from it, through an outbox that survives
crashes. Nothing here imports huggingface_hub before it is called."""
