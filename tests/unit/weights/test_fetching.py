from __future__ import annotations

import hashlib
import io
import threading

import huggingface_hub
import pytest
import torch

from dualclip_lightning.weights import WeightsError, fetching
from dualclip_lightning.weights.fetching import fetch, find, within
from dualclip_lightning.weights.sources import WeightsSource, source_of
from tests.web import REVISION, serve

CONTENT = b"weights"
REPOSITORY = WeightsSource("someone/clip", ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))


def hashed(address: str, content: bytes = CONTENT) -> WeightsSource:
    """Return the source of a file whose name ends in the first digits of its SHA-256."""
    return WeightsSource(url=f"{address}/clip-{hashlib.sha256(content).hexdigest()[:8]}.pt")


@pytest.mark.parametrize("name", REPOSITORY.files)
def test_a_repository_gives_the_first_of_the_files_that_it_has(web, name):
    web.add_to_hub("someone/clip", name, CONTENT)
    fetched = fetch(REPOSITORY)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.path.name == name
    assert fetched.origin == {"repository": "someone/clip", "file": name, "revision": REVISION}


def test_what_was_fetched_once_is_not_asked_for_again(web):
    web.add_to_hub("someone/clip", REPOSITORY.files[1], CONTENT)
    web.files["/" + hashed(web.address).file_name] = CONTENT
    fetched = [fetch(REPOSITORY), fetch(hashed(web.address))]
    web.files.clear()
    web.asked.clear()
    assert [fetch(REPOSITORY), fetch(hashed(web.address))] == fetched
    assert web.asked == []


def test_a_url_gives_a_file_whose_digest_is_checked_and_lies_where_open_clip_looks(web, own_caches):
    source = hashed(web.address)
    web.files["/" + source.file_name] = CONTENT
    fetched = fetch(source)
    assert fetched.path == own_caches / ".cache" / "clip" / source.file_name
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.origin == {"url": source.url}


def test_a_file_of_another_digest_is_refused_and_not_kept(web):
    source = hashed(web.address)
    web.files["/" + source.file_name] = b"something else"
    with pytest.raises(WeightsError, match=rf"Cannot fetch {source.url}.*hash"):
        fetch(source)
    assert find(source) is None


def test_a_damaged_file_in_the_cache_is_fetched_again(web, caplog):
    source = hashed(web.address)
    web.files["/" + source.file_name] = CONTENT
    path = fetch(source).path
    path.write_bytes(CONTENT[:3])
    assert find(source) is None
    assert "fetched again" in caplog.text
    assert fetch(source).path.read_bytes() == CONTENT


def test_the_default_weights_are_asked_for_at_their_own_url_with_their_digest(monkeypatch, own_caches):
    """open_clip's table lists the repository of `laion400m_e31` for `laion400m_e32`; it must not be used."""
    asked = []
    monkeypatch.setattr(fetching, "urlopen", lambda url, **_: asked.append(url) or io.BytesIO())
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, hash_prefix: asked.append(hash_prefix))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(WeightsError, match=r"vit_b_16_plus_240-laion400m_e32-699c4b84\.pt"):
        fetch(source_of("ViT-B-16-plus-240", "laion400m_e32"))
    release = "https://github.com/mlfoundations/open_clip/releases/download/v0.2-weights"
    assert asked == [f"{release}/vit_b_16_plus_240-laion400m_e32-699c4b84.pt", "699c4b84"]


def test_an_unreachable_hub_is_asked_once_and_says_nothing_beside_the_error(monkeypatch, unreachable_hub, caplog):
    tried = []
    ask = huggingface_hub.get_hf_file_metadata
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *a, **k: tried.append(a) or ask(*a, **k))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("tried to download"))
    with pytest.raises(
        WeightsError, match=rf"open_clip_model\.safetensors or .* of {unreachable_hub}/someone/clip .*refused"
    ):
        fetch(REPOSITORY)
    assert len(tried) == 1
    assert caplog.records == []


def test_an_unreachable_url_is_an_error_that_names_it(own_caches):
    with serve() as gone:
        source = hashed(gone.address)
    with pytest.raises(WeightsError, match=rf"Cannot fetch {source.url} \(URLError"):
        fetch(source)


def test_a_repository_without_weights_is_an_error(web):
    with pytest.raises(WeightsError, match="no such file"):
        fetch(REPOSITORY)


def test_a_host_that_does_not_answer_is_given_up():
    answered = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within 0 seconds"):
        within(0, answered.wait)
    answered.set()
    assert within(60, answered.wait)


def test_an_error_of_the_call_is_raised():
    with pytest.raises(KeyError):
        within(60, {}.popitem)
