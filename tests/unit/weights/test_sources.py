from __future__ import annotations

import open_clip
import pytest

from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.sources import WeightsSource, entries, mislabelled, source_of

ARCHITECTURE = "test-ViT"


@pytest.fixture
def table(monkeypatch):
    """Function that adds an architecture with tags to open_clip's table: tag -> (hub, url)."""

    def add(**tags):
        lines = {tag: {"hf_hub": hub, "url": url} for tag, (hub, url) in tags.items()}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, lines)

    return add


def test_one_entry_of_open_clips_table_is_mislabelled():
    assert [(entry.backbone, entry.tag) for entry in mislabelled()] == [("ViT-B-16-plus-240", "laion400m_e32")]


def test_all_other_entries_have_the_source_that_open_clip_would_use():
    for entry in entries():
        source = source_of(entry.backbone, entry.tag)
        if (entry.backbone, entry.tag) == ("ViT-B-16-plus-240", "laion400m_e32"):
            assert (source.repository, source.digest) == (None, "699c4b84")
        else:
            assert source.repository == entry.repository
            assert source.files


def test_a_repository_named_after_one_of_two_tags_is_used_only_for_that_tag(table):
    table(laion400m_e31=("someone/vit.laion400m_e31/", ""), laion400m_e32=("someone/vit.laion400m_e31/", "http://u"))
    assert source_of(ARCHITECTURE, "laion400m_e31").repository == "someone/vit.laion400m_e31"
    assert source_of(ARCHITECTURE, "laion400m_e32") == WeightsSource(url="http://u")


def test_a_repository_named_after_another_tag_is_not_used_even_if_that_tag_is_gone(table):
    table(laion400m_e32=("someone/vit.laion400m_e31/", "http://u"))
    assert source_of(ARCHITECTURE, "laion400m_e32") == WeightsSource(url="http://u")


@pytest.mark.parametrize("url", ["", "http://same"])
def test_two_tags_with_one_source_are_refused(table, url):
    table(first=("someone/vit/", url), second=("someone/vit/", url))
    with pytest.raises(WeightsError, match=r"'second' of 'test-ViT', but other weights.*not known.*--pretrained"):
        source_of(ARCHITECTURE, "second")


def test_two_architectures_may_share_the_weights_of_one_tag(table):
    quick = source_of("ViT-B-16-quickgelu", "openai")
    assert quick == source_of("ViT-B-16", "openai")
    assert quick.repository == "timm/vit_base_patch16_clip_224.openai"


def test_tags_are_written_as_open_clip_reads_them():
    assert source_of("ViT-B-16-plus-240", "LAION400M-e32") == source_of("ViT-B-16-plus-240", "laion400m_e32")


def test_files_are_those_that_open_clip_tries(monkeypatch):
    """Compare with open_clip's own downloader, which tries a list of names in order."""
    asked = []

    def missing(repo_id, filename, **options):
        asked.append(filename)
        raise FileNotFoundError

    monkeypatch.setattr(open_clip.pretrained, "hf_hub_download", missing)
    for backbone, tag in [("ViT-B-16-plus-240", "laion400m_e31"), ("ViTamin-S", "datacomp1b")]:
        asked.clear()
        with pytest.raises(FileNotFoundError):
            open_clip.pretrained.download_pretrained(open_clip.get_pretrained_cfg(backbone, tag))
        assert source_of(backbone, tag).files == tuple(asked)


def test_digests_are_those_that_open_clip_would_check():
    openai = WeightsSource(url=open_clip.get_pretrained_url("ViT-B-16", "openai"))
    assert openai.digest == "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
    assert openai.file_name == "ViT-B-16.pt"
    assert WeightsSource(url=open_clip.get_pretrained_url("ViT-B-16", "metaclip_400m")).digest is None
