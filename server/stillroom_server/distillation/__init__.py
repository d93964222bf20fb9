"""From a teacher to a student: vocabulary, static distillation, export, parity."""
