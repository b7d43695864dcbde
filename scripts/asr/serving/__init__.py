"""A local server: OpenAI's transcription protocol, a page to speak to, and a page that records a person's own corpus.

May import core, audio, models, language, pages, decoding and export; fastapi and uvicorn are optional packages.
"""
