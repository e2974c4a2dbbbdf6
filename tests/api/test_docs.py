from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest

from trio_push.api.docs import LINKS
from trio_push.wire.reasons import REASONS


class Page(HTMLParser):
    """The text of a page, its anchors, and what it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            elif name == "href" and value:
                (self.links if tag == "a" else self.loaded).append(value)
            elif name == "src" and value:
                self.loaded.append(value)


@pytest.fixture
async def page(client: httpx.AsyncClient) -> Page:
    response = await client.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.text)


async def test_it_needs_nothing_from_elsewhere(page: Page) -> None:
    assert page.loaded == ["data:,"]
    assert "@import" not in page.text
    assert "url(" not in page.text


async def test_its_links_lead_somewhere(client: httpx.AsyncClient, page: Page) -> None:
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (await client.get(link)).status_code == 200
    assert len(page.ids) == len(set(page.ids))


async def test_it_says_everything(client: httpx.AsyncClient, page: Page) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        assert path in page.text
        for operation in operations.values():
            assert operation["summary"] in page.text
    for name in document["components"]["schemas"]["PushRequest"]["properties"]:
        assert name in page.text
    # where the type of a problem leads
    assert REASONS.keys() <= set(page.ids)
    assert "`" not in page.text
    assert "None" not in page.text


async def test_its_commands_are_for_this_server(client: httpx.AsyncClient, page: Page) -> None:
    commands = re.findall(r"curl -X POST (\S+)", page.text)
    base = str(client.base_url).rstrip("/")
    faults = [f"{base}/v1/faults", f"'{base}/v1/faults/scenarios/{{name}}'"]
    assert commands == [f"{base}/v1/push", f"{base}/v1/pushes", *faults]


async def test_the_index_links_to_everything(client: httpx.AsyncClient) -> None:
    index = (await client.get("/")).json()
    assert index["links"] == LINKS
    for path in LINKS.values():
        assert (await client.get(path)).status_code in (200, 405)
