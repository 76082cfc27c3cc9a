"""Data Docs without a network."""

from __future__ import annotations

import re

from jobs.validate.page import whole_offline


def test_nothing_is_loaded_run_or_linked() -> None:
    page = """<html><head><link rel="stylesheet" href="https://cdn.example/a.css"><title>t</title></head><body>
      <script src="https://cdn.example/a.js"></script><style>b { background: url('https://cdn.example/c.png') }</style>
      <nav><a href="https://example.com">Home</a></nav><img src="https://example.com/x.png">
      <h5 onclick="alert(1)" style="background: url(https://x)">Overview &lt;b&gt;</h5>
      <p>kept <a href="https://example.com">words</a> <br> and <i class="fas fa-check-circle"></i></p>
      <div class="modal fade"><div>gone <p>too</div></div>
      <table><tbody><tr><td id="cell" colspan="2">1</td></tr></table><iframe src="//example.com">gone</iframe></body></html>"""
    kept = whole_offline(page).decode()
    assert not re.search(r"https?:|//|src=|href=|url\(|\bon\w+=|<script|<a\b", kept)
    assert "gone" not in kept
    assert "Home" not in kept
    assert re.search(r"<h5>Overview &lt;b&gt;</h5>", kept)
    assert '<p>kept words <br> and <i class="fas fa-check-circle"></i></p>' in kept
    assert '<td id="cell" colspan="2">1</td></tr></tbody></table>' in kept


def test_a_note_and_a_link_of_our_own_come_first_and_are_escaped() -> None:
    kept = whole_offline("<p>body</p>", "a < b", ("more", 'own".html')).decode()
    assert '<p class="note">a &lt; b</p><p><a href="own&quot;.html">more</a></p><p>body</p>' in kept
