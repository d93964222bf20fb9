"""Protobuf in, protobuf out: servicers that validate, call the domain and translate."""
