"""The families of FunASR models: loading, decoding and training steps, adapters, model folders and the hub.

Imports core and audio; the place through which decoding reaches FunASR.
"""
