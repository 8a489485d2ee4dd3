"""HTML as tests look at it: elements with attributes and text, from the parser of the standard library."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "input", "br", "img", "hr"}


@dataclass
class Element:
    """One element; `text` is all text inside it."""

    name: str
    attributes: dict[str, str]
    parent: "Element | None" = None
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    def all(self, name: str | None = None, class_: str | None = None) -> list["Element"]:
        """Elements below this one, in order."""
        found = []
        for child in self.children:
            if name in (None, child.name) and (class_ is None or class_ in child.classes):
                found.append(child)
            found += child.all(name, class_)
        return found

    def one(self, name: str | None = None, class_: str | None = None) -> "Element":
        """The first of them."""
        return self.all(name, class_)[0]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self.at = self.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute is there twice: <{tag} {attrs}>"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.children.append(element)
        if tag not in _VOID:
            self.at = element

    def handle_endtag(self, tag: str) -> None:
        assert self.at.name == tag, f"</{tag}> ends <{self.at.name}>"
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        element: Element | None = self.at
        while element is not None:
            element.text += data
            element = element.parent


def parse(text: str) -> Element:
    """The document; fails where tags don't close what they opened."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.at is parser.root, f"<{parser.at.name}> is not closed"
    return parser.root
