"""model2vec's distillation: ``... TEACHER OUTPUT DIMENSIONS``."""

from __future__ import annotations

import sys

from model2vec.distill import distill

if __name__ == "__main__":
    _, teacher, output, dimensions = sys.argv
    distill(model_name=teacher, pca_dims=int(dimensions)).save_pretrained(output)
