"""What a bin is called in a sentence: edges and labels as they are, reserved bins by what they hold."""

from drift_monitor.core.bins import Bin, Number, Reserved


def bin_text(one: Bin) -> str:
    """A bin as it is called in a sentence: reserved ones say what they hold."""
    match one.reserved:
        case None:
            return one.label
        case Reserved.BELOW:
            return f"below {_edge_text(one.upper)}"
        case Reserved.ABOVE:
            return f"{_edge_text(one.lower)} and above"
        case Reserved.INVALID:
            return "invalid (no number)"
        case Reserved.MISSING:
            return "missing (null)"
        case Reserved.RARE:
            return "rare labels"
        case Reserved.UNSEEN:
            return "labels the reference never had"


def _edge_text(edge: Number | None) -> str:
    return f"{edge:.6g}" if isinstance(edge, float) else str(edge)
