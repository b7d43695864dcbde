"""Whisper: its family, model, features, vocabulary, decoding and forms of folders. Imports core and models."""
