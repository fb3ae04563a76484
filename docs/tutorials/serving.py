# %% [markdown]
# # Serve a detector, and look at it in a browser
#
# At the end of this page a detector answers over HTTP, and you look at its boxes in a browser. It takes five minutes
# and no GPU. It needs rbox-serve and the package of the detector, here lmm-detector:
# [Install](../how-to/install.md).
# %% [markdown]
# ## 1. Look at it
#
# In a terminal:
#
# ```
# rbox-serve run --demo
# ```
#
# Open `http://127.0.0.1:8000`, and choose one of the drawn scenes, or drop an image of your own: PNG, JPEG or TIFF.
# Drop its label file (DOTA, GeoJSON or LabelMe) too, and true, false and missed objects have different colours. With
# `--model runs/retinanet/epoch_12.pth` beside `--demo` there are two detectors, which the page lays over each other
# or puts side by side. Ctrl-C ends the server.
#
# ## 2. Start it from a program
#
# The rest of this page asks the server as a program does. So that the page also runs as a notebook, it starts a server
# of its own: port 0 is any that is free.
# %%
import atexit
import json
import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

command = [sys.executable, "-m", "rbox_serve", "run", "--model", "demo", "--port", "0", "--device", "cpu"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
atexit.register(server.terminate)  # it ends with this program
address = server.stdout.readline().split()[3]


def is_ready():
    try:
        return urlopen(f"{address}ready").status == 200
    except HTTPError:  # 503 while the model is being loaded
        return False


while not is_ready():
    time.sleep(0.2)
print(json.load(urlopen(f"{address}v1/models")))
# %% [markdown]
# ## 3. Ask for boxes
#
# The image is the body of the request. Eight drawn scenes stand for yours.
# %%
from pathlib import Path

from rbox_formats import synthetic

synthetic.write_scenes("data", "val", range(40_000_000, 40_000_008), synthetic.VARIED)


def detect(path, **options):
    query = "&".join(f"{name}={value}" for name, value in options.items())
    request = Request(f"{address}v1/models/demo/detect?{query}", Path(path).read_bytes(), {"Content-Type": "image/png"})
    return urlopen(request).read()


scenes = sorted(Path("data/val/images").iterdir())
answer = json.loads(detect(scenes[0]))
for name, box in zip(answer["names"], answer["record"]["boxes"], strict=True):
    print(name, [round(value, 1) for value in box])
print(answer["text"])
# %% [markdown]
# A box is (cx, cy, w, h, angle), in pixels and radians, clockwise. `text` is what the multimodal model wrote; a
# conventional detector writes none. `answer["record"]["scores"]` has the scores.
#
# From a shell, the same is `curl -F image=@scene.png http://127.0.0.1:8000/v1/models/demo/detect`.
#
# ## 4. Ask for a picture, or a map layer
# %%
Path("boxes.png").write_bytes(detect(scenes[0], format="png"))
layer = json.loads(detect(scenes[0], format="geojson"))
print(layer["features"][0])
# %% [markdown]
# ![The scene with the boxes that the server drew](boxes.png)
#
# The layer of a GeoTIFF is in map coordinates: drag it into QGIS.
#
# ## 5. Score what the server answers
#
# `header` and `record` are the lines of a predictions file. Requests that wait at the same time share the model's
# batches: that is why eight are sent at once.
# %%
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(8) as threads:
    answers = [json.loads(body) for body in threads.map(detect, scenes)]
for path, each in zip(scenes, answers, strict=True):
    each["record"]["image_id"] = path.stem  # a body has no name
lines = [answers[0]["header"], *(each["record"] for each in answers)]
Path("found.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
server.terminate()
# %% [bash]
# rbox-metrics evaluate --data data --split val --predictions found.jsonl --out report.json | head -12
# %% [markdown]
# ## Next
#
# - Limits, a key, other machines, clients of TorchServe: [Serve detectors](../how-to/serve.md)
# - Images of any size, without a server: [Detect in a large scene](large-scenes.md)
