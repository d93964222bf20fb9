"""A teacher's vectors of a corpus: computed once, kept by what they depend on, mapped for use.

``featurize`` gives ``Features``; ``FeatureCache`` keeps files between operations. Torch is imported
only when something is computed or an element type is to be chosen.
"""

from stillroom_server.distillation.features.cache import FeatureCache
from stillroom_server.distillation.features.features import Features
from stillroom_server.distillation.features.featurize import PHASE, featurize
from stillroom_server.distillation.features.options import FeatureOptions

__all__ = ["PHASE", "FeatureCache", "FeatureOptions", "Features", "featurize"]
