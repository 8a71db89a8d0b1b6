"""Full queues, limits of requests, the token, and the end of the service."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from dualclip_lightning.serving.app import create_app
from dualclip_lightning.serving.batching import BatchScorer, QueueClosedError, QueueFullError
from dualclip_lightning.serving.limits import Limits
from tests.unit.serving.conftest import png, upload


def test_a_full_queue_answers_429_until_there_is_room(held):
    with TestClient(create_app(held, Limits(images=2, waiting=2))) as client:
        scorer = client.app.state.service.scorer
        futures = scorer.submit([png(0)])
        assert held.entered.wait(60)
        futures += scorer.submit([png(1), png(2)])
        answer = client.post("/predict", files=upload(png(3)))
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert "queue of 2 images is full" in answer.json()["detail"]
        assert client.get("/health").json()["waiting"] == 2
        held.released.set()
        assert [future.result(60).size for future in futures] == [(40, 56)] * 3
        assert client.post("/predict", files=upload(png(3), png(4))).status_code == 200


def test_images_of_a_request_are_queued_all_or_none(held):
    with BatchScorer(held, 3, lambda *_: None) as scorer:
        scorer.submit([png(0)])
        assert held.entered.wait(60)
        scorer.submit([png(1), png(2)])
        with pytest.raises(QueueFullError):
            scorer.submit([png(3), png(4)])
        assert scorer.waiting == 2
        held.released.set()


def test_a_request_that_takes_too_long_gets_503_and_leaves_the_queue(held):
    with TestClient(create_app(held, Limits(images=1, waiting=1, seconds=0.2))) as client:
        running = client.app.state.service.scorer.submit([png(0)])
        assert held.entered.wait(60)
        for _ in range(2):  # the queue has room for the second again
            answer = client.post("/predict", files=upload(png(1)))
            assert answer.status_code == 503
            assert answer.json()["detail"].startswith("The images were not scored within 0.2 seconds.")
        held.released.set()
        running[0].result(60)
    assert held.batches == [1]


def test_when_the_service_stops_running_images_are_finished_and_waiting_ones_refused(held):
    scorer = BatchScorer(held, 3, lambda *_: None)
    scorer.__enter__()
    (running,) = scorer.submit([png(0)])
    assert held.entered.wait(60)
    (waiting,) = scorer.submit([png(1)])
    end = threading.Thread(target=scorer.__exit__, args=(None, None, None))
    end.start()
    assert isinstance(waiting.exception(60), QueueClosedError)
    with pytest.raises(QueueClosedError):
        scorer.submit([png(2)])
    held.released.set()
    assert running.result(60).size == (40, 56)
    end.join(60)
    assert not scorer.alive


def test_too_many_images_get_413(detector):
    with TestClient(create_app(detector, Limits(images=2))) as client:
        assert client.post("/predict", files=upload(png(0), png(1))).status_code == 200
        answer = client.post("/predict", files=upload(png(0), png(1), png(2)))
        assert answer.status_code == 413
        assert answer.json()["detail"] == "The request has 3 images, but at most 2 are allowed."


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_request_gets_413_whether_or_not_it_states_its_size(detector, chunked):
    with TestClient(create_app(detector, Limits(body=20_000, held=20_000))) as client:
        small = client.build_request("POST", "/predict", files=upload(png(0)))
        large = client.build_request("POST", "/predict", files=upload(bytes(20_000)))
        for request, status in ((small, 200), (large, 413), (small, 200)):
            content = request.read()
            headers = {"content-type": request.headers["content-type"]}
            parts = (content[i : i + 4096] for i in range(0, len(content), 4096))
            answer = client.post("/predict", content=parts if chunked else content, headers=headers)
            assert answer.status_code == status
        assert "0.02 MB" in client.send(large).json()["detail"]


def test_uploads_beyond_what_may_be_held_get_429(held):
    limits = Limits(body=100_000, held=100_000)
    with TestClient(create_app(held, limits)) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/predict", files=upload(png(0)))
        assert held.entered.wait(60)
        answer = client.post("/predict", files=upload(png(1)))
        assert answer.status_code == 429
        assert "Retry-After" in answer.headers
        held.released.set()
        assert first.result(60).status_code == 200
        assert client.post("/predict", files=upload(png(1))).status_code == 200


def test_a_request_that_is_not_sent_in_time_gets_408(detector):
    app = create_app(detector, Limits(seconds=0.05))
    scope = {
        "type": "http", "method": "POST", "path": "/predict", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", b"1000")],
        "asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("localhost", 80), "client": ("localhost", 1),
    }  # fmt: skip
    sent = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert b"did not arrive within 0.05 seconds" in sent[1]["body"]


def test_without_the_token_only_the_page_and_the_health_are_shown(detector):
    with TestClient(create_app(detector, token="s3cret")) as client:  # noqa: S106
        values = ("Bearer s3cre", "s3cret", "Bearer ü", "Basic s3cret")
        wrong = [{}, *({"Authorization": value.encode()} for value in values)]
        for headers in wrong:
            answer = client.post("/predict", files=upload(png(0)), headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert [client.get(path, headers=headers).status_code for path in ("/metrics", "/detector")] == [401, 401]
        assert [client.get(path).status_code for path in ("/", "/page.js", "/page.css", "/health")] == [200] * 4
        right = {"Authorization": "Bearer s3cret"}
        assert client.post("/predict", files=upload(png(0)), headers=right).status_code == 200
        refused = 'dualclip_requests_total{path="/predict",status="401"} 5.0'
        assert refused in client.get("/metrics", headers=right).text


def test_a_page_elsewhere_cannot_use_the_service_under_its_own_name(detector):
    with TestClient(create_app(detector, hosts={"localhost", "::1", "plates.example"})) as client:
        for host in ("localhost", "LOCALHOST:8000", "[::1]:8000", "plates.example:80"):
            assert client.get("/detector", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example:8000", "evil@localhost.example", "::1", "[::2", ""):
            answer = client.post("/predict", files=upload(png(0)), headers={"Host": host})
            assert (answer.status_code, "--allow-host" in answer.json()["detail"]) == (400, True)
            assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"images": 9, "waiting": 8}, "at least 9 images"), ({"body": 3_000_000, "held": 2_000_000}, "at least 3 MB"),
     ({"seconds": 0}, "limit of seconds to be positive")],
)  # fmt: skip
def test_limits_that_would_refuse_every_request_are_refused(limits, words):
    with pytest.raises(ValueError, match=words):
        Limits(**limits)
