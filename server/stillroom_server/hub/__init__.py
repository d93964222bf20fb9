"""What every use of the Hugging Face Hub shares: who may be asked, what failed, whether bytes are
the ones asked for. Nothing here imports huggingface_hub before it is called."""
