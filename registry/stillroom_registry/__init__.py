"""Models, versions, aliases and blobs; knows no gRPC and no machine learning."""
