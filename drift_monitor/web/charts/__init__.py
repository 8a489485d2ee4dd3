"""Charts as inline SVG: pure functions from values to markup, drawn by hand.

Colours, strokes and fonts are classes of the style sheet, so charts follow the page into dark mode and no style
attribute is ever written. Every text goes through escaping; every chart has a title for those who can't see it, and
the pages say its numbers in words or tables too.
"""
