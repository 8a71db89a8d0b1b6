"""The paths of the service, in this process."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from dualclip_lightning.predict import Detector, Failure
from dualclip_lightning.serving.app import create_app
from dualclip_lightning.serving.limits import Limits
from tests.unit.serving.conftest import png, upload


@pytest.fixture
def client(detector):
    with TestClient(create_app(detector)) as client:
        yield client


def metrics_of(client) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_images_get_the_results_of_the_detector(client, detector, tmp_path):
    contents = [png(i, (40 + 8 * i, 56)) for i in range(5)]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    answer = client.post("/predict", files=upload(*contents))
    assert answer.status_code == 200
    found, expected = answer.json()["results"], [detector.predict(path) for path in paths]
    assert [each["name"] for each in found] == [path.name for path in paths]
    for each, prediction in zip(found, expected, strict=True):
        assert each["score"] == pytest.approx(prediction.score, abs=1e-6)
        assert (each["height"], each["width"]) == prediction.size
        assert (each["decision"], each["threshold"], each["references"]) == (prediction.decision, 0.4, 2)
        regions = [region.to_dict() for region in prediction.regions]
        assert [region["box"] for region in each["regions"]] == [region["box"] for region in regions]
        assert each["heatmap"] is None
    assert {prediction.decision for prediction in expected} <= {"anomalous", "normal"}


def test_requests_that_wait_at_the_same_time_share_a_batch_with_unchanged_scores(held, detector):
    with TestClient(create_app(held, Limits(images=4))) as client, ThreadPoolExecutor() as pool:
        scorer = client.app.state.service.scorer
        first = scorer.submit([png(50)])
        assert held.entered.wait(60)
        waiting = [scorer.submit([png(i), png(10 + i)]) for i in range(3)]
        answer = pool.submit(client.post, "/predict", files=upload(png(20)))
        held.released.set()
        assert answer.result(60).status_code == 200
        outcomes = [future.result(60) for futures in waiting for future in futures]
        assert first[0].result(60).score == pytest.approx(alone(detector, 50), abs=1e-6)
    assert held.batches[0] == 1
    assert held.batches[1] in {6, 7}
    assert sum(held.batches) == 8
    seeds = [seed for i in range(3) for seed in (i, 10 + i)]
    assert [each.score for each in outcomes] == pytest.approx([alone(detector, seed) for seed in seeds], abs=1e-6)


def alone(detector: Detector, seed: int) -> float:
    return detector.predict(Image.open(io.BytesIO(png(seed)))).score


def test_a_batch_is_no_larger_than_that_of_the_detector(held):
    with TestClient(create_app(held, Limits(waiting=40))) as client:
        scorer = client.app.state.service.scorer
        futures = scorer.submit([png(50)])
        assert held.entered.wait(60)
        futures += scorer.submit([png(i) for i in range(19)])
        held.released.set()
        assert [future.result(60).size for future in futures] == [(40, 56)] * 20
    assert held.batches == [1, 8, 8, 3]


def test_broken_uploads_get_a_sentence_each_and_leave_the_others_alone(client, detector):
    large = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(large, format="PNG")
    broken = [b"", b"no image", png(1)[:200], large.getvalue()]
    answer = client.post("/predict", files=upload(png(0), *broken, png(2)))
    assert answer.status_code == 200
    first, *failed, last = answer.json()["results"]
    assert first["score"] == pytest.approx(alone(detector, 0), abs=1e-6)
    assert last["score"] == pytest.approx(alone(detector, 2), abs=1e-6)
    reasons = [each["error"] for each in failed]
    for reason, words in zip(reasons, ["empty", "no image", "damaged or cut short", "megapixels"], strict=True):
        assert words in reason
    answer = client.post("/predict", files=upload(large.getvalue()))
    assert answer.status_code == 422
    assert answer.json()["detail"] == "The image cannot be used."
    assert "megapixels" in answer.json()["results"][0]["error"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b.png", "x" * 1000, "<b>&.png", "ä\n.png"])
def test_the_name_of_an_upload_is_only_echoed(client, detector, name):
    first, second = (client.app.state.service.scorer.submit([png(3)])[0].result(60).score for _ in range(2))
    assert first == second == pytest.approx(alone(detector, 3), abs=1e-6)
    answer = client.post("/predict", files=[("images", (name, png(3)))])
    assert answer.status_code == 200
    assert answer.json()["results"][0]["score"] == pytest.approx(first, abs=1e-6)


def test_a_heatmap_is_a_picture_with_the_colours_that_were_requested(client, detector):
    def drawn(query: str) -> np.ndarray:
        result = client.post(f"/predict?{query}", files=upload(png(0))).json()["results"][0]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(result["heatmap"]))))

    image = Image.open(io.BytesIO(png(0)))
    prediction = detector.predict(image)
    assert (drawn("heatmap=true") == np.asarray(prediction.heatmap(image))).all()
    assert (drawn("heatmap=true&scale=image") == np.asarray(prediction.heatmap(image, None))).all()


def test_a_heatmap_is_sent_in_the_format_that_was_requested(client):
    def drawn(query: str) -> Image.Image:
        result = client.post(f"/predict?{query}", files=upload(png(0))).json()["results"][0]
        return Image.open(io.BytesIO(base64.b64decode(result["heatmap"])))

    plain, small = drawn("heatmap=true"), drawn("heatmap=true&heatmap_format=jpeg")
    assert (plain.format, small.format) == ("PNG", "JPEG")
    assert small.size == plain.size
    difference = np.asarray(small, np.float32) - np.asarray(plain.convert("RGB"), np.float32)
    assert 0 < np.abs(difference).mean() < 4
    alone = client.post("/predict?heatmap_format=jpeg", files=upload(png(0))).json()["results"][0]
    assert alone["heatmap"] is None
    assert client.post("/predict?heatmap=true&heatmap_format=gif", files=upload(png(0))).status_code == 422


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "form field 'images'"),
        ({"data": {"images": "text"}}, "form field 'images'"),
        ({"files": [("pictures", ("0.png", b"x"))]}, "form field 'images'"),
        ({"files": [("images", ("0.png", b"x"))], "params": {"scale": "log"}}, "query parameter 'scale'"),
    ],
)
def test_an_invalid_request_gets_one_sentence(client, request_, words):
    answer = client.post("/predict", **request_)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert answer.json()["detail"].count(". ") == 0


def test_what_is_there_is_described(client, detector):
    assert client.get("/health").json()["status"] == "ok"
    facts = client.get("/detector").json()
    assert (facts["class_name"], facts["references"], facts["threshold"]) == ("plate", 2, 0.4)
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/predict", "/detector", "/metrics", "/health"}
    assert {"200", "401", "413", "422", "429", "503"} <= set(schema["paths"]["/predict"]["post"]["responses"])
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text.replace("<!--", "")
    assert client.get("/docs").status_code == 404  # it would load scripts from the network


def test_metrics_count_requests_images_and_batches(client):
    client.post("/predict", files=upload(png(0), b"broken"))
    client.post("/predict", files=upload(png(0)))
    client.post("/predict")
    for i in range(3):
        client.get(f"/unknown/{i}")
    found = metrics_of(client)
    assert found["dualclip_requests_total", "/predict", "200"] == 2
    assert found["dualclip_requests_total", "/predict", "422"] == 1
    assert found["dualclip_requests_total", "other", "404"] == 3
    assert found["dualclip_images_total", "unusable"] == 1
    decided = [value for (name, *labels), value in found.items() if name == "dualclip_images_total"]
    assert sum(decided) == 3
    assert found["dualclip_batch_images_sum",] == 3
    assert found["dualclip_request_seconds_count",] == 3
    assert found["dualclip_waiting_images",] == 0


def test_an_image_that_cannot_be_scored_does_not_affect_others_of_its_batch(detector, caplog):
    class Failing:
        def __getattr__(self, name):
            return getattr(detector, name)

        def score(self, sources):
            if any(source.load().size == (24, 24) for source in sources):
                message = "no kernel for this"
                raise RuntimeError(message)
            return detector.score(sources)

    with TestClient(create_app(Failing())) as client:
        good, bad = client.app.state.service.scorer.submit([png(0), png(1, (24, 24))])
        assert good.result(60).score == pytest.approx(alone(detector, 0), abs=1e-6)
        assert isinstance(bad.exception(60), RuntimeError)
        answer = client.post("/predict", files=upload(png(1, (24, 24))))
        assert answer.status_code == 500
        assert answer.json()["detail"] == "The image could not be scored. The log of the service has the reason."
        assert client.post("/predict", files=upload(png(0))).status_code == 200
        assert client.get("/health").status_code == 200
    assert "no kernel for this" in caplog.text


@pytest.mark.parametrize("mode", ["pairs", "stream"])
def test_a_detector_that_compares_images_of_a_request_is_refused(tiny_folder, mode):
    detector = Detector("plate", pretrained=str(tiny_folder), compare_with=mode, device="cpu")
    with pytest.raises(ValueError, match="not pairs or a stream"):
        create_app(detector)


def test_failures_of_the_detector_are_those_of_files(client, tmp_path, detector):
    (tmp_path / "cut.png").write_bytes(png(1)[:200])
    (failure,) = detector.predict([tmp_path / "cut.png"], errors="return")
    assert isinstance(failure, Failure)
    (result,) = client.post("/predict", files=upload(png(1)[:200])).json()["results"]
    assert result["error"] == f"Cannot use this image: {failure.reason}"
