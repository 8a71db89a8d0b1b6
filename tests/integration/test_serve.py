"""The service as a process: started, used by many clients, killed, restarted, stopped; and its page in a browser."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import IO

import httpx
import pytest
import uvicorn
from fastapi import Request, Response

from dualclip_lightning.cli import main
from dualclip_lightning.measuring.serving import BOUNDARY, measure, request_bodies
from dualclip_lightning.predict import Detector
from dualclip_lightning.serving import guards
from dualclip_lightning.serving.app import PAGE, create_app
from dualclip_lightning.serving.command import bind
from tests.forked import Forked
from tests.towers import TINY_CLIP, write_image

pytestmark = pytest.mark.slow

DUALCLIP = Path(sys.executable).parent / "dualclip"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
LIMIT = 120.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle, and the detector from which it was made."""
    folder = tmp_path_factory.mktemp("plates")
    for i in range(8):
        write_image(folder / "good" / f"{i}.png", seed=i)
    paths = sorted((folder / "good").iterdir())
    detector = Detector("plate", pretrained=str(TINY_CLIP), reference_dir=paths[:2], device="cpu")
    detector.calibrate(paths[2:])
    detector.save(folder / "plate.dualclip")
    return folder / "plate.dualclip", detector


@contextmanager
def service(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the installed command, and yield the process and its address once it answers."""
    environment = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "DUALCLIP_CACHE", "HOME") if name in os.environ
    }
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    command = [DUALCLIP, "serve", "--device", "cpu", *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()  # it is printed when connections are accepted
            found = re.search(r"http://\S+(?=/)", line)
            assert found, process.stderr.read()
            assert httpx.get(f"{found[0]}/health", timeout=LIMIT).json()["status"] == "ok"
            yield process, found[0]
        finally:
            process.kill()


@contextmanager
def forked_service(*arguments: object) -> Iterator[tuple[Forked, str, IO[str]]]:
    """Serve in a fork of this process, and yield it, its address once it accepts connections, and what it prints."""
    read, write = os.pipe()

    def call() -> int:
        os.close(read)
        sys.stdout = os.fdopen(write, "w", encoding="utf-8")
        return main(["serve", "--device", "cpu", *map(str, arguments)])

    process = Forked(call, Path.cwd())
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as printed:
        try:
            found = re.search(r"http://\S+(?=/)", printed.readline())
            assert found, process.end()
            yield process, found[0], printed
        finally:
            process.kill()
            process.end()


def post(address: str, *files: tuple[str, bytes]) -> httpx.Response:
    return httpx.post(f"{address}/predict", files=[("images", file) for file in files], timeout=LIMIT)


def test_a_service_is_killed_under_load_restarted_on_its_port_and_stopped(bundle, tmp_path):
    path, detector = bundle
    write_image(tmp_path / "shot.png", seed=50)
    good, expected = (tmp_path / "shot.png").read_bytes(), detector.predict(tmp_path / "shot.png")
    with service("--bundle", path, "--port", 0) as (process, address):
        with ThreadPoolExecutor(8) as pool:
            files = [[("shot.png", good), ("broken.png", good[: 40 + i])] for i in range(24)]
            answers = list(pool.map(lambda each: post(address, *each), files))
        for answer in answers:
            assert answer.status_code == 200
            scored, broken = answer.json()["results"]
            assert scored["score"] == pytest.approx(expected.score, abs=1e-6)
            assert scored["decision"] == expected.decision
            assert broken["error"].startswith("Cannot use this image: ")
        answered = threading.Event()

        def keep_sending() -> list[int]:
            seen = []
            with contextlib.suppress(httpx.TransportError):  # once the service is killed
                while True:
                    seen.append(post(address, ("shot.png", good)).status_code)
                    answered.set()
            return seen

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(keep_sending) for _ in range(4)]
            assert answered.wait(LIMIT)
            process.kill()
            seen = [status for client in clients for status in client.result(LIMIT)]
        assert set(seen) == {200}
        assert process.wait(LIMIT) == -signal.SIGKILL

    with forked_service("--bundle", path, "--port", address.rpartition(":")[2]) as (process, again, printed):
        assert again == address
        assert post(address, ("shot.png", good)).json()["results"][0]["score"] == pytest.approx(expected.score)
        os.kill(process.pid, signal.SIGTERM)
        ended = process.end()
        assert (ended.status, printed.read()) == (0, "Stopped.\n")
        assert "Traceback" not in ended.err


def test_a_request_that_was_accepted_is_answered_before_the_service_stops(bundle):
    with forked_service("--bundle", bundle[0], "--port", 0) as (process, address, _):
        host, _, port = address.removeprefix("http://").rpartition(":")
        body = next(request_bodies(64))
        with socket.create_connection((host, int(port)), timeout=LIMIT) as client:
            head = (
                f"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
                f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
            )
            client.sendall(head.encode())
            assert b"100 Continue" in client.recv(1000)  # the request is being read
            os.kill(process.pid, signal.SIGTERM)
            client.sendall(body)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert b"200 OK" in answer
        assert b'"score"' in answer
        assert process.end().status == 0


def test_the_load_program_counts_every_request(bundle):
    with forked_service("--bundle", bundle[0], "--port", 0) as (process, address, _):
        bodies = [next(request_bodies(32))] * 20 + [b"no form"] * 2
        found = measure(address, 6, bodies)
        process.kill()
        process.end()
        gone = measure(address, 2, bodies[:4])
    assert (found["clients"], found["requests"], found["errors"]) == (6, 22, "2 x 400")
    assert 0 < found["p50 ms"] <= found["p95 ms"] <= found["p99 ms"]
    assert gone["errors"] == "4 x ConnectionRefusedError"


def test_wrong_use_ends_with_status_2_and_one_line(bundle, capsys):
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--quiet", "--bundle", str(bundle[0]), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dualclip: Cannot listen on 127.0.0.1, port {port} (")
    assert said.count("\n") == 1


@contextmanager
def served(app) -> Iterator[str]:
    """Serve an application from a thread of this process."""
    with bind("127.0.0.1", 0) as address:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        address.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [address]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{address.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


TOOLS = """
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const report = (value) => fetch("reported", { method: "POST", body: JSON.stringify(value) });
const until = (holds) => new Promise((go) => {
  const check = () => holds() && (watcher.disconnect(), go());
  const watcher = new MutationObserver(check);
  watcher.observe(document, { attributes: true, childList: true, subtree: true, characterData: true });
  check();
});
const file = (name, text) => new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name);
const drop = (...files) => {
  const dataTransfer = new DataTransfer();
  for (const each of files) dataTransfer.items.add(each);
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
};
const done = () => document.getElementById("status").textContent === "Done.";
"""
"""Helpers for scripts that act as the user in a copy of the page."""


def play(app, script: str, folder: Path):
    """Run a script that acts as the user in a copy of the page, served beside it, and return what it reports."""
    reported: SimpleQueue[bytes] = SimpleQueue()
    code = f"{TOOLS}{script}"
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    # The script follows the page's own. The page's content security policy allows it only with its digest.
    page = (PAGE / "page.html").read_text(encoding="utf-8").replace("script-src ", f"script-src 'sha256-{digest}' ")
    page = page.replace("</body>", f'<script type="module">{code}</script></body>')

    async def copy() -> Response:
        return Response(page, media_type="text/html")

    async def keep(request: Request) -> None:
        reported.put(await request.body())

    app.add_api_route("/played", copy)
    app.add_api_route("/reported", keep, methods=["POST"])
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    with served(app) as address:
        command = [BROWSER, *options, "--remote-debugging-port=0", f"{address}/played"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                return json.loads(reported.get(timeout=300)), address
            finally:
                browser.terminate()


@pytest.mark.skipif(BROWSER is None, reason="Chromium or Chrome is not installed, and the page needs one.")
def test_the_page_shows_map_regions_and_score_of_dropped_images(bundle, tmp_path):
    detector = Detector.load(bundle[0], device="cpu")
    detector.threshold = 0.0  # all images are anomalous and have regions
    write_image(tmp_path / "shot.png", seed=60)
    text = base64.b64encode((tmp_path / "shot.png").read_bytes()).decode()
    found, address = play(create_app(detector), f"""
      drop(file("<b>shot</b>.png", "{text}"), file("broken.png", "{text[:40]}"));
      await until(done);
      const picture = all("article img")[0];
      await picture.decode();
      report({{
        names: all("article h2").map((name) => name.textContent),
        words: all("article .word").map((word) => word.textContent),
        scores: all("article .score").map((score) => score.textContent),
        rows: all("article tbody tr").map((row) => all("td", row).slice(1, 6).map((cell) => Number(cell.textContent))),
        size: [picture.naturalHeight, picture.naturalWidth],
        title: document.getElementById("title").textContent,
        loaded: performance.getEntriesByType("resource").map((entry) => entry.name),
      }});""", tmp_path)  # fmt: skip
    prediction = detector.predict(tmp_path / "shot.png")
    assert found["names"] == ["broken.png", "<b>shot</b>.png"]
    assert found["words"] == [found["words"][0], "anomalous"]
    assert found["words"][0].startswith("Cannot use this image: ")
    assert [float(score) for score in found["scores"]] == [pytest.approx(prediction.score, abs=1e-4)]
    assert found["rows"] == [[*region.box, region.area] for region in prediction.regions]
    assert found["rows"]
    assert tuple(found["size"]) == prediction.heatmap().size[::-1]
    assert found["title"] == "Anomalies of: plate"
    assert all(each.startswith((address, "data:")) for each in found["loaded"])


@pytest.mark.skipif(BROWSER is None, reason="Chromium or Chrome is not installed, and the page needs one.")
def test_the_page_asks_for_the_token(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(guards, "OPEN", guards.OPEN | {"/played", "/reported"})  # the paths of `play`
    app = create_app(Detector.load(bundle[0], device="cpu"), token="s3cret")  # noqa: S106
    found, _ = play(app, """
      const form = document.getElementById("access"), said = document.getElementById("denied");
      const enter = (token) => { document.getElementById("token").value = token; form.requestSubmit(); };
      await until(() => !form.hidden);
      enter("wrong");
      await until(() => said.textContent);
      const refused = said.textContent;
      enter("s3cret");
      await until(() => form.hidden);
      await until(() => document.getElementById("title").textContent.includes("plate"));
      report([refused, form.hidden]);""", tmp_path)  # fmt: skip
    assert found == ["This is not the token of the service.", True]
