"""Pieces the pages share. They may import engine; engine never imports them."""
