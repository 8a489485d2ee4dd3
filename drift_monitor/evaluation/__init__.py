"""The use cases, each a straight line: evaluate a window, build a reference, fill the past, deliver a message.

This room joins what the rooms below know: it reads sources, computes with `core`, commits to the store and sends
through `notify`. It promises that a window takes effect exactly once. It knows no scheduler, no web and no terminal.
"""
