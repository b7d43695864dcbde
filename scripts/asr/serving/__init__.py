"""A local server: OpenAI's transcription protocol, a page to speak to, a page that records a person's own corpus.

Imports core, audio, models, language, pages, decoding and export; fastapi and uvicorn, optional packages, only in
functions.
"""
