"""Colours for a terminal."""


class Paint:
    """Puts text in colours, or leaves it as it is."""

    def __init__(self, *, colour: bool) -> None:
        self.colour = colour

    def title(self, text: str) -> str:
        """Make the head of an exchange stand out."""
        return self._in("1", text)

    def good(self, text: str) -> str:
        """Show that something went well."""
        return self._in("32", text)

    def late(self, text: str) -> str:
        """Show that something may go well later."""
        return self._in("33", text)

    def bad(self, text: str) -> str:
        """Show that something went wrong."""
        return self._in("1;31", text)

    def name(self, text: str) -> str:
        """Show the name of a field."""
        return self._in("36", text)

    def aside(self, text: str) -> str:
        """Show what is said beside the point."""
        return self._in("2", text)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text
