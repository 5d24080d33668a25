"""What the views of the page have in common: a folder of controls that begins with a status."""

from __future__ import annotations

from pipeline.play.page import Page


class Panel:
    """A folder of controls on the page."""

    def __init__(self, page: Page, label: str) -> None:
        """Make the folder.

        Args:
            page: the page.
            label: title of the folder.
        """
        self._visible = False
        self._folder = page.server.gui.add_folder(label)
        with self._folder:
            self._status = page.server.gui.add_html("")

    @property
    def status(self) -> str:
        """The numbers that are shown, as HTML."""
        return str(self._status.content)

    def show(self, visible: bool) -> None:
        """Show or hide the controls.

        Args:
            visible: whether they are shown.
        """
        self._visible = visible
        self._folder.visible = visible
