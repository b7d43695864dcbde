"""A local server: OpenAI's transcription protocol, a page to speak to, and a page that records a person's own corpus.

Imports core, audio, models, language, pages, decoding and export; fastapi and uvicorn only in functions.
"""
